import numpy as np
from keras import ops

from keras_ssl.ops import patchify, unpatchify


def test_patches_are_windows_of_the_image_row_by_row(rng):
    images = rng.normal(size=(2, 6, 8, 3))
    patches = ops.convert_to_numpy(patchify(images, (3, 2)))
    assert patches.shape == (2, 8, 18)
    for number in range(8):
        row, column = divmod(number, 4)
        window = images[:, 3 * row : 3 * row + 3, 2 * column : 2 * column + 2]
        np.testing.assert_allclose(patches[:, number], window.reshape(2, -1), rtol=1e-6)
    back = unpatchify(patches, (3, 2), (2, 4))
    np.testing.assert_allclose(ops.convert_to_numpy(back), images, rtol=1e-6)
