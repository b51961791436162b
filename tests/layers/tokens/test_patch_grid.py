import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import PatchGrid

to_numpy = keras.ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, expected, **arguments):
        self.run_layer_test(
            PatchGrid,
            init_kwargs=arguments,
            input_shape=(2, 12, 10, 3),
            expected_output_shape=expected,
            expected_num_trainable_weights=0,
            run_training_check=False,
        )

    def test_overlapping(self):
        self.check((2, 5, 4, 4, 4, 3), size=4, strides=2)

    def test_side_by_side(self):
        self.check((2, 3, 2, 4, 5, 3), size=(4, 5))


@pytest.mark.parametrize(
    ("size", "strides"), [((4, 4), (2, 2)), ((5, 3), (2, 4)), ((3, 3), (5, 3))]
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_patches_are_slices(rng, size, strides, dtype):
    images = rng.integers(0, 256, (2, 11, 10, 3)).astype(dtype)
    grid = to_numpy(PatchGrid(size, strides)(images))
    assert grid.dtype == dtype
    rows = range(0, 11 - size[0] + 1, strides[0])
    columns = range(0, 10 - size[1] + 1, strides[1])
    assert grid.shape[1:3] == (len(rows), len(columns))
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            expected = images[:, top : top + size[0], left : left + size[1]]
            np.testing.assert_array_equal(grid[:, i, j], expected)


def test_grids_of_the_papers():
    # 256 pixels in 7x7 patches of 64 half overlapping; 260 in 6x6 patches of 80
    assert PatchGrid(64, 32).compute_output_shape((None, 256, 256, 3))[:3] == (None, 7, 7)
    assert PatchGrid(80, 36).compute_output_shape((None, 260, 260, 3))[:3] == (None, 6, 6)


@pytest.mark.parametrize("shape", [(2, 12, 12), (2, 3, 3, 12, 12), (2, None, 12, 3)])
def test_other_shapes_raise(shape):
    with pytest.raises(ValueError, match=r"`inputs` must be images.*Received: shape"):
        PatchGrid(4)(keras.KerasTensor(shape))


def test_patches_larger_than_the_images_raise():
    with pytest.raises(ValueError, match=r"`size`.*larger.*size=\(4, 13\).*\(12, 12\)"):
        PatchGrid((4, 13))(np.zeros((2, 12, 12, 3)))


@pytest.mark.parametrize("name", ["size", "strides"])
@pytest.mark.parametrize("value", [0, -1, (4, 0), (4, 4, 4), ()])
def test_wrong_sizes_raise(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.*Received"):
        PatchGrid(**{"size": 4, name: value})


@pytest.mark.parametrize("name", ["size", "strides"])
@pytest.mark.parametrize("value", ["4", 2.5, True, (4, 2.0)])
def test_sizes_that_are_not_integers_raise(name, value):
    with pytest.raises(TypeError, match=f"`{name}` must be.*Received"):
        PatchGrid(**{"size": 4, name: value})
