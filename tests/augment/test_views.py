import keras
import numpy as np
import pytest

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_count_views_of_one_pipeline(rng):
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    views = augment.Views(augment.RandomResizedCrop(12), count=4, seed=0)(images)
    views = [to_numpy(view) for view in views]
    assert [view.shape for view in views] == [(8, 12, 12, 3)] * 4
    assert min(np.abs(views[0] - other).mean() for other in views[1:]) > 1


def test_keras_rand_augment_in_the_pipeline(rng):
    images = rng.integers(0, 256, (8, 24, 24, 3)).astype("uint8")
    layers = [augment.RandomResizedCrop(16), keras.layers.RandAugment(num_ops=2, factor=0.8)]
    first, second = (to_numpy(view) for view in augment.Views(layers, seed=0)(images))
    assert first.shape == second.shape == (8, 16, 16, 3)
    assert first.min() >= 0 and first.max() <= 255
    assert np.abs(first - second).mean() > 1


def test_kerascv_layers_in_the_pipeline(rng):
    keras_cv = pytest.importorskip("keras_cv")
    images = rng.integers(0, 256, (8, 24, 24, 3)).astype("uint8")
    layers = [augment.RandomResizedCrop(16), keras_cv.layers.RandomHue(0.5, (0, 255))]
    first, second = augment.Views(layers, seed=0)(images)
    assert tuple(first.shape) == (8, 16, 16, 3)
    assert np.abs(to_numpy(first) - to_numpy(second)).mean() > 1


def test_at_rest_all_views_are_the_resized_image(rng):
    images = rng.integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    first, second = augment.Views(augment.RandomResizedCrop(16))(images, training=False)
    np.testing.assert_allclose(to_numpy(first), images, atol=1e-3)
    np.testing.assert_array_equal(to_numpy(first), to_numpy(second))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"`count`.*Received"):
        augment.Views(augment.RandomResizedCrop(12), count=0)
    with pytest.raises(TypeError, match=r"`layers`.*Received"):
        augment.Views([np.flip])
