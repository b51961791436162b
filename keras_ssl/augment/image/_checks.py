"""Checks of the images that augmentation layers receive."""

from typing import Any


def check_rank(layer: Any, shape: Any) -> None:
    """Raise unless `shape` is that of a batch of images."""
    shape = tuple(shape)
    if len(shape) == 4:
        return
    message = (
        f"Layer '{layer.name}' expects a batch of images of shape "
        "(batch, height, width, channels). "
    )
    if len(shape) == 3:
        message += (
            "For a single image add a batch axis (`image[None]`); in `tf.data`, call `.batch()` "
            "before `.map()`. "
        )
    raise ValueError(f"{message}Received: shape {shape}")


def check_images(layer: Any, x: Any) -> None:
    """Raise unless `x` is a batch of images with an integer or floating-point dtype."""
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        raise TypeError(
            f"Layer '{layer.name}' expects one tensor of images. Received: {type(x).__name__}"
        )
    check_rank(layer, x.shape)
    dtype = getattr(x.dtype, "name", str(x.dtype))
    if not dtype.startswith(("int", "uint", "float", "bfloat")):
        raise TypeError(
            f"Layer '{layer.name}' expects images of an integer or floating-point dtype. "
            f"Received: dtype {dtype}"
        )


def check_view_fits(layer: Any, size: tuple[int, int], image_shape: tuple) -> None:
    """Raise if views of `size` would be larger than the images they are cut from."""
    for wanted, available in zip(size, image_shape, strict=False):
        if isinstance(available, int) and wanted > available:
            raise ValueError(
                f"Layer '{layer.name}' makes views of size {tuple(size)}, larger than the images. "
                "Enlarge the images first, with `keras.layers.Resizing(height, width)` in the "
                "`tf.data` pipeline or before this layer, or ask for a smaller `size`. "
                f"Received: images of height and width {tuple(image_shape[:2])}"
            )
