"""Convolutional encoders and decoders: shapes of both ways, saving, half precision, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import networks


@pytest.mark.parametrize(
    ("latent", "shape"), [({"features": 6}, (6,)), ({"channels": 3, "blocks": 1}, (4, 3, 3))]
)
def test_the_decoder_returns_what_the_encoder_takes(latent, shape, rng, tmp_path, set_dtype_policy):
    size, widths = (13, 12, 2), (4, 8)
    images = rng.uniform(size=(2, *size)).astype("float32")
    set_dtype_policy("mixed_float16")
    encoder = networks.conv_encoder(size, widths, **latent)
    decoder = networks.conv_decoder(size, widths, activation="sigmoid", **latent)
    codes = encoder(images)
    pixels = decoder(codes)
    assert tuple(codes.shape) == (2, *shape) and tuple(pixels.shape) == images.shape
    for outputs in (codes, pixels):
        assert keras.backend.standardize_dtype(outputs.dtype) == "float32"
        assert np.all(np.isfinite(outputs))
    assert 0 < np.min(pixels) < np.max(pixels) < 1
    decoder.save(tmp_path / "decoder.keras")
    loaded = keras.models.load_model(tmp_path / "decoder.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(codes), pixels, atol=1e-3)


@pytest.mark.parametrize("make", [networks.conv_encoder, networks.conv_decoder])
def test_wrong_arguments_raise(make):
    with pytest.raises(ValueError, match=r"either `features`.*`channels`.*Received"):
        make((8, 8, 1), (4,))
    with pytest.raises(ValueError, match=r"either `features`.*Received"):
        make((8, 8, 1), (4,), features=2, channels=2)
    with pytest.raises(ValueError, match=r"known.*Received"):
        make((None, 8, 1), (4,), features=2)
    with pytest.raises(ValueError, match=r"`groups`.*Received"):
        make((8, 8, 1), (4,), features=2, groups=3)
