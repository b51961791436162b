import keras
import numpy as np
import pytest

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_each_view_has_its_own_pipeline(rng):
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    views = augment.AsymmetricViews(
        [
            augment.Grayscale(1.0),
            [augment.RandomHorizontalFlip(1.0), keras.layers.Rescaling(1 / 255)],
            augment.simclr_pipeline(12, solarize_probability=1.0),
        ]
    )
    gray, flipped, view = (to_numpy(v) for v in views(images))
    np.testing.assert_allclose(gray[..., 0], gray[..., 1], rtol=1e-5)
    np.testing.assert_allclose(flipped, images[:, :, ::-1] / 255.0, rtol=1e-5)
    assert view.shape == (8, 12, 12, 3)
    # everything from the middle of the range on is inverted
    assert view.max() <= 127.5


@pytest.mark.parametrize("pipelines", [[], None])
def test_no_pipeline_is_an_error(pipelines):
    with pytest.raises(ValueError, match=r"`pipelines`.*Received"):
        augment.AsymmetricViews(pipelines)
