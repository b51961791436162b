"""LocatedViews: boxes are where views lie, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy
HEIGHT, WIDTH = 40, 60


def images(count=8):
    """Return images whose channels are the row and the column of the pixel, from 0.5."""
    rows, columns = np.meshgrid(np.arange(HEIGHT) + 0.5, np.arange(WIDTH) + 0.5, indexing="ij")
    return np.repeat(np.stack([rows, columns], axis=-1)[None], count, axis=0).astype("float32")


def test_boxes_are_where_the_pixels_come_from():
    crops = augment.SimCLRViews(
        16, scale=(0.3, 0.6), jitter_probability=0.0, blur_probability=0.0, seed=0
    )
    views = augment.LocatedViews(crops, seed=1)(images(32))
    flipped = 0
    for view in views:
        pixels, box = to_numpy(view["image"]), to_numpy(view["box"])
        assert pixels.shape == (32, 16, 16, 2) and box.shape == (32, 4)
        place = (np.arange(16) + 0.5) / 16
        for channel, along in ((0, pixels[:, :, 8, 0]), (1, pixels[:, 8, :, 1])):
            start, end = box[:, [channel]], box[:, [channel + 2]]
            # away from the edges, where pixels outside the crop are missing
            expected = start + (end - start) * place
            np.testing.assert_allclose(along[:, 2:-2], expected[:, 2:-2], atol=0.3)
        assert np.all(box[:, 2] > box[:, 0])
        flipped += np.sum(box[:, 3] < box[:, 1])
        area = np.abs((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])) / (HEIGHT * WIDTH)
        assert np.all((area > 0.29) & (area < 0.61))
    assert 10 < flipped < 54


def test_views_are_those_without_boxes_and_outside_training_whole():
    views = augment.MultiCropViews(16, 8, local_count=1)
    located = augment.LocatedViews(views)
    x = np.random.default_rng(0).uniform(0, 255, (4, 20, 24, 3)).astype("float32")
    parameters = views.draw(x, keras.random.SeedGenerator(0))
    for one, other in zip(located.apply(x, parameters), views.apply(x, parameters), strict=True):
        np.testing.assert_array_equal(to_numpy(one["image"]), to_numpy(other))
    for one, other in zip(located(x, training=False), views(x, training=False), strict=True):
        np.testing.assert_array_equal(to_numpy(one["image"]), to_numpy(other))
        np.testing.assert_array_equal(to_numpy(one["box"]), [[0, 0, 20, 24]] * 4)


@pytest.mark.parametrize(
    ("views", "error", "message"),
    [
        (augment.RandomResizedCrop(8), TypeError, "`views` must make views of images"),
        (augment.Views(keras.layers.Rescaling(0.5)), TypeError, "must make views of images"),
        (augment.Views(augment.Grayscale()), ValueError, r"one `RandomResizedCrop`.*'Grayscale'"),
        (
            augment.Views([augment.RandomHorizontalFlip(), augment.RandomResizedCrop(8)]),
            ValueError,
            "'RandomHorizontalFlip', 'RandomResizedCrop'",
        ),
        (
            augment.Views([augment.RandomResizedCrop(8), keras.layers.RandomRotation(0.2)]),
            ValueError,
            "no other layer that may move pixels.*'RandomRotation'",
        ),
    ],
    ids=["no views", "no images", "no crop", "flip first", "rotation"],
)
def test_views_without_a_place_are_rejected(views, error, message):
    with pytest.raises(error, match=message):
        augment.LocatedViews(views)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="ragged tensors")
def test_ragged_batches_are_rejected():
    import tensorflow as tf

    ragged = tf.ragged.stack([tf.zeros((20, 20, 3)), tf.zeros((24, 20, 3))])
    with pytest.raises(ValueError, match="images of one size"):
        augment.LocatedViews(augment.SimCLRViews(8))(ragged)
