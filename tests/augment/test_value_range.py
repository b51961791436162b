"""Images outside of the `value_range` of their augmentation are reported; those in it are not."""

import warnings

import keras
import numpy as np
import pytest

from keras_ssl import augment

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype("uint8")

LAYERS = {
    "jitter": lambda **k: augment.ColorJitter(0.4, **k),
    "solarize": lambda **k: augment.RandomSolarize(**k),
    "patch mask": lambda **k: augment.RandomPatchMask(4, **k),
    "simclr": lambda **k: augment.SimCLRViews(12, **k),
    "multi-crop": lambda **k: augment.MultiCropViews(12, 8, 1, **k),
    "pipeline": lambda **k: augment.simclr_pipeline(12, **k),
    "views": lambda **k: augment.Views([augment.RandomResizedCrop(8), augment.ColorJitter(**k)]),
    "asymmetric": lambda **k: augment.AsymmetricViews([[], augment.simclr_pipeline(12, **k)]),
    "patches": lambda **k: augment.PatchViews(8, 4, [augment.ColorJitter(0.4, **k)]),
    "entry": lambda **k: augment.Pipeline(
        [augment.OnKey("image", [keras.layers.RandomFlip(), augment.ColorJitter(0.4, **k)])]
    ),
    "Keras": lambda value_range=(0, 255): augment.Views(
        [keras.layers.RandomFlip(), keras.layers.RandomBrightness(0.1, value_range)]
    ),
}

MISTAKES = {
    "16 bits": (PIXELS.astype("uint16") * 257, "all of its values outside.* to 6.55"),
    "CT": ((PIXELS.astype("int16") - 128) * 8, "% of its values outside, from -1024 to 1016"),
    "standardized": ((PIXELS - 127.5) / 74.0, "50% of its values outside, from -1.7"),
    "[-1, 1]": (PIXELS / 127.5 - 1, "% of its values outside, from -1 to 1"),
    "[0, 1]": ((PIXELS / 255).astype("float32"), "at most 1, a small part"),
}


def given_to(name, images):
    return {"image": images} if name == "entry" else images


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("name", LAYERS)
def test_values_that_do_not_fit_are_reported(name, mistake):
    images, message = MISTAKES[mistake]
    with pytest.warns(UserWarning, match=message) as reported:
        LAYERS[name]()(given_to(name, images))
    (one,) = (str(one.message) for one in reported if "value_range" in str(one.message))
    assert "value_range=(0, 255)" in one and "rescale" in one


@pytest.mark.parametrize("name", LAYERS)
def test_values_in_the_range_bring_no_warning(name):
    overshoot = np.where(np.arange(16)[:, None] % 8 == 0, PIXELS * 1.1 - 12, PIXELS)
    black = np.zeros_like(PIXELS)
    cases = [({}, PIXELS), ({}, PIXELS.astype("int32")), ({}, overshoot), ({}, black)]
    cases.append(({"value_range": (0, 1)}, PIXELS / 255))
    cases.append(({"value_range": (0, 65535)}, PIXELS.astype("uint16") * 257))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for settings, images in cases:
            LAYERS[name](**settings)(given_to(name, images.astype("float32")))


def test_16_bits_get_the_views_of_8_bits_257_times_brighter():
    make = {"count": 1, "solarize_probability": 0.5, "seed": 0}
    (expected,) = augment.SimCLRViews(12, **make)(PIXELS)
    (found,) = augment.SimCLRViews(12, value_range=(0, 65535), **make)(
        PIXELS.astype("uint16") * 257
    )
    found, expected = (keras.ops.convert_to_numpy(x) for x in (found, expected))
    assert expected.min() + 1 > 0 and expected.std() > 20
    np.testing.assert_allclose(found / 257, expected, atol=0.02)


def test_layers_that_change_the_range_hide_that_of_the_layers_behind():
    layers = [keras.layers.Rescaling(1 / 255), augment.ColorJitter(0.4, value_range=(0, 1))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        augment.Views(layers)(PIXELS)
        augment.Pipeline(layers)(PIXELS)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="`tf.data`")
def test_in_a_graph_the_dtype_tells():
    import tensorflow as tf

    for dtype in ("uint16", "int16"):
        dataset = tf.data.Dataset.from_tensor_slices(PIXELS.astype(dtype)).batch(4)
        with pytest.warns(UserWarning, match=f"dtype {dtype}.*value_range"):
            dataset.map(augment.SimCLRViews(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset.map(augment.SimCLRViews(8, value_range=(-1024, 3071)))
