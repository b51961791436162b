"""Base of methods that hide patches of an image from its encoder."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl.networks import token_encoder
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.patches import patchify
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_one_view, check_type


class MaskedModel(SelfSupervisedModel):
    """Base of methods that see each image once, with patches of it hidden.

    Args:
        encoder: `networks.TokenEncoder`.
        masking: layer from tokens to booleans `(batch, tokens)`, `True` for patches that are
            hidden, as many in every example.
        augment: layer that makes one view of a batch of images.
        needs: arguments of `encoder.encode` that the method uses.
        **kwargs: `name`, `dtype` of the model.
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        masking: keras.layers.Layer,
        augment: keras.layers.Layer | None,
        needs: Sequence[str] = (),
        **kwargs: Any,
    ):
        super().__init__(token_encoder(encoder, needs), augment, **kwargs)
        check_type("masking", masking, keras.layers.Layer)
        self.masking = masking

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of images, which patches divide."""
        check_one_view(views, self.encoder)
        if len(views.shape) != 4:
            raise ValueError(
                "Expected images of shape (batch, height, width, channels). Received: shape "
                f"{tuple(views.shape)}"
            )
        self.encoder.grid(views.shape)


def pixels_of_patches(images: Any, patch_size: tuple[int, int], normalize: bool) -> Any:
    """Return the pixels of patches, which methods reconstruct.

    Args:
        images: `(batch, height, width, channels)`.
        patch_size: `(height, width)` of a patch.
        normalize: whether to subtract the mean of each patch and divide by its standard deviation.

    Returns:
        Tensor `(batch, patches, pixels)`, at least float32.
    """
    pixels = patchify(at_least_float32(images), patch_size)
    if not normalize:
        return pixels
    count = pixels.shape[-1]
    mean = ops.mean(pixels, axis=-1, keepdims=True)
    # the unbiased variance, as in the authors' code
    variance = ops.sum(ops.square(pixels - mean), axis=-1, keepdims=True) / max(count - 1, 1)
    return (pixels - mean) / ops.sqrt(variance + 1e-6)


def take_tokens(tokens: Any, indices: Any) -> Any:
    """Return the tokens `(batch, count, width)` at indices `(batch, count)`."""
    return ops.take_along_axis(tokens, ops.expand_dims(indices, -1), axis=1)
