"""Geometric operations as linear maps.

Cropping, resizing, flipping and blurring with a Gaussian are linear and act on rows and columns
separately. So each is a pair of matrices per image, `(out_height, height)` and
`(out_width, width)`, and a chain of them is a pair of products. The rows of every matrix sum to
one, so constant images stay as they are.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_ssl.augment.image.image_augmentation import ImageAugmentation


class Resampling(NamedTuple):
    """Part of an axis, resized: a linear map whose matrix is made only when needed.

    A flip only exchanges the ends of the part.

    Attributes:
        start: float32 tensor `(batch,)`, where the part begins, in pixels.
        length: float32 tensor `(batch,)`, in pixels; negative if the part is read backwards.
        source: pixels along the axis.
        target: pixels of the output.
        antialias: whether to smooth where the axis shrinks.
    """

    start: Any
    length: Any
    source: Any
    target: int
    antialias: bool = True

    def mirrored(self, flip: Any) -> "Resampling":
        """The same part, read backwards where the boolean tensor `flip` is true."""
        start = ops.where(flip, self.start + self.length, self.start)
        return self._replace(start=start, length=ops.where(flip, -self.length, self.length))

    def matrix(self) -> Any:
        """The matrix `(batch, target, source)`."""
        return resize_matrix(*self)


class AxisMaps(NamedTuple):
    """Linear maps of the rows and of the columns of each image; `None` is the identity.

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
        """Matrices `R` and `C^T` to multiply each image with from the left and the right."""
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
    """Random operation on the rows and columns of images, as linear maps that can be folded.

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
        """Append this operation to the maps of those before it.

        Args:
            maps: maps of the operations before.
            parameters: result of `parameters`.
            image_shape: `(height, width, channels)` of the images that reach this operation.

        Returns:
            The maps of all operations together.
        """
        raise NotImplementedError

    def apply(self, images: Any, parameters: Any) -> Any:
        """Apply the maps to images; returns float32."""
        maps = self.fold(AxisMaps(), parameters, tuple(ops.shape(images)[1:]))
        return apply_maps(images, maps)


def apply_maps(images: Any, maps: AxisMaps) -> Any:
    """Map the rows and columns of images to float32: `rows @ image @ columns^T` per channel."""
    left, right = maps.sides()
    return images_of(multiply_planes(left, planes_of(images), right))


def planes_of(images: Any) -> Any:
    """Images `(batch, height, width, channels)` as float32 `(batch, channels, height, width)`."""
    return ops.cast(ops.transpose(images, (0, 3, 1, 2)), "float32")


def images_of(planes: Any) -> Any:
    """Planes `(batch, channels, height, width)` as `(batch, height, width, channels)`."""
    return ops.transpose(planes, (0, 2, 3, 1))


def multiply_planes(left: Any, planes: Any, right: Any) -> Any:
    """`left @ plane @ right` for planes `(batch, channels, height, width)`; `None` is identity."""
    if left is not None:
        planes = ops.matmul(left[:, None], planes)
    if right is not None:
        planes = ops.matmul(planes, right[:, None])
    return planes


def resize_matrix(start: Any, length: Any, source: Any, target: int, antialias: bool = True) -> Any:
    """Matrices that cut `[start, start + length)` out of an axis and resize it.

    Linear interpolation, with pixel `i` a unit interval centred on `i + 1/2`: output `j` lies at
    `c_j = start + (j + 1/2) length / target`, and weighs pixel `i` by

        w_ji ~ max(0, 1 - |i + 1/2 - c_j| / s),   s = max(1, |length| / target) or 1,

    divided by the sum over the pixels that exist. With `antialias` the triangle widens with the
    reduction, as in Pillow; without, it spans two pixels, as in TensorFlow's and PyTorch's plain
    bilinear resize. Pixels just outside the crop contribute to its edge.

    Args:
        start: float32 tensor `(batch,)`, in pixels.
        length: float32 tensor `(batch,)`, in pixels, not zero; negative reads backwards.
        source: pixels along the axis.
        target: pixels of the output.
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
