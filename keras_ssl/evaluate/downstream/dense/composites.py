"""Objects pasted on backgrounds, whose masks are known."""

from typing import Any

import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._labels import integer_labels, labelled_only


def composites(
    objects: Any,
    labels: Any,
    backgrounds: Any,
    count: int,
    objects_per_image: tuple[int, int] = (1, 3),
    foregrounds: Any = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Paste objects at random places on backgrounds, and return the class of each pixel.

    Each image has a background and objects drawn at random, at random places wholly inside it.
    Later ones cover earlier ones.

    Args:
        objects: images `(examples, height, width, channels)`.
        labels: classes of the objects, integers from 0; those with the label -1, which means no
            label, are not pasted.
        backgrounds: images `(examples, height, width, channels)`, as large as the objects or
            larger, with as many channels and the same dtype.
        count: number of images to make.
        objects_per_image: smallest and largest number of objects in an image.
        foregrounds: booleans `(examples, height, width)`: which pixels of the objects are pasted.
            `None` means those that are not black, above 0 in any channel.
        seed: seed of all draws.

    Returns:
        `(images, masks)`: images `(count, height, width, channels)` in the dtype of the
        backgrounds, and masks `(count, height, width)` in uint8: 0 for the background, and the
        label plus 1 for an object.

    Raises:
        TypeError: if labels are no integers, or dtypes differ.
        ValueError: if shapes do not fit, objects are larger than backgrounds or without
            foreground, labels are below -1 or above 253, or numbers are out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> objects = np.full((2, 2, 2, 1), 255, "uint8")
    >>> images, masks = evaluate.composites(
    ...     objects, np.array([0, 1]), np.zeros((1, 4, 4, 1), "uint8"), count=3
    ... )
    >>> images.shape, masks.shape, bool((masks > 0).any(axis=(1, 2)).all())
    ((3, 4, 4, 1), (3, 4, 4), True)
    """
    count = checks.integer("count", count, minimum=1)
    checks.interval("objects_per_image", objects_per_image, minimum=0)
    low, high = (checks.integer("objects_per_image", one) for one in objects_per_image)
    objects, backgrounds = np.asarray(objects), np.asarray(backgrounds)
    for name, images in (("objects", objects), ("backgrounds", backgrounds)):
        if images.ndim != 4 or 0 in images.shape:
            raise ValueError(
                f"`{name}` must have shape (examples, height, width, channels) and hold at least "
                f"one example. Received: shape {images.shape}"
            )
    if objects.dtype != backgrounds.dtype:
        raise TypeError(
            "`objects` and `backgrounds` must have one dtype, and one scale. "
            f"Received: {objects.dtype} and {backgrounds.dtype}"
        )
    (_, height, width, channels), (_, rows, columns, others) = objects.shape, backgrounds.shape
    if channels != others or height > rows or width > columns:
        raise ValueError(
            "`backgrounds` must be as large as `objects` or larger, with as many channels. "
            f"Received: objects of shape {objects.shape[1:]} and backgrounds of shape "
            f"{backgrounds.shape[1:]}"
        )
    foregrounds = _check_foregrounds(foregrounds, objects)
    labels = integer_labels(labels, "labels")
    if len(labels) != len(objects):
        raise ValueError(
            "`labels` must have one label per object. "
            f"Received: {len(labels)} labels and {len(objects)} objects"
        )
    chosen, labels = labelled_only(np.arange(len(objects)), labels, "labels")
    if labels.min() < 0 or labels.max() > 253:
        raise ValueError(
            "`labels` must be from 0 to 253, so that 255 is no class, or -1 for no label. "
            f"Received: labels from {labels.min()} to {labels.max()}"
        )
    random = np.random.default_rng(seed)
    images = backgrounds[random.integers(len(backgrounds), size=count)]
    masks = np.zeros((count, rows, columns), "uint8")
    for image, mask in zip(images, masks, strict=True):
        for _ in range(random.integers(low, high + 1)):
            number = random.integers(len(chosen))
            top, left = random.integers(rows - height + 1), random.integers(columns - width + 1)
            place = (slice(top, top + height), slice(left, left + width))
            pasted = foregrounds[chosen[number]]
            image[place][pasted] = objects[chosen[number]][pasted]
            mask[place][pasted] = labels[number] + 1
    return images, masks


def _check_foregrounds(foregrounds: Any, objects: np.ndarray) -> np.ndarray:
    """Return which pixels of objects are pasted, some of each."""
    if foregrounds is None:
        foregrounds = (objects > 0).any(axis=-1)
    foregrounds = np.asarray(foregrounds)
    if foregrounds.shape != objects.shape[:3] or foregrounds.dtype != bool:
        raise ValueError(
            f"`foregrounds` must be booleans of shape {objects.shape[:3]}, one for each pixel of "
            f"the objects. Received: dtype {foregrounds.dtype} and shape {foregrounds.shape}"
        )
    empty = ~foregrounds.any(axis=(1, 2))
    if empty.any():
        raise ValueError(
            "Each object must have a foreground. "
            f"Received: none in object {int(np.argmax(empty))} of {len(objects)}"
        )
    return foregrounds
