"""Tests of steps: those without a batch change nothing, and executing several together."""

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("fit needs the TensorFlow backend", allow_module_level=True)

from keras_ssl import trainers  # noqa: E402
from keras_ssl.trainers.engine.tensorflow._steps import data_first  # noqa: E402
from tests.distribute import plain  # noqa: E402

STEPS, EPOCHS = 5, 2


def dataset(is_length_known):
    x, y = plain.data()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8, drop_remainder=True)
    return batches if is_length_known else batches.filter(lambda x, y: True)


class Noisy(trainers.SelfSupervisedModel):
    """Draws noise, and counts updates in a variable."""

    def __init__(self):
        super().__init__(keras.layers.Dense(3, kernel_initializer="ones"))
        self.seeds = keras.random.SeedGenerator(3)
        self.updates_seen = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def compute_losses(self, batch, training):
        noise = keras.random.uniform((3,), seed=self.seeds)
        return {"error": keras.ops.square(self.encoder(batch.x + noise) - batch.x)}

    def after_update(self):
        self.updates_seen.assign_add(1.0)


def fit_noisy(is_length_known, strategy):
    with strategy.scope():
        trainer = Noisy()
        trainer.compile("sgd")
    history = trainer.fit(
        dataset(is_length_known).map(lambda x, y: x), epochs=EPOCHS, shuffle=False, verbose=0
    )
    return trainer, history.history["loss"]


@pytest.mark.few(1)
@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize("replicas", [1, 2])
def test_data_of_unknown_length_trains_like_data_of_known_length(replicas, request):
    strategy = (
        request.getfixturevalue("two_replicas") if replicas == 2 else tf.distribute.get_strategy()
    )
    expected, losses = fit_noisy(True, strategy)
    found, found_losses = fit_noisy(False, strategy)
    for counted in (found.optimizer.iterations, found.updates_seen):
        assert np.asarray(counted) == STEPS * EPOCHS
    np.testing.assert_array_equal(found.seeds.state, expected.seeds.state)
    np.testing.assert_allclose(found_losses, losses, rtol=1e-6)
    for weight, same in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*ran out of data")
def test_mean_loss_of_data_of_unknown_length_is_exact():
    x, y = plain.data()
    model = plain.compiled(lambda: plain.functional(trainers.DistributedFit))
    model.optimizer.learning_rate = 0.0
    # with a learning rate of 0, the loss of every epoch is that of the initial weights
    expected = np.mean((model(x) - y) ** 2)
    history = model.fit(dataset(is_length_known=False), epochs=EPOCHS, verbose=0)
    np.testing.assert_allclose(history.history["loss"], [expected] * EPOCHS, rtol=1e-5)
    loss = model.evaluate(dataset(is_length_known=False), verbose=0)[0]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_data_first_takes_sparse_and_ragged_tensors():
    step = tf.function(data_first(lambda data: tf.reduce_sum(data["r"]) + len(data)))
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    assert float(step({"r": ragged, "s": tf.sparse.eye(2), "n": None})) == 9.0


@pytest.mark.few(1)
@pytest.mark.parametrize("steps_per_execution", [2, 3, 7])
def test_replicas_train_alike_for_any_steps_per_execution(two_replicas, steps_per_execution):
    """Keras' own loop over steps fails with several replicas."""
    x, y = plain.data()
    found = []
    for together in (1, steps_per_execution):
        model = plain.compiled(lambda: plain.functional(trainers.DistributedFit), two_replicas)
        model.steps_per_execution = together
        history = model.fit(x, y, batch_size=8, epochs=EPOCHS, shuffle=False, verbose=0)
        assert np.asarray(model.optimizer.iterations) == STEPS * EPOCHS
        found.append((history.history["loss"], model.get_weights()))
    (losses, weights), (losses_together, weights_together) = found
    np.testing.assert_allclose(losses_together, losses, rtol=1e-6)
    for weight, same in zip(weights_together, weights, strict=True):
        np.testing.assert_allclose(weight, same, rtol=1e-6)
