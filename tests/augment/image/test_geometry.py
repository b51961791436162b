import keras
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from keras_ssl.augment.image.gaussian_blur import gaussian_matrix
from keras_ssl.augment.image.geometry import (
    AxisMaps,
    Resampling,
    apply_maps,
    resize_matrix,
)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def pillow_resize(image, box, size):
    """Pillow's bilinear resize of a box of one float plane; `box` is left, top, right, bottom."""
    plane = Image.fromarray(image.astype("float32"), mode="F")
    return np.asarray(plane.resize(size[::-1], Image.Resampling.BILINEAR, box=box))


@pytest.mark.parametrize("target", [(8, 8), (20, 24), (5, 7)])
@pytest.mark.parametrize(
    "box", [(0.0, 0.0, 24.0, 20.0), (3.3, 2.7, 21.9, 17.1), (0.0, 4.5, 9.0, 20.0)]
)
def test_resampling_equals_pillow(rng, box, target):
    image = rng.uniform(0, 255, (20, 24))
    left, top, right, bottom = box
    rows = Resampling(np.float32([top]), np.float32([bottom - top]), 20, target[0])
    columns = Resampling(np.float32([left]), np.float32([right - left]), 24, target[1])
    result = to_numpy(apply_maps(image[None, :, :, None], AxisMaps(rows, columns)))
    np.testing.assert_allclose(
        result[0, :, :, 0], pillow_resize(image, box, target), atol=255 * 1e-5
    )


def test_without_antialias_it_is_linear_interpolation(rng):
    row = rng.uniform(0, 1, 32)
    start, length, target = 4.25, 25.5, 8
    centers = start + (np.arange(target) + 0.5) * length / target
    expected = np.interp(centers, np.arange(32) + 0.5, row)
    matrix = resize_matrix(np.float32([start]), np.float32([length]), 32, target, antialias=False)
    np.testing.assert_allclose(to_numpy(matrix)[0] @ row, expected, atol=1e-5)


@pytest.mark.parametrize(("source", "target"), [(32, 32), (32, 8), (8, 8)])
@pytest.mark.parametrize("antialias", [True, False])
def test_rows_of_matrices_sum_to_one(rng, source, target, antialias):
    length = rng.uniform(0.2, 1.0, 50).astype("float32") * source
    start = (source - length) * rng.uniform(0, 1, 50).astype("float32")
    matrix = to_numpy(resize_matrix(start, length, source, target, antialias))
    np.testing.assert_allclose(matrix.sum(axis=-1), 1.0, atol=1e-5)
    assert matrix.min() >= 0.0


def test_a_mirrored_resampling_is_the_reversed_matrix(rng):
    start, length = np.float32([1.5, 1.5]), np.float32([12.5, 12.5])
    for target in (8, 20):
        once = Resampling(start, length, 16, target)
        mirrored = to_numpy(once.mirrored(np.array([True, False])).matrix())
        plain = to_numpy(once.matrix())
        np.testing.assert_allclose(mirrored[0], plain[0, ::-1], atol=1e-5)
        np.testing.assert_array_equal(mirrored[1], plain[1])


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0, 6.0])
def test_gaussian_equals_scipy_renormalised_at_the_border(rng, sigma):
    row = rng.uniform(0, 255, 24)

    def blur(x):
        return ndimage.gaussian_filter1d(x, sigma, mode="constant", truncate=60)

    matrix = to_numpy(gaussian_matrix(np.float32([sigma]), 24))[0]
    np.testing.assert_allclose(matrix @ row, blur(row) / blur(np.ones(24)), atol=255 * 1e-5)


def test_gaussian_of_width_zero_is_the_identity():
    np.testing.assert_array_equal(to_numpy(gaussian_matrix(np.float32([0.0]), 9))[0], np.eye(9))


def test_maps_compose_as_matrices(rng):
    first, second = rng.uniform(size=(2, 1, 6, 6)).astype("float32")
    maps = AxisMaps(rows=first).then(rows=second)
    np.testing.assert_allclose(to_numpy(maps.rows), second @ first, rtol=1e-5)
    assert maps.columns is None


@pytest.mark.parametrize("known", ["rows and columns", "rows", "columns", "nothing"])
def test_maps_act_on_every_channel_in_the_same_way(rng, known):
    images = rng.uniform(size=(4, 10, 12, 3)).astype("float32")
    rows = rng.uniform(size=(4, 5, 10)).astype("float32") if "rows" in known else None
    columns = rng.uniform(size=(4, 7, 12)).astype("float32") if "columns" in known else None
    r = np.broadcast_to(np.eye(10), (4, 10, 10)) if rows is None else rows
    c = np.broadcast_to(np.eye(12), (4, 12, 12)) if columns is None else columns
    expected = np.einsum("nth,nhwk,nsw->ntsk", r, images, c)
    result = to_numpy(apply_maps(images, AxisMaps(rows, columns)))
    np.testing.assert_allclose(result, expected, rtol=1e-4)
