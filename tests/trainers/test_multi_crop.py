"""Views of several sizes: how networks are called on them, and which are refused."""

import numpy as np
import pytest

from keras_ssl.trainers.checks import check_crops
from keras_ssl.trainers.joint_embedding import call_by_size


def crops(*sizes, channels=1, count=4):
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(count, size, size, channels)).astype("float32") for size in sizes)


def test_views_of_one_size_are_one_call_and_come_back_in_order():
    calls = []

    def means(images):
        calls.append(tuple(images.shape))
        return np.mean(images, axis=(1, 2))

    views = crops(8, 8, 4, 4, 4)
    outputs = call_by_size(means, views)
    assert calls == [(8, 8, 8, 1), (12, 4, 4, 1)]
    for view, output in zip(views, outputs, strict=True):
        np.testing.assert_allclose(output, view.mean(axis=(1, 2)), rtol=1e-6)


def test_good_crops_pass():
    check_crops(crops(8, 8), 2)
    check_crops(crops(8, 8, 4, 4), 2, (None, None, None, 1))
    check_crops(crops(8, 4), 1)
    check_crops(tuple(crop > 0 for crop in crops(8, 8)), 2)  # such as masks


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (crops(8)[0], "tuple of views"),
        (crops(8), "at least 2 views"),
        (crops(8, 4, 4), "2 global views of one shape"),
        (crops(4, 4, 8), "no larger than the 2 global"),
        ((*crops(8, 8), *crops(4, channels=3)), "number of channels"),
        ((*crops(8, 8), np.zeros((4, 8))), "number of channels or features"),
    ],
)
def test_bad_crops_are_refused(views, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check_crops(views, 2)


def test_encoder_of_one_size_is_refused():
    check_crops(crops(8, 8), 2, (None, 8, 8, 1))
    with pytest.raises(ValueError, match=r"\(None, None, 1\).*encoder for \(8, 8, 1\)"):
        check_crops(crops(8, 8, 4), 2, (None, 8, 8, 1))
