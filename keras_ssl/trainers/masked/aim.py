"""AIM: predict the pixels of each patch from those before it."""

from typing import Any

import keras
from keras import ops

from keras_ssl import layers
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.masked._masked_model import PixelModel
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class AIM(PixelModel):
    r"""AIM: autoregressive image model.

    Patches come row by row, and the encoder predicts the pixels p of each from those before it. The
    first S patches, S drawn at random for each image, are a prefix: they attend to each other in
    both directions, as all patches do after training, and are not predicted. Each of the others
    attends to the prefix and to the patches before it:

        L = mean over patches k > S of |p_k - head(encoder(patches)_{k-1})|² / pixels

    The pixels of each patch are normalised by its own mean and standard deviation. The loss is the
    mean of an image's predicted patches, then of the images.

    Args:
        encoder: `networks.TokenEncoder` whose `encode` takes `attention_mask`, without class token
            and registers, through which patches would see later ones: `networks.vit(...,
            class_token=False, pooling="mean", positions="sincos")`. Attention pooling would not be
            trained; `evaluate.attentive_probe` trains one.
        head: layer from the encoder's outputs `(batch, patches, features)` to vectors, of each
            patch by itself. A linear map from them to pixels follows. `None` means
            `layers.ResidualMLPHead(width=2048, depth=12)`.
        masking: layer from tokens to the number of patches of the prefix, int32 `(batch,)`, at
            least 1 and below the number of patches. `None` means
            `keras_ssl.layers.RandomPrefix()`.
        augment: layer that makes one view of a batch. `None` leaves the images unchanged. The paper
            uses random crops and flips.
        normalize_pixels: whether the pixels of each patch are normalised.
        pixel_scale: what pixels that are not normalised are divided by.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, features)`: the features of all patches, which attend to each other.

    Raises:
        TypeError: if an argument has the wrong type, or the encoder takes no mask of attention.
        ValueError: if the encoder has a class token or registers, or `pixel_scale` is not positive;
            before the first step, if images are not divisible by patches or are a single one.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.AIM(
    ...     encoder=keras_ssl.networks.vit(
    ...         (32, 2, 4), (28, 28, 1), patch_size=7, class_token=False, pooling="mean"
    ...     ),
    ...     head=keras_ssl.layers.ResidualMLPHead(width=32, depth=1),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Scalable Pre-training of Large Autoregressive Image Models](
          https://arxiv.org/abs/2401.08541), El-Nouby et al., 2024
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        head: keras.layers.Layer | None = None,
        masking: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        normalize_pixels: bool = True,
        pixel_scale: float = 255.0,
        **kwargs: Any,
    ):
        masking = layers.RandomPrefix() if masking is None else masking
        pixels = (normalize_pixels, pixel_scale)
        super().__init__(encoder, masking, augment, *pixels, needs=["attention_mask"], **kwargs)
        if self.encoder.extra_tokens:
            raise ValueError(
                "`encoder` must have neither a class token nor registers, through which a patch "
                "would see those after it, which are predicted from it. For `networks.vit`, use "
                '`class_token=False, registers=0, pooling="mean"`. '
                f"Received: an encoder with {self.encoder.extra_tokens} such tokens"
            )
        head = layers.ResidualMLPHead(2048, depth=12) if head is None else head
        check_type("head", head, keras.layers.Layer)
        self.head = head

    def check_masking(self, masking: keras.layers.Layer) -> None:
        """Accept any layer: what it returns is checked before the first step."""

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the mean error of the patches after the prefix, `(batch,)`."""
        targets = self.targets(batch.views)
        predicted, prefix = self._predict(batch.views, targets, training)
        error = ops.mean(ops.square(predicted - targets[:, 1:]), axis=-1)
        is_predicted = ops.arange(1, targets.shape[1], dtype="int32") >= prefix[:, None]
        is_predicted = ops.cast(is_predicted, error.dtype)
        mean = ops.sum(error * is_predicted, axis=1) / ops.sum(is_predicted, axis=1)
        return {"reconstruction": mean}

    def predict_next(self, images: Any, training: bool = False) -> tuple[Any, Any]:
        """Draw prefixes and predict the pixels of each patch but the first.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the networks run in training mode.

        Returns:
            The predictions of the second to the last patch, `(batch, patches - 1, pixels)`, and the
            numbers of patches of the prefixes, int32 `(batch,)`. The predictions of patches within
            the prefix, which the encoder saw, mean nothing.
        """
        return self._predict(images, self.targets(images), training)

    def _predict(self, images: Any, targets: Any, training: bool) -> tuple[Any, Any]:
        tokens = self.encoder.embed(images)
        prefix = self.masking(tokens)
        if len(prefix.shape) != 1:
            raise ValueError(
                "`masking` must return the numbers of patches of the prefixes, (batch,), like "
                f"`keras_ssl.layers.RandomPrefix`. Received: shape {tuple(prefix.shape)}"
            )
        prefix = ops.cast(prefix, "int32")
        numbers = ops.arange(tokens.shape[1], dtype="int32")
        is_before = numbers[None] <= numbers[:, None]
        mask = ops.logical_or(is_before[None], numbers < prefix[:, None, None])
        outputs = self.encoder.encode(
            tokens, self.encoder.grid(images.shape), attention_mask=mask, training=training
        )
        predicted = self.head(outputs["patch_tokens"][:, :-1], training=training)
        return self.to_targets(predicted, targets), prefix

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the vision transformer of a trainer that is made by its name."""
        return images.token_encoder(class_token=False, pooling="mean", positions="sincos")

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(head=self.head)}
