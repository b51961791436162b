import keras
import numpy as np
import pytest

from keras_ssl.optimizers import fit_lbfgs

if keras.backend.backend() != "tensorflow":
    pytest.skip("models are trained with TensorFlow", allow_module_level=True)

from keras_ssl import trainers


def linear(loss="mse", outputs=1, decay=0.0, **arguments):
    dense = keras.layers.Dense(
        outputs, kernel_regularizer=keras.regularizers.L2(decay) if decay else None, **arguments
    )
    model = keras.Sequential([keras.Input((3,)), dense])
    model.compile(loss=loss)
    return model


def data(rng):
    x = rng.normal(size=(60, 3))
    return x, x @ [[1.0], [-2.0], [0.5]] + 0.3 * rng.normal(size=(60, 1)) + 2.0


def test_equals_least_squares(rng):
    x, y = data(rng)
    model = linear()
    history = fit_lbfgs(model, x, y).history["loss"]
    expected = np.linalg.lstsq(np.c_[x, np.ones(60)], y, rcond=None)[0]
    found = np.concatenate([w.reshape(-1, 1) for w in model.get_weights()])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert len(history) < 30 and history[0] > history[-1]
    assert history[-1] == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)


def test_equals_scikit_learn_with_weights_of_examples_and_a_penalty(rng):
    from sklearn.linear_model import LogisticRegression

    x, weights = rng.normal(size=(60, 3)), rng.uniform(0.5, 2.0, 60)
    y = (x[:, 0] + rng.normal(size=60) > 0).astype("float32")
    weights *= 60 / weights.sum()
    # scikit-learn minimises the sum of losses and ||w||² / (2 C)
    expected = LogisticRegression(C=0.5, tol=1e-8).fit(x, y, weights)
    model = linear(keras.losses.BinaryCrossentropy(from_logits=True), decay=1 / 60)
    fit_lbfgs(model, x, y[:, None], weights)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel[:, 0], expected.coef_[0], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(bias, expected.intercept_, rtol=2e-3, atol=1e-3)


class Autoencoder(trainers.SelfSupervisedModel):
    noise = 0.0

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(encoder, **kwargs)
        self.decoder = decoder

    def embed(self, batch, training):
        error = self.decoder(self.encoder(batch.x)) - batch.x
        return {
            "error": keras.ops.square(
                error + self.noise * keras.random.normal(keras.ops.shape(error))
            )
        }


def autoencoder(**compiled):
    made = Autoencoder(keras.layers.Dense(1), keras.layers.Dense(3))
    made.compile(**compiled)
    return made


def test_a_linear_autoencoder_finds_the_principal_component(rng):
    x = rng.normal(size=(60, 3)) * [3.0, 1.0, 0.5]
    history = fit_lbfgs(autoencoder(), x, iterations=200).history["loss"]
    rest = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[1:]
    assert history[-1] == pytest.approx(np.sum(rest**2) / x.size, rel=1e-3)


def test_callbacks_count_iterations_and_may_stop(rng):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    assert len(fit_lbfgs(linear(), *data(rng), callbacks=[Stop()]).history["loss"]) == 3
    assert len(fit_lbfgs(linear(), *data(rng), iterations=1).history["loss"]) == 2


def test_what_it_refuses(rng, two_replicas, set_dtype_policy):
    x, y = data(rng)
    with two_replicas.scope():
        replicated = linear()
    set_dtype_policy("bfloat16")
    half = linear()
    set_dtype_policy("float32")
    noisy = autoencoder()
    noisy.noise = 1.0
    views = autoencoder()
    views.augment = keras.layers.GaussianNoise(0.1)
    constrained = linear(kernel_constraint="non_neg")
    uncompiled = keras.Sequential([keras.layers.Dense(1)])
    frozen = linear()
    frozen.trainable = False
    for model, message in (
        (replicated, "one replica. Received: 2 replicas"),
        (half, "float32 or float64. Received: .* in bfloat16"),
        (noisy, "same at each evaluation.*Received: losses"),
        (views, "a trainer with `augment`"),
        (constrained, "without constraints"),
        (uncompiled, "Call `compile` before `fit_lbfgs`"),
        (frozen, "needs trainable weights"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_lbfgs(model, x, y)
    with pytest.raises(TypeError, match=r"must be a `keras.Model`. Received: Dense"):
        fit_lbfgs(keras.layers.Dense(1), x, y)
    with pytest.raises(
        TypeError, match=r"all data in one batch.*Received: x of type list_iterator"
    ):
        fit_lbfgs(linear(), iter([x]))
    with pytest.raises(FloatingPointError, match="not finite before the first iteration"):
        fit_lbfgs(linear(), x * np.nan, y)
    with pytest.raises(ValueError, match="`memory` must be a positive integer"):
        fit_lbfgs(linear(), x, y, memory=0)
