"""Images as sequences of patches, and back."""

from typing import Any

from keras import ops


def patchify(images: Any, size: tuple[int, int]) -> Any:
    """Cut images into patches without overlap, row by row.

    Args:
        images: `(batch, height, width, channels)`, with height and width divisible by `size`.
        size: `(height, width)` of a patch.

    Returns:
        Tensor `(batch, patches, patch height * patch width * channels)`; the pixels of a patch are
        in the order of rows, columns and channels.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops import patchify
    >>> patchify(np.arange(16).reshape(1, 4, 4, 1), (2, 2)).numpy()[0, 0].tolist()
    [0, 1, 4, 5]
    """
    rows, columns = images.shape[1] // size[0], images.shape[2] // size[1]
    channels = images.shape[-1]
    x = ops.reshape(images, (-1, rows, size[0], columns, size[1], channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, rows * columns, size[0] * size[1] * channels))


def unpatchify(patches: Any, size: tuple[int, int], grid: tuple[int, int]) -> Any:
    """Join patches to images: the inverse of `patchify`.

    Args:
        patches: `(batch, patches, patch height * patch width * channels)`.
        size: `(height, width)` of a patch.
        grid: `(rows, columns)` of patches.

    Returns:
        Tensor `(batch, height, width, channels)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.ops import patchify, unpatchify
    >>> images = np.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    >>> bool(np.all(unpatchify(patchify(images, (2, 3)), (2, 3), (2, 2)) == images))
    True
    """
    channels = patches.shape[-1] // (size[0] * size[1])
    x = ops.reshape(patches, (-1, *grid, *size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, grid[0] * size[0], grid[1] * size[1], channels))
