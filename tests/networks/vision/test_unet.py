"""The U-Net for segmentation: sizes, skip connections, learning a mask, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import networks

to_numpy = ops.convert_to_numpy


@pytest.mark.parametrize("upsampling", ["transposed", "nearest", "bilinear"])
def test_any_channels_and_sizes(upsampling, rng, tmp_path):
    network = networks.unet((None, None, 2), 3, (4, 6, 8), blocks=1, upsampling=upsampling)
    images = rng.uniform(0, 255, (1, 8, 12, 2)).astype("float32")
    outputs = network(images)
    assert tuple(outputs.shape) == (1, 8, 12, 3)
    assert tuple(network.get_layer("middle").output.shape) == (None, None, None, 8)
    network.save(tmp_path / "unet.keras")
    loaded = keras.models.load_model(tmp_path / "unet.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(images), outputs, atol=1e-5)
    with pytest.raises(ValueError, match=r"divisible by 4.*8x12 or 8x16"):
        network(np.zeros((1, 8, 13, 2), "float32"))


def test_skip_connections_keep_single_pixels():
    """Without the way through the middle, an output sees its neighborhood alone."""
    network = networks.unet(
        (16, 16, 1), widths=(2, 2, 2), blocks=1, normalization=False, include_rescaling=False
    )
    network.get_layer("up1_double").kernel.assign(np.zeros((2, 2, 2, 2)))
    image = np.zeros((2, 16, 16, 1), "float32")
    image[1, 8, 8] = 1.0
    outputs = to_numpy(network(image))
    rows, columns = np.nonzero(np.any(outputs[0] != outputs[1], axis=-1))
    assert rows.size and np.abs(rows - 8).max() <= 2 and np.abs(columns - 8).max() <= 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (30, 32, 3)}, "24x32 or 32x32"),
        ({"outputs": 0}, "`outputs`"),
        ({"widths": 32}, "`widths`"),
        ({"upsampling": "cubic"}, "`upsampling`"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        networks.unet(**{"input_shape": (32, 32, 3), **arguments})
