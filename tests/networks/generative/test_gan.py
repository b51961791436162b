"""Generators and discriminators: shapes, labels, spectral norm, half precision, saving, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import networks

to_numpy = ops.convert_to_numpy
PAIRS = {
    "dcgan": (networks.dcgan_generator, networks.dcgan_discriminator),
    "resnet": (networks.resnet_generator, networks.resnet_discriminator),
}
SIZE = (12, 16, 2)


def check_saving(model, inputs, path):
    model.save(path)
    loaded = keras.models.load_model(path, safe_mode=True)
    np.testing.assert_allclose(loaded(inputs), model(inputs), atol=1e-3)


@pytest.mark.parametrize("name", PAIRS)
def test_generator(name, rng, tmp_path, set_dtype_policy):
    make, _ = PAIRS[name]
    plain = make(SIZE, 5, 4)
    z = rng.normal(size=(3, 5)).astype("float32")
    assert tuple(plain(z).shape) == (3, *SIZE)
    set_dtype_policy("mixed_float16")
    model = make(SIZE, 5, 4, num_classes=3)
    for weight in model.trainable_weights:  # labels may have no influence at first
        weight.assign(weight + rng.normal(0, 0.1, weight.shape))
    inputs = {"z": np.stack([z[0]] * 3), "label": np.array([0, 0, 2])}
    images = to_numpy(model(inputs))
    assert images.dtype == "float32" and np.abs(images).max() <= 1
    assert np.array_equal(images[0], images[1]) and not np.allclose(images[0], images[2], atol=1e-3)
    check_saving(model, inputs, tmp_path / "generator.keras")


@pytest.mark.parametrize("name", PAIRS)
def test_discriminator(name, rng, tmp_path, set_dtype_policy):
    _, make = PAIRS[name]
    images = np.stack([rng.uniform(-1, 1, SIZE)] * 3).astype("float32")
    assert tuple(make(SIZE, 4)(images).shape) == (3, 1)
    set_dtype_policy("mixed_float16")
    # eagerly, JAX compiles each step of each power iteration
    is_spectral = keras.backend.backend() == "tensorflow"
    model = make(SIZE, 4, num_classes=3, normalization=False, spectral_normalization=is_spectral)
    inputs = {"x": images, "label": np.array([0, 0, 2])}
    for _ in range(12 if is_spectral else 0):
        model(inputs, training=True)
    spectral = [one for one in model.layers if isinstance(one, keras.layers.SpectralNormalization)]
    if is_spectral:
        alone = make(SIZE, 4, normalization=False, spectral_normalization=True)
        assert alone(images).dtype == "float32" == alone.output.dtype
    norms = [
        np.linalg.norm(np.reshape(w := to_numpy(one.kernel), (-1, w.shape[-1])), 2)
        for one in spectral
    ]
    np.testing.assert_allclose(norms, 1.0, atol=0.15)
    logits = to_numpy(model(inputs))
    assert logits.dtype == "float32" and logits[0] == logits[1] != logits[2]
    check_saving(model, inputs, tmp_path / "discriminator.keras")


@pytest.mark.parametrize("make", sum(PAIRS.values(), ()))
def test_wrong_arguments_raise(make):
    with pytest.raises(ValueError, match=r"at least 8.*28x8.*Received"):
        make((27, 6, 1))
    with pytest.raises(ValueError, match=r"`num_classes`.*Received"):
        make(SIZE, num_classes=0)
    with pytest.raises(TypeError, match=r"`normalization`.*Received"):
        make(SIZE, normalization="batch")
