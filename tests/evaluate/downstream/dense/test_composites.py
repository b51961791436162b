"""Objects on backgrounds: each pixel is of what the mask says."""

import numpy as np
import pytest

from keras_ssl import evaluate
from tests.evaluate.fashion import fashion


def make(rng, dtype="uint8"):
    """Objects of one gray value each, 10 times their label plus 1, with holes in their borders."""
    labels = np.array([0, 1, 4, -1])
    shape = rng.random((4, 5, 6)) < 0.7
    values = 10 * (labels + 1)
    objects = np.where(shape, values[:, None, None], 0).astype(dtype)[..., None]
    objects[3] = 77
    backgrounds = np.full((2, 12, 15, 1), 200, dtype)
    backgrounds[1] = 201
    return objects, labels, backgrounds


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pixels_and_masks_agree(rng, dtype):
    objects, labels, backgrounds = make(rng, dtype)
    before = backgrounds.copy()
    images, masks = evaluate.composites(objects, labels, backgrounds, 900, (2, 5), seed=1)
    assert images.dtype == dtype and images.shape == (900, 12, 15, 1)
    assert masks.dtype == "uint8" and masks.shape == (900, 12, 15)
    inside = masks > 0
    np.testing.assert_array_equal(images[inside][:, 0], 10 * masks[inside])
    assert set(np.unique(images[~inside])) == {200, 201}
    assert set(np.unique(masks)) == {0, 1, 2, 5}  # nothing of the object without a label
    # everywhere that the objects fit
    assert inside.any(axis=0).all() and len({mask.tobytes() for mask in masks}) > 890
    np.testing.assert_array_equal(backgrounds, before)


def test_numbers_of_objects_and_foregrounds(rng):
    objects, labels, backgrounds = make(rng)
    foregrounds = np.zeros(objects.shape[:3], bool)
    foregrounds[:, 2, 3] = True
    _, masks = evaluate.composites(objects, labels, backgrounds, 60, (0, 2), foregrounds)
    counts = np.count_nonzero(masks, axis=(1, 2))
    assert set(counts) == {0, 1, 2}
    rows, columns = np.nonzero(masks.any(axis=0))
    assert (rows.min(), rows.max()) == (2, 2 + 12 - 5)
    assert (columns.min(), columns.max()) == (3, 3 + 15 - 6)


def test_the_same_seed_gives_the_same_images():
    x, y = fashion("train[:30]")
    backgrounds = np.tile(x[:4], (1, 2, 2, 1))
    one, same, other = (evaluate.composites(x, y, backgrounds, 5, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert (one[0] != other[0]).any()


def test_bad_input_is_refused(rng):
    objects, labels, backgrounds = make(rng)

    def run(objects=objects, labels=labels, backgrounds=backgrounds, count=2, **arguments):
        return evaluate.composites(objects, labels, backgrounds, count, **arguments)

    with pytest.raises(ValueError, match="`objects` must have shape"):
        run(objects[..., 0])
    with pytest.raises(ValueError, match="`backgrounds` must have shape"):
        run(backgrounds=backgrounds[:0])
    with pytest.raises(TypeError, match="must have one dtype"):
        run(backgrounds=backgrounds / 255)
    with pytest.raises(ValueError, match="`backgrounds` must be as large"):
        run(backgrounds=backgrounds[:, :4])
    with pytest.raises(ValueError, match="with as many channels"):
        run(backgrounds=np.repeat(backgrounds, 3, axis=-1))
    with pytest.raises(ValueError, match="one label per object"):
        run(labels=labels[:2])
    for wrong in (-2, 254):
        with pytest.raises(ValueError, match="`labels` must be from 0 to 253"):
            run(labels=np.array([0, 1, 2, wrong]))
    with pytest.raises(ValueError, match="with a label"):
        run(labels=np.full(4, -1))
    with pytest.raises(TypeError, match="must be integers"):
        run(labels=labels.astype(str))
    with pytest.raises(ValueError, match="`foregrounds` must be booleans of shape"):
        run(foregrounds=objects > 0)
    with pytest.raises(ValueError, match="none in object 1 of 4"):
        run(objects * np.array([1, 0, 1, 1], "uint8")[:, None, None, None])
    for numbers in ((3, 1), (-1, 2), 2):
        with pytest.raises(ValueError, match="`objects_per_image` must be two numbers"):
            run(objects_per_image=numbers)
    with pytest.raises(TypeError, match="`objects_per_image` must be an integer"):
        run(objects_per_image=(1, 1.5))
    with pytest.raises(ValueError, match="`count` must be a positive integer"):
        run(count=0)
