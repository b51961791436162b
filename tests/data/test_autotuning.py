"""`fit` and `evaluate` read datasets without an autotuning thread."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("needs the TensorFlow backend", allow_module_level=True)

from keras_ssl import data as graph_data  # noqa: E402
from keras_ssl import trainers  # noqa: E402
from keras_ssl.data._autotuning import without_autotuning  # noqa: E402


class Model(trainers.DistributedFit, keras.Model):
    """Record the datasets that Keras reads."""

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is not None:
            self.read.append(iterator._distributed_dataset)
        super()._maybe_symbolic_build(iterator, data_batch)


@pytest.fixture
def model():
    inputs = keras.Input((2,))
    model = Model(inputs, keras.layers.Dense(1)(inputs))
    model.read = []
    model.compile("sgd", "mse")
    return model


def arrays():
    return np.ones((8, 2), "float32"), np.ones((8, 1), "float32")


def dataset():
    return tf.data.Dataset.from_tensor_slices(arrays()).batch(4)


def test_elements_and_specs_are_kept():
    tuned = tf.data.Dataset.range(9).batch(3, drop_remainder=True)
    plain = without_autotuning(tuned)
    assert plain.element_spec == tuned.element_spec and len(plain) == 3
    np.testing.assert_array_equal(list(plain), list(tuned))


@pytest.mark.parametrize("enabled", [True, False])
def test_options_of_the_user_are_kept(enabled):
    options = tf.data.Options()
    options.autotune.enabled = enabled
    data = tf.data.Dataset.range(9).with_options(options)
    assert without_autotuning(data) is data


def test_other_data_is_returned_unchanged():
    data = np.ones(3)
    assert without_autotuning(data) is data
    assert without_autotuning(None) is None


def test_fit_reads_datasets_and_arrays_without_tuning(model):
    model.fit(dataset(), validation_data=dataset(), epochs=2, verbose=0)
    model.fit(*arrays(), batch_size=4, verbose=0)
    model.evaluate(dataset(), verbose=0)
    assert len(model.read) >= 4
    assert all(data.options().autotune.enabled is False for data in model.read)


def test_fit_keeps_options_of_the_user(model):
    options = tf.data.Options()
    options.autotune.enabled = True
    model.fit(dataset().with_options(options), verbose=0)
    assert model.read[0].options().autotune.enabled is True


def test_batches_of_graphs_are_not_tuned():
    club = graph_data.load_graph("karate_club")
    batches = [
        graph_data.single_graph(club).repeat(),
        graph_data.neighbor_batches(club, [0, 1], [2], batch_size=2),
    ]
    for one in batches:
        assert one.options().autotune.enabled is False
