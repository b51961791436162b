import itertools

import keras
import numpy as np
import pytest

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_two_global_views_and_the_local_ones(rng):
    images = rng.integers(0, 256, (8, 32, 32, 3)).astype("uint8")
    views = augment.MultiCropViews(24, 12, local_count=3, seed=0)(images)
    assert [tuple(view.shape) for view in views] == [(8, 24, 24, 3)] * 2 + [(8, 12, 12, 3)] * 3
    views = [to_numpy(view) for view in views]
    # of each image of noise, a view shows something of its own
    assert min(view.std(axis=(1, 2, 3)).min() for view in views) > 5
    for same_size in (views[:2], views[2:]):
        for one, other in itertools.combinations(same_size, 2):
            assert np.abs(one - other).mean(axis=(1, 2, 3)).min() > 1


def test_views_outside_training_are_the_resized_images(rng):
    images = np.repeat(np.repeat(rng.integers(0, 256, (4, 6, 6, 3)), 4, axis=1), 4, axis=2)
    views = augment.MultiCropViews(24, 12, local_count=2)(images.astype("uint8"), training=False)
    assert len(views) == 4
    for view, expected in zip(views, [images] * 2 + [images[:, ::2, ::2]] * 2, strict=True):
        assert np.corrcoef(to_numpy(view).ravel(), expected.ravel())[0, 1] > 0.95


def test_crops_have_their_own_scales():
    layer = augment.MultiCropViews(24, 12, seed=0)
    parameters = layer.draw(np.zeros((500, 32, 32, 3), "uint8"))
    areas = [to_numpy(p[0]["height"] * p[0]["width"]) / 32**2 for p in parameters]
    for area in areas[:2]:
        assert 0.4 - 1e-5 <= area.min() <= area.max() <= 1 + 1e-5
    for area in areas[2:]:
        assert 0.05 - 1e-5 <= area.min() <= area.max() <= 0.4 + 1e-5


def test_global_views_of_dino_differ_in_blur_and_solarization():
    layer = augment.MultiCropViews(24, 12)

    def probabilities(pipeline, kind):
        return [layer.probability for layer in pipeline.layers if isinstance(layer, kind)]

    blur = [probabilities(p, augment.GaussianBlur) for p in layer.pipelines[:3]]
    solarize = [probabilities(p, augment.RandomSolarize) for p in layer.pipelines[:3]]
    assert blur == [[1.0], [0.1], [0.5]]
    assert solarize == [[], [0.2], []]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"`blur_probability`.*three probabilities.*Received"):
        augment.MultiCropViews(24, 12, blur_probability=0.5)
    with pytest.raises(ValueError, match=r"`solarize_probability`.*Received"):
        augment.MultiCropViews(24, 12, solarize_probability=(0, 2, 0))
    with pytest.raises(ValueError, match=r"`local_scale`"):
        augment.MultiCropViews(24, 12, local_scale=(0, 1))
    with pytest.raises(ValueError, match=r"`local_count`"):
        augment.MultiCropViews(24, 12, local_count=-1)
    with pytest.raises(ValueError, match=r"keras\.layers\.Resizing"):
        augment.MultiCropViews(48, 12)(np.zeros((2, 32, 32, 3), "uint8"))
