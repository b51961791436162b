"""The private names of Keras still do what the package needs of them."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

from keras_ssl._keras_internals import (
    all_layers,
    decays_weights_as_keras,
    forget_losses,
    global_seed_state,
    keep_input_dtypes,
    mask_of,
    run_on_shapes,
    set_mask,
    set_rows,
    stored_values,
    unlocked,
    weigh_losses_by_rows,
)


def test_run_on_shapes_creates_variables_and_computes_nothing():
    layer = keras.layers.Dense(2)
    out = run_on_shapes(lambda x: layer(x), keras.KerasTensor((None, 3)))
    assert out.shape == (None, 2) and layer.built


def test_forgotten_losses_are_gone():
    model = keras.Sequential([keras.layers.Dense(2, activity_regularizer="l2")])
    model(np.ones((1, 2)))
    assert len(model.losses) == 1
    forget_losses(model)
    assert len(model.losses) == 0


def test_all_layers_come_at_any_depth():
    inner = keras.layers.Dense(2)
    model = keras.Sequential([keras.Sequential([inner])])
    assert inner in all_layers(model) and model in all_layers(model)


def test_global_seed_state_is_what_unseeded_draws_start_from():
    state = global_seed_state()
    start = state.numpy()
    first = keras.random.normal((4,))
    assert (state.numpy() != start).any()
    state.assign(start)
    np.testing.assert_array_equal(keras.random.normal((4,)), first)


def test_stored_values_are_not_cast():
    class Reads(keras.layers.Layer):
        def call(self, x):
            values = [x, *stored_values([self.scale]), self.scale.value]
            return [keras.backend.standardize_dtype(one.dtype) for one in values]

    layer = Reads(dtype="mixed_bfloat16")
    layer.scale = layer.add_weight(shape=(2,))
    assert layer(np.ones(2)) == ["bfloat16", "float32", "bfloat16"]


class OfRows(keras.Model):
    """A model whose batches count by the square of their rows."""

    def __init__(self):
        super().__init__()
        self.layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

    def call(self, x):
        return self.layer(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        rows = keras.ops.shape(x)[0]
        set_rows(self, None if y is None else rows * rows)
        return keras.ops.mean(y_pred)


@pytest.mark.parametrize("eager", [False, True])
def test_losses_of_batches_are_weighed_by_the_rows_that_are_set(eager):
    model = OfRows()
    model.compile("sgd", run_eagerly=eager)
    weigh_losses_by_rows(model)
    x = np.array([[1.0], [1.0], [1.0], [7.0]])
    squares = model.evaluate(x, x, batch_size=3, verbose=0)
    assert squares == pytest.approx((9 * 1 + 1 * 7) / 10)
    assert model.evaluate(x, batch_size=3, verbose=0) == pytest.approx(10 / 4)
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, x, batch_size=3, shuffle=False, verbose=0).history
    assert history["loss"] == pytest.approx([1.6]) and list(history) == ["loss"]
    assert [one.name for one in model.metrics] == ["loss"]


def test_mask_of_what_a_layer_returned():
    x = keras.layers.Masking()(np.array([[[0.0], [1.0]]]))
    np.testing.assert_array_equal(mask_of(x), [[False, True]])
    assert mask_of(keras.ops.ones((2,))) is None


def test_mean_of_a_loss_is_over_the_values_that_its_mask_leaves():
    class Masked(keras.losses.Loss):
        def call(self, y_true, y_pred):
            set_mask(y_pred, y_true > 0)
            return y_pred

    assert float(Masked()(np.array([0.0, 1.0, 1.0]), np.array([9.0, 2.0, 4.0]))) == 3


def test_inputs_keep_their_dtypes():
    class Returned(keras.layers.Layer):
        def call(self, x):
            return x

    small = keras.ops.convert_to_tensor(np.array([1e-8], "float32"))
    layer = Returned(dtype="float16")
    assert float(layer(small)[0]) == 0
    keep_input_dtypes(layer)
    assert float(layer(small)[0]) == np.float32(1e-8)


def test_decoupled_weight_decay_is_told_from_others():
    decaying = [keras.optimizers.AdamW(), keras.optimizers.SGD(), keras.optimizers.Lamb()]
    assert all(map(decays_weights_as_keras, decaying))
    assert not decays_weights_as_keras(keras.optimizers.Muon())


def test_a_built_layer_takes_weights_while_it_is_unlocked():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    with unlocked(layer):
        layer.more = layer.add_weight(shape=(1,), name="more")
    assert len(layer.weights) == 3
    with pytest.raises(ValueError, match="cannot add new elements"):
        layer.add_weight(shape=(1,))
