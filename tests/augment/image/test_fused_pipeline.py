import keras
import numpy as np
import pytest

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def all_layers(size, value_range=(0, 255)):
    return [
        augment.RandomResizedCrop(size, scale=(0.2, 1.0)),
        augment.RandomHorizontalFlip(),
        augment.GaussianBlur(probability=0.7),
        augment.ColorJitter(0.8, 0.8, 0.8, 0.2, probability=0.9, value_range=value_range),
        augment.Grayscale(0.3, strict=False),
        augment.RandomSolarize(probability=0.3, value_range=value_range),
    ]


def chain(layers, images, parameters, low, high):
    """The layers one after another on given draws, clipped once, at the end."""
    for layer, drawn in zip(layers, parameters, strict=True):
        images = layer.apply(images, drawn)
    return to_numpy(images).clip(low, high)


@pytest.mark.few(6)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("dtype", "high"), [("uint8", 255), ("float32", 255), ("float32", 1)])
@pytest.mark.parametrize("size", [16, (24, 20)])
def test_fused_equals_the_chain_of_its_layers(rng, channels, dtype, high, size):
    images = (rng.uniform(0, 1, (32, 24, 28, channels)) * high).astype(dtype)
    pipeline = augment.FusedPipeline(all_layers(size, (0, high)), seed=0)
    parameters = pipeline.draw(images)
    fused = to_numpy(pipeline.apply(images, parameters))
    expected = chain(pipeline.layers, images, parameters, 0, high)
    assert fused.dtype == "float32"
    # at its threshold solarisation is a jump: a rounding error there is not an error of the map
    jump = np.isclose(np.abs(fused - expected), np.abs(high - 2 * expected), atol=1e-3 * high)
    near = (np.abs(expected - high / 2) < 1e-3 * high) & jump
    np.testing.assert_allclose(fused[~near], expected[~near], atol=1e-4 * high)
    assert near.mean() < 0.01


@pytest.mark.parametrize(
    "order",
    [
        ["flip", "crop", "blur"],
        ["blur", "crop", "flip"],
        ["gray", "crop", "jitter"],
        ["jitter", "jitter", "gray"],
        ["flip"],
        ["gray"],
    ],
)
def test_any_order_of_layers_can_be_fused(rng, order):
    makers = {
        "flip": augment.RandomHorizontalFlip,
        "crop": lambda: augment.RandomResizedCrop(12),
        "blur": lambda: augment.GaussianBlur(probability=1.0),
        "gray": lambda: augment.Grayscale(0.5),
        # weak, so that nothing is clipped in between
        "jitter": lambda: augment.ColorJitter(0.1, 0.3, 0.3, 0.1),
    }
    images = rng.uniform(100, 150, (16, 18, 18, 3)).astype("float32")
    pipeline = augment.FusedPipeline([makers[name]() for name in order], seed=1)
    parameters = pipeline.draw(images)
    fused = to_numpy(pipeline.apply(images, parameters))
    np.testing.assert_allclose(
        fused, chain(pipeline.layers, images, parameters, 0, 255), atol=255 * 1e-4
    )


class Mix(augment.ColorAugmentation):
    """Affine maps that do not commute, unlike those of jitter and grayscale."""

    def __init__(self, matrix, offset, **kwargs):
        super().__init__(**kwargs)
        self.matrix, self.offset = np.float32(matrix), np.float32(offset)

    def parameters(self, uniforms, image_shape):
        return {}

    def color_map(self, parameters, channels):
        return augment.ColorMap(self.matrix[None], 2 * self.matrix[None], self.offset[None])


def test_colour_maps_are_composed_in_the_order_of_the_layers(rng):
    images = rng.uniform(0, 50, (4, 9, 9, 3)).astype("float32")
    expected = images.astype("float64")
    steps = [(rng.uniform(0, 0.5, (3, 3)), rng.uniform(0, 20, 3)) for _ in range(3)]
    for matrix, offset in steps:
        mean = expected.mean(axis=(1, 2), keepdims=True)
        expected = (expected - mean) @ matrix.T + 2 * mean @ matrix.T + offset
    assert expected.max() < 255
    for pipeline in (augment.FusedPipeline, keras.Sequential):
        layers = [augment.RandomHorizontalFlip(0.0), *(Mix(*step) for step in steps)]
        result = to_numpy(pipeline(layers)(images, training=True))
        np.testing.assert_allclose(result, expected, rtol=1e-4)


def test_contrast_pulls_to_the_mean_of_the_view_not_of_the_image(rng):
    images = rng.uniform(80, 120, (8, 20, 20, 3)).astype("float32")
    images[:, :10] += 60
    jitter = augment.ColorJitter(contrast=0.9)
    pipeline = augment.FusedPipeline([augment.RandomResizedCrop(8, scale=(0.1, 0.2)), jitter])
    parameters = pipeline.draw(images)
    crop = pipeline.layers[0].apply(images, parameters[0])
    luma = to_numpy(crop).astype("float64") @ [0.299, 0.587, 0.114]
    view = to_numpy(pipeline.apply(images, parameters))
    # contrast around its own mean leaves the mean luma of a view where it was
    after = view.astype("float64") @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(after.mean(axis=(1, 2)), luma.mean(axis=(1, 2)), rtol=1e-3)


def test_other_layers_keep_their_place(rng):
    images = rng.uniform(0, 255, (4, 20, 20, 3)).astype("float32")
    pipeline = augment.FusedPipeline(
        [
            augment.RandomHorizontalFlip(),
            keras.layers.Resizing(16, 12),
            augment.RandomResizedCrop(8),
            keras.layers.Rescaling(1 / 255),
        ]
    )
    result = to_numpy(pipeline(images))
    assert result.shape == (4, 8, 8, 3)
    assert result.max() <= 1.0
    assert pipeline.compute_output_shape((None, 20, 20, 3)) == (None, 8, 8, 3)


def test_nothing_is_random_outside_training(rng):
    images = rng.integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    layers = [*all_layers(16), keras.layers.RandAugment()]
    result = to_numpy(augment.FusedPipeline(layers)(images, training=False))
    np.testing.assert_allclose(result, images, atol=1e-3)


def test_only_layers_are_accepted():
    with pytest.raises(TypeError, match=r"`layers`.*Received: .*of type"):
        augment.FusedPipeline([augment.RandomHorizontalFlip(), lambda x: x])
