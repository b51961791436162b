"""Base of methods that hide patches of an image from its encoder."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import all_layers
from keras_ssl.layers import BlockMasking, MaskToken
from keras_ssl.networks import TokenEncoder, token_encoder
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.patches import patchify
from keras_ssl.trainers._hidden_patches import check_masking, hide
from keras_ssl.trainers._linear_to_targets import LinearToTargets
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_one_view, check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts


class MaskedModel(SelfSupervisedModel):
    """Base of methods that see each image once, with patches of it hidden.

    A masking layer maps tokens `(batch, tokens, ...)` to booleans `(batch, tokens)`, `True` for
    those that are hidden, and has a method `count(tokens)` which returns how many of a number of
    tokens are hidden: as many in every example.

    Args:
        encoder: `networks.TokenEncoder`.
        masking: masking layer.
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
        self.check_masking(masking)
        self.masking = masking

    def check_masking(self, masking: keras.layers.Layer) -> None:
        """Raise a `TypeError` unless a layer can tell how many tokens it hides."""
        check_masking(masking)

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of images, which patches divide."""
        check_images(views, self.encoder)

    def encode_with_mask_tokens(
        self, images: Any, mask_token: MaskToken, training: bool
    ) -> tuple[dict[str, Any], Any]:
        """Encode images with a learned token in the place of hidden patches.

        Args:
            images: `(batch, height, width, channels)`.
            mask_token: layer that replaces tokens.
            training: whether the encoder runs in training mode.

        Returns:
            What the encoder returns, and the numbers of the hidden patches, int32 `(batch, hidden
            patches)`.
        """
        tokens = self.encoder.embed(images)
        is_hidden, _, hidden = hide(self.masking, tokens)
        tokens = mask_token([tokens, is_hidden])
        outputs = self.encoder.encode(tokens, self.encoder.grid(images.shape), training=training)
        return outputs, hidden

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the vision transformer of a trainer that is made by its name."""
        return images.token_encoder()

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees: a crop and a flip."""
        return images.crop()

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(masking=self.masking)}


class PixelModel(MaskedModel):
    """Base of masked methods that predict the pixels of patches.

    Args:
        encoder: `networks.TokenEncoder`.
        masking: masking layer.
        augment: layer that makes one view of a batch of images.
        normalize_pixels: whether the pixels of each patch are normalised.
        pixel_scale: what pixels that are not normalised are divided by.
        **kwargs: `needs` of `MaskedModel`; `name`, `dtype` of the model.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        masking: keras.layers.Layer,
        augment: keras.layers.Layer | None,
        normalize_pixels: bool,
        pixel_scale: float,
        **kwargs: Any,
    ):
        super().__init__(encoder, masking, augment, **kwargs)
        self.normalize_pixels = bool(normalize_pixels)
        self.pixel_scale = checks.positive("pixel_scale", pixel_scale)
        self.to_targets = LinearToTargets(name="to_targets")

    def targets(self, images: Any) -> Any:
        """Return the pixels of all patches, which the method predicts, `(batch, patches, pixels)`.

        Args:
            images: `(batch, height, width, channels)`.
        """
        pixels = patchify(at_least_float32(images), self.encoder.patch_size)
        return normalized(pixels) if self.normalize_pixels else pixels / self.pixel_scale

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        own = {"normalize_pixels": self.normalize_pixels, "pixel_scale": self.pixel_scale}
        return {**super().get_config(), **own}


def grid_for(images: ImageSpec) -> tuple[int, int]:
    """Return the rows and columns of the patches of the encoder that is made for images."""
    return token_encoder(images.part("encoder")).grid((None, *images.shape))


def block_masking_for(images: ImageSpec, ratio: float) -> BlockMasking:
    """Return a masking in blocks for the patches of the encoder that is made for images."""
    rows, columns = grid_for(images)
    # the papers' 16 of 14x14 patches
    return BlockMasking((rows, columns), ratio, min_tokens=max(1, 16 * rows * columns // 196))


def check_images(views: Any, encoder: TokenEncoder) -> None:
    """Raise unless there is one batch of images, which the patches of an encoder divide."""
    check_one_view(views, encoder)
    if len(views.shape) != 4:
        raise ValueError(
            "Expected images of shape (batch, height, width, channels). Received: shape "
            f"{tuple(views.shape)}"
        )
    encoder.grid(views.shape)


def mean_and_scale(x: Any) -> tuple[Any, Any]:
    """Return the mean of the elements of vectors, and the standard deviation they are divided by.

    The variance is unbiased, as in the code of MAE's authors.
    """
    mean = ops.mean(x, axis=-1, keepdims=True)
    variance = ops.sum(ops.square(x - mean), axis=-1, keepdims=True) / max(x.shape[-1] - 1, 1)
    return mean, ops.sqrt(variance + 1e-6)


def normalized(x: Any) -> Any:
    """Return vectors minus the mean of their elements, divided by the standard deviation."""
    mean, scale = mean_and_scale(x)
    return (x - mean) / scale


def mask_token() -> MaskToken:
    """Return the layer that puts a learned token in the place of hidden ones."""
    return MaskToken(keras.initializers.TruncatedNormal(stddev=0.02), name="mask_token")


def check_inference_mode(encoder: keras.layers.Layer) -> None:
    """Raise a `ValueError` if an encoder cannot be the teacher of a method in inference mode."""
    for layer in all_layers(encoder):
        if isinstance(layer, keras.layers.BatchNormalization):
            raise ValueError(
                "`encoder` must have no batch normalization: its moving average of weights, the "
                "teacher, runs in inference mode, and its statistics would never move. Use layer "
                f"normalization. Received: encoder={encoder.name!r} with {layer.path!r}"
            )


def layer_normalized(x: Any) -> Any:
    """Return vectors normalised as by a layer normalisation without weights."""
    mean, variance = ops.moments(x, axes=[-1], keepdims=True)
    return (x - mean) * ops.rsqrt(variance + 1e-5)


def smooth_l1(predictions: Any, targets: Any, beta: float) -> Any:
    """Return the mean over the last axis of PyTorch's smooth absolute error."""
    return keras.losses.huber(targets, predictions, delta=beta) / beta
