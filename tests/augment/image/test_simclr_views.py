import keras
import numpy as np
import pytest

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_views_are_independent_and_in_range(rng):
    images = rng.integers(0, 256, (16, 24, 24, 3)).astype("uint8")
    views = [to_numpy(view) for view in augment.SimCLRViews(20, count=3, seed=0)(images)]
    assert [view.shape for view in views] == [(16, 20, 20, 3)] * 3
    assert all(view.dtype == "float32" for view in views)
    assert min(view.min() for view in views) >= 0
    assert max(view.max() for view in views) <= 255
    assert np.abs(views[0] - views[1]).mean() > 5
    assert np.abs(views[1] - views[2]).mean() > 5


def test_equal_images_of_a_batch_get_different_views(rng):
    image = rng.integers(0, 256, (1, 24, 24, 3)).astype("uint8")
    view, _ = augment.SimCLRViews(24, seed=0)(np.repeat(image, 16, axis=0))
    view = to_numpy(view)
    assert min(np.abs(view[0] - other).mean() for other in view[1:]) > 1


def test_seed_fixes_the_views_and_calls_differ(rng):
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    one, two = augment.SimCLRViews(16, seed=5), augment.SimCLRViews(16, seed=5)
    first, second = to_numpy(one(images)[0]), to_numpy(one(images)[0])
    np.testing.assert_array_equal(first, to_numpy(two(images)[0]))
    assert np.abs(first - second).mean() > 1


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_channel_count(rng, channels):
    images = rng.integers(0, 256, (4, 16, 16, channels)).astype("uint8")
    views = augment.SimCLRViews(12, solarize_probability=0.5)(images)
    assert all(tuple(view.shape) == (4, 12, 12, channels) for view in views)


def test_value_range_is_kept(rng):
    images = rng.uniform(-1, 1, (64, 16, 16, 3)).astype("float32")
    layer = augment.SimCLRViews(16, value_range=(-1, 1), solarize_probability=0.5, seed=0)
    views = np.concatenate([to_numpy(view) for view in layer(images)])
    assert views.min() == -1.0
    assert views.max() == 1.0


def test_strength_scales_the_jitter():
    views = augment.SimCLRViews(16, strength=0.5, hue=0.1)
    jitter = views.pipelines[0].layers[3]
    assert (jitter.brightness, jitter.contrast) == (0.4, 0.4)
    assert (jitter.saturation, jitter.hue) == (0.4, 0.05)


def test_operations_of_probability_zero_are_left_out():
    views = augment.SimCLRViews(16, blur_probability=0.0, grayscale_probability=0.0)
    kinds = [type(layer) for layer in views.pipelines[0].layers]
    assert kinds == [augment.RandomResizedCrop, augment.RandomHorizontalFlip, augment.ColorJitter]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"count": 0}, ValueError),
        ({"count": 2.0}, TypeError),
        ({"scale": (0, 1)}, ValueError),
        ({"strength": -1.0}, ValueError),
        ({"brightness": -0.5}, ValueError),
        ({"blur_sigma": (0, 2)}, ValueError),
        ({"value_range": (255, 0)}, ValueError),
    ],
)
def test_bad_arguments_are_errors(arguments, error):
    with pytest.raises(error, match="Received"):
        augment.SimCLRViews(16, **arguments)


@pytest.mark.parametrize(
    "name",
    [
        "flip_probability",
        "jitter_probability",
        "grayscale_probability",
        "blur_probability",
        "solarize_probability",
    ],
)
def test_probabilities_outside_0_and_1_are_errors(name):
    with pytest.raises(ValueError, match=rf"`{name}`.*Received: {name}=1\.5"):
        augment.SimCLRViews(16, **{name: 1.5})
