"""Geometry as linear maps: one matrix for an image's rows and one for its columns.

Cropping, resizing, flipping and blurring with a Gaussian all act on rows and columns apart, and
linearly. So each is a pair of matrices, `(out_height, height)` and `(out_width, width)` an image,
and a chain of them is a pair of products. The rows of every matrix sum to one: a constant image
stays the same constant.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_ssl.augment.image.image_augmentation import ImageAugmentation


class Resampling(NamedTuple):
    """A cut out of an axis, resized: a linear map known by its numbers, not yet by its matrix.

    A flip only exchanges its ends, so the matrix is made when something else must follow.

    Attributes:
        start: float32 tensor `(batch,)`, where the cut begins, in pixels.
        length: float32 tensor `(batch,)`, in pixels; negative when the cut is read backwards.
        source: pixels along the axis.
        target: pixels wanted.
        antialias: whether to smooth where the axis shrinks.
    """

    start: Any
    length: Any
    source: Any
    target: int
    antialias: bool = True

    def mirrored(self, flip: Any) -> "Resampling":
        """The same cut, read backwards where the boolean tensor `flip` says so."""
        start = ops.where(flip, self.start + self.length, self.start)
        return self._replace(start=start, length=ops.where(flip, -self.length, self.length))

    def matrix(self) -> Any:
        """The matrix `(batch, target, source)`."""
        return resize_matrix(*self)


class AxisMaps(NamedTuple):
    """What happens to the rows and to the columns of each image; `None` stands for nothing.

    Attributes:
        rows: tensor `(batch, out_height, height)`, `Resampling`, or `None`.
        columns: tensor `(batch, out_width, width)`, `Resampling`, or `None`.
    """

    rows: Any = None
    columns: Any = None

    def then(self, rows: Any = None, columns: Any = None) -> "AxisMaps":
        """These maps followed by others."""
        return AxisMaps(_product(rows, self.rows), _product(columns, self.columns))

    def sides(self) -> tuple:
        """The matrices `R` and `C^T` to put on the left and right of each image."""
        rows, columns = _matrix(self.rows), _matrix(self.columns)
        return rows, None if columns is None else ops.transpose(columns, (0, 2, 1))


def _matrix(axis_map: Any) -> Any:
    return axis_map.matrix() if isinstance(axis_map, Resampling) else axis_map


def _product(after: Any, before: Any) -> Any:
    if after is None:
        return before
    if before is None:
        return after
    return ops.matmul(_matrix(after), _matrix(before))


class GeometricAugmentation(ImageAugmentation):
    """An operation on the rows and columns of images, as linear maps that can be folded.

    Subclasses implement `fold`; `apply` follows from it.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_ssl import augment
    >>> class UpsideDown(augment.GeometricAugmentation):
    ...     def parameters(self, uniforms, image_shape):
    ...         return None
    ...
    ...     def fold(self, maps, parameters, image_shape):
    ...         return maps.then(rows=ops.flip(ops.eye(image_shape[0]), axis=0)[None])
    >>> pipeline = augment.FusedPipeline([UpsideDown(), augment.RandomResizedCrop(24)])
    >>> pipeline(np.zeros((8, 32, 32, 3), "uint8")).shape
    TensorShape([8, 24, 24, 3])
    """

    def fold(self, maps: AxisMaps, parameters: Any, image_shape: tuple) -> AxisMaps:
        """Put this operation behind the maps of those before it.

        Args:
            maps: what came before.
            parameters: what `parameters` gave.
            image_shape: `(height, width, channels)` of the images that reach this operation.

        Returns:
            The maps of all of them together.
        """
        raise NotImplementedError

    def apply(self, images: Any, parameters: Any) -> Any:
        """Do the operation with given parameters; returns float32 images."""
        maps = self.fold(AxisMaps(), parameters, tuple(ops.shape(images)[1:]))
        return apply_maps(images, maps)


def apply_maps(images: Any, maps: AxisMaps) -> Any:
    """Map the rows and columns of each image: `rows @ image @ columns^T` in every channel.

    Args:
        images: tensor `(batch, height, width, channels)`.
        maps: the two matrices an image.

    Returns:
        float32 tensor `(batch, out_height, out_width, channels)`.
    """
    left, right = maps.sides()
    return images_of(multiply_planes(left, planes_of(images), right))


def planes_of(images: Any) -> Any:
    """Images `(batch, height, width, channels)` as float32 `(batch, channels, height, width)`."""
    return ops.cast(ops.transpose(images, (0, 3, 1, 2)), "float32")


def images_of(planes: Any) -> Any:
    """Planes `(batch, channels, height, width)` as `(batch, height, width, channels)`."""
    return ops.transpose(planes, (0, 2, 3, 1))


def multiply_planes(left: Any, planes: Any, right: Any) -> Any:
    """`left @ plane @ right` for float32 planes `(batch, channels, height, width)`.

    Args:
        left: tensor `(batch, out_height, height)`, or `None` for nothing.
        planes: the planes.
        right: tensor `(batch, width, out_width)`, or `None`.
    """
    if left is not None:
        planes = ops.matmul(left[:, None], planes)
    if right is not None:
        planes = ops.matmul(planes, right[:, None])
    return planes


def resize_matrix(start: Any, length: Any, source: Any, target: int, antialias: bool = True) -> Any:
    """The linear map that cuts `[start, start + length)` out of an axis and resizes it.

    Linear interpolation, with pixel `i` a unit interval centred on `i + 1/2`: output `j` lies at
    `c_j = start + (j + 1/2) length / target`, and weighs pixel `i` by

        w_ji ~ max(0, 1 - |i + 1/2 - c_j| / s),   s = max(1, |length| / target) or 1,

    divided by the sum over the pixels that exist. With `antialias` the triangle widens with the
    reduction, as in Pillow; without, it spans two pixels, as in TensorFlow's and PyTorch's plain
    bilinear resize. The border is the image's, not the crop's: a pixel just outside the crop
    takes part in its edge.

    Args:
        start: float32 tensor `(batch,)`, in pixels.
        length: float32 tensor `(batch,)`, in pixels, not zero; negative reads backwards.
        source: pixels along the axis.
        target: pixels wanted.
        antialias: whether the triangle widens where the axis shrinks.

    Returns:
        float32 tensor `(batch, target, source)`; rows sum to one.
    """
    step = length / float(target)
    centers = start[:, None] + (ops.arange(target, dtype="float32") + 0.5) * step[:, None]
    pixels = ops.arange(source, dtype="float32") + 0.5
    if not antialias or (isinstance(source, int) and source <= target):
        # a triangle of two pixels, its centre kept inside the image, sums to one by itself
        centers = ops.clip(centers, 0.5, ops.cast(source, "float32") - 0.5)
        return ops.relu(1.0 - ops.abs(centers[:, :, None] - pixels))
    width = ops.maximum(ops.abs(step), 1.0)[:, None, None]
    weights = ops.relu(1.0 - ops.abs(centers[:, :, None] - pixels) / width)
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def gaussian_matrix(sigma: Any, size: Any) -> Any:
    """The linear map that blurs an axis with a Gaussian.

    Output `j` weighs pixel `i` by `exp(-(i - j)^2 / (2 sigma^2))`, divided by the sum over the
    pixels that exist: the kernel is not cut off short, and at the border it is renormalised.

    Args:
        sigma: float32 tensor `(batch,)`, in pixels; zero leaves the axis as it is.
        size: pixels along the axis.

    Returns:
        float32 tensor `(batch, size, size)`; rows sum to one.
    """
    # at sigma = 0 the neighbours' weights must be zero without dividing by it
    precision = 0.5 / ops.maximum(sigma, 0.01) ** 2
    pixels = ops.arange(size, dtype="float32")
    squares = (pixels[:, None] - pixels) ** 2
    weights = ops.exp(-precision[:, None, None] * squares)
    return weights / ops.sum(weights, axis=-1, keepdims=True)
