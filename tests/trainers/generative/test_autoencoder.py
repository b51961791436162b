"""Autoencoders: their losses in NumPy, structures of data, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.small import dense, scaled_images

BAD_VECTORS = ((zeros(0, 784), "no data"), (zeros(64, 10), "784"))

CASES = {
    "Autoencoder": Case(
        make=lambda: trainers.Autoencoder(
            dense(32, 8, inputs=784),
            dense(32, 784, inputs=8, last="sigmoid"),
            corruption=augment.tabular.RandomMask(0.3, seed=0),
        ),
        x=scaled_images,
        decreasing_loss="loss",
        decrease=0.065,
        bad_data=BAD_VECTORS,
    ),
    "SparseAutoencoder": Case(
        make=lambda: trainers.SparseAutoencoder(
            dense(32, inputs=784, last="sigmoid"),
            dense(784, inputs=32, last="sigmoid"),
            losses.KLSparsity(0.1),
            top_k=16,
        ),
        x=scaled_images,
        decreasing_loss="reconstruction",
        decrease=0.02,
        bad_data=BAD_VECTORS,
    ),
}


def evaluated(trainer, x, **arguments):
    trainer.compile("sgd", **arguments)
    return trainer.evaluate(x, verbose=0, return_dict=True)


def test_linear_autoencoder_finds_principal_components(rng):
    """No map of rank 2 has smaller squared errors than the first 2 principal components."""
    x = (rng.normal(size=(64, 2)) @ rng.normal(size=(2, 6)) + rng.normal(0, 0.1, (64, 6))).astype(
        "float32"
    )
    x -= x.mean(axis=0)
    trainer = trainers.Autoencoder(
        keras.layers.Dense(2, use_bias=False), keras.layers.Dense(6, use_bias=False)
    )
    trainer.compile(keras.optimizers.Adam(0.02))
    trainer.fit(np.tile(x, (20, 1)), batch_size=64, epochs=20, verbose=0)
    singular = np.linalg.svd(x.astype("float64"), compute_uv=False)
    least = np.sum(singular[2:] ** 2) / x.size
    found = np.mean((np.asarray(trainer.reconstruct(x)) - x) ** 2)
    assert least <= found * (1 + 1e-5) and found < 1.3 * least


def test_loss_is_that_of_corrupted_data(rng):
    class Halve(keras.layers.Layer):
        def call(self, x, training=False):
            return x / 2 if training else x

    x = rng.random((4, 3, 2)).astype("float32")
    identity = keras.layers.Identity
    trainer = trainers.Autoencoder(identity(), identity(), Halve(), loss="mean_absolute_error")
    assert evaluated(trainer, x)["loss"] == pytest.approx(np.mean(x / 2), rel=1e-6)
    np.testing.assert_array_equal(trainer.reconstruct(x), x)
    np.testing.assert_array_equal(trainer.reconstruct(x, corrupt=True), x / 2)


def test_structures_and_integers_are_reconstructed(rng):
    """Images and token ids, whose decoder returns logits."""
    x = {"image": rng.integers(0, 255, (4, 4, 4, 1), "uint8"), "token": np.arange(4) % 3}

    class Decoder(keras.layers.Layer):
        def call(self, code, training=False):
            return {
                "image": 0 * code[:, None, None] + 3 * np.ones((4, 4, 1), "float32"),
                "token": 0 * code + [1.0, 2.0, 3.0],
            }

    class Encoder(keras.layers.Layer):
        def call(self, x, training=False):
            return keras.ops.mean(x["image"], axis=(1, 2))

    class Both(keras.losses.Loss):
        def call(self, y_true, y_pred):
            if "int" in str(y_true.dtype):
                return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, True)
            return keras.losses.mean_squared_error(y_true, y_pred)

    trainer = trainers.Autoencoder(Encoder(), Decoder(), loss=Both())
    of_image = np.mean((x["image"].astype("float64") - 3) ** 2)
    logits = np.array([1.0, 2.0, 3.0])
    of_token = np.mean(np.log(np.exp(logits).sum()) - logits[x["token"]])
    assert evaluated(trainer, x)["loss"] == pytest.approx(of_image + of_token, rel=1e-6)


@pytest.mark.parametrize("top_k", [None, 2])
def test_sparse_losses_equal_formulas(rng, top_k):
    x = rng.random((8, 5)).astype("float32")
    encoder, decoder = dense(6, inputs=5, last="sigmoid"), dense(5, inputs=6)
    trainer = trainers.SparseAutoencoder(encoder, decoder, losses.KLSparsity(0.2), top_k)
    found = evaluated(trainer, x, loss_weights={"sparsity": 0.5})
    kernel, bias = (w.astype("float64") for w in encoder.get_weights())
    h = 1 / (1 + np.exp(-(x @ kernel + bias)))
    sparse = h if top_k is None else np.where(h >= np.sort(h, axis=1)[:, -2:-1], h, 0)
    kernel, bias = (w.astype("float64") for w in decoder.get_weights())
    error = np.mean((sparse @ kernel + bias - x) ** 2)
    mean = h.mean(axis=0)
    penalty = np.sum(0.2 * np.log(0.2 / mean) + 0.8 * np.log(0.8 / (1 - mean)))
    assert found["reconstruction"] == pytest.approx(error, rel=1e-5)
    assert found["sparsity"] == pytest.approx(penalty, rel=1e-5)
    assert found["loss"] == pytest.approx(error + 0.5 * penalty, rel=1e-5)
    np.testing.assert_allclose(trainer.encode(x), sparse, rtol=1e-5)


def test_codes_that_the_penalty_does_not_take_are_refused(rng):
    x = rng.random((8, 5)).astype("float32")
    for data in (x, tf.data.Dataset.from_tensor_slices(x).batch(4)):
        code = keras.layers.Dense(3, "relu", bias_initializer=keras.initializers.Constant(2.0))
        trainer = trainers.SparseAutoencoder(code, keras.layers.Dense(5), losses.KLSparsity())
        trainer.compile("sgd")
        with pytest.raises(ValueError, match=r"a code between 0 and 1.*sigmoid.*Received"):
            trainer.fit(data, verbose=0)
        assert int(trainer.optimizer.iterations) == 0
    with pytest.raises(ValueError, match="from nan to nan"):
        losses.KLSparsity().check_values(np.array([0.5, np.nan]))


def test_bad_arguments_and_decoders_are_refused():
    good = keras.layers.Dense(3)
    for arguments, message in (
        ((good, 3), "`decoder`"),
        ((None, good), "`encoder`"),
        ((good, good, 0.3), "`corruption`"),
        ((good, good, None, None, 3), "`loss`|interpret"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            trainers.Autoencoder(*arguments)
    with pytest.raises(ValueError, match=r"needs a `penalty`.*or `top_k`"):
        trainers.SparseAutoencoder(good, good)
    with pytest.raises(TypeError, match="`penalty`"):
        trainers.SparseAutoencoder(good, good, penalty=0.1)
    trainer = trainers.Autoencoder(keras.layers.Dense(2), keras.layers.Dense(4))
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=r"`decoder` must return the shape.*\(batch, 5"):
        trainer.fit(zeros(8, 5), verbose=0)
    trainer = trainers.SparseAutoencoder(keras.layers.Dense(2), keras.layers.Dense(4), top_k=2)
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="`k` must be less than the number of units"):
        trainer.fit(zeros(8, 4), verbose=0)
    assert layers.KSparse(2).get_config()["k"] == 2
