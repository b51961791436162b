"""Images of integers as floats."""

from typing import Any

import keras
from keras import ops


def pixels_as_floats(x: Any, image_rank: int = 4) -> Any:
    """Cast images of integers to float32 without rescaling, in any structure of tensors.

    Augmentation does the same, and not every layer casts integers itself. Other integers, such as
    token ids and indices, stay as they are.

    Args:
        x: structure of tensors or arrays. Those of dtype uint8 and uint16 are taken for images,
            those of other integers if they have at least `image_rank` axes.
        image_rank: number of axes of a batch of images.
    """

    def cast(one: Any) -> Any:
        dtype = keras.backend.standardize_dtype(one.dtype)
        is_image = keras.backend.is_int_dtype(dtype) and len(one.shape) >= image_rank
        return ops.cast(one, "float32") if is_image or dtype in ("uint8", "uint16") else one

    return keras.tree.map_structure(cast, x)
