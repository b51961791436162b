"""Checks of the images that a pretext task makes its labels from."""

from typing import Any

from keras_ssl.trainers.checks import describe


def check_images(views: Any) -> tuple[int, int, int]:
    """Return height, width and channels; raise unless there is one batch of images."""
    shape = getattr(views, "shape", ())
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            "Expected one batch of images of shape (batch, height, width, channels) whose size is "
            f"known. Received: {describe(views)}"
        )
    return tuple(shape[1:])
