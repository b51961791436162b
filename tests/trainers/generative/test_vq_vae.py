"""VQ-VAE: its losses in NumPy, codes, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import layers, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.small import dense, scaled_images


def parts():
    encoder = keras.Sequential([*dense(64, 32, inputs=784).layers, keras.layers.Reshape((4, 8))])
    decoder = keras.Sequential(
        [keras.layers.Flatten(), *dense(64, 784, inputs=32, last="sigmoid").layers]
    )
    encoder.build((None, 784))
    decoder.build((None, 4, 8))
    return encoder, decoder


CASES = {
    "VQVAE": Case(
        make=lambda: trainers.VQVAE(*parts(), layers.VectorQuantizer(16, momentum=0.9, seed=0)),
        x=scaled_images,
        decreasing_loss="reconstruction",
        decrease=0.05,
        bad_data=((zeros(0, 784), "no data"), (zeros(64, 10), "784")),
    ),
}


def test_losses_and_codes_equal_formulas(rng):
    x = rng.normal(size=(6, 4, 3)).astype("float32")
    quantizer = layers.VectorQuantizer(5, commitment=0.5, seed=0)
    trainer = trainers.VQVAE(keras.layers.Identity(), keras.layers.Identity(), quantizer)
    trainer.compile("sgd")
    found = trainer.evaluate(x, verbose=0, return_dict=True)
    codebook = np.asarray(quantizer.codebook, "float64")
    numbers = np.square(x[..., None, :] - codebook).sum(-1).argmin(-1)
    error = np.mean((codebook[numbers] - x) ** 2)
    assert found["reconstruction"] == pytest.approx(error, rel=1e-5)
    assert found["commitment"] == pytest.approx(0.5 * error, rel=1e-5)
    np.testing.assert_array_equal(trainer.encode(x), numbers)
    np.testing.assert_allclose(trainer.decode(numbers), codebook[numbers], rtol=1e-6)
    np.testing.assert_allclose(trainer.reconstruct(x), codebook[numbers], rtol=1e-6)


def test_bad_arguments_are_refused():
    good = keras.layers.Dense(3)
    for arguments, message in (
        ((good, 3), "`decoder`"),
        ((good, good, 512), "`quantizer`"),
        ((good, good, None, None, 3), "`loss`|interpret"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            trainers.VQVAE(*arguments)
    trainer = trainers.VQVAE(keras.layers.Lambda(lambda x: x[:, 0]), keras.layers.Identity())
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=r"`encoder` must return vectors of shape \(batch, \.\.\."):
        trainer.fit(zeros(8, 3), verbose=0)
