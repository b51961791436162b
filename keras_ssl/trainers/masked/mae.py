"""MAE: reconstruct the pixels of hidden patches from the few that are seen."""

from typing import Any

import keras
from keras import ops

from keras_ssl import layers
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.patches import patchify, unpatchify
from keras_ssl.trainers._hidden_patches import hide, take_tokens
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.masked._masked_model import PixelModel, mean_and_scale
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class MAE(PixelModel):
    r"""MAE: masked autoencoder.

    Most patches of an image are hidden. The encoder sees the others only, which makes it fast; a
    small decoder gets its outputs, and mask tokens in place of the hidden patches, and predicts
    their pixels p. The loss is the squared error of the hidden patches alone:

        L = mean over hidden patches of |p - decoder(encoder(visible patches))|² / pixels

    The pixels of each patch are normalised by its own mean and standard deviation, so their scale
    does not matter. The decoder is not used after training.

    Args:
        encoder: `networks.TokenEncoder` whose `encode` takes `indices`, such as
            `networks.vit(..., positions="sincos")`.
        decoder: layer called as `layers.TokenDecoder`, which returns a vector for each hidden
            patch. A linear map from them to pixels follows. `None` means
            `layers.TokenDecoder(512, depth=8, num_heads=16)`.
        masking: layer that chooses the hidden patches, `True` in booleans `(batch, patches)`, whose
            method `count(patches)` says how many they are. `None` means
            `keras_ssl.layers.RandomMasking(0.75)`.
        augment: layer that makes one view of a batch. `None` leaves the images unchanged. The paper
            uses random crops and flips.
        normalize_pixels: whether the pixels of each patch are normalised. If not, their scale is
            that of the images divided by `pixel_scale`.
        pixel_scale: what pixels that are not normalised are divided by.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, features)`: the features of all patches.

    Raises:
        TypeError: if an argument has the wrong type, or the encoder cannot leave patches out.
        ValueError: if `pixel_scale` is not positive; before the first step, if images are not
            divisible by patches, or no patch would be hidden or left.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.MAE(
    ...     encoder=keras_ssl.networks.vit((32, 2, 4), (28, 28, 1), patch_size=4),
    ...     decoder=keras_ssl.layers.TokenDecoder(width=16, depth=1, num_heads=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Masked Autoencoders Are Scalable Vision Learners](https://arxiv.org/abs/2111.06377),
          He et al., 2021
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer | None = None,
        masking: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        normalize_pixels: bool = True,
        pixel_scale: float = 255.0,
        **kwargs: Any,
    ):
        masking = layers.RandomMasking(0.75) if masking is None else masking
        pixels = (normalize_pixels, pixel_scale)
        super().__init__(encoder, masking, augment, *pixels, needs=["indices"], **kwargs)
        decoder = layers.TokenDecoder(512, depth=8, num_heads=16) if decoder is None else decoder
        check_type("decoder", decoder, keras.layers.Layer)
        self.decoder = decoder

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each hidden patch, `(batch, hidden patches)`."""
        targets = self.targets(batch.views)
        predicted, hidden = self._predict(batch.views, targets, training)
        error = ops.square(predicted - take_tokens(targets, hidden))
        return {"reconstruction": ops.mean(error, axis=-1)}

    def predict_hidden(self, images: Any, training: bool = False) -> tuple[Any, Any]:
        """Hide patches of images and predict their pixels.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the networks run in training mode.

        Returns:
            The predicted pixels, at least float32, `(batch, hidden patches, pixels)`, in the order
            of rows, columns and channels of a patch; and the numbers of the hidden patches, counted
            row by row from 0, int32 `(batch, hidden patches)`. The pixels are normalised by the
            mean and the standard deviation of the true patch or, with `normalize_pixels=False`,
            divided by `pixel_scale`; `reconstruct` undoes that.
        """
        return self._predict(images, self.targets(images), training)

    def _predict(self, images: Any, targets: Any, training: bool) -> tuple[Any, Any]:
        grid = self.encoder.grid(images.shape)
        tokens = self.encoder.embed(images)
        _, visible, hidden = hide(self.masking, tokens)
        seen = take_tokens(tokens, visible)
        outputs = self.encoder.encode(seen, grid, indices=visible, training=training)
        known = outputs["patch_tokens"]
        if "class_token" in outputs:
            known = ops.concatenate([outputs["class_token"][:, None], known], axis=1)
        decoded = self.decoder(known, visible, hidden, grid=grid, training=training)
        return self.to_targets(decoded, targets), hidden

    def reconstruct(self, images: Any) -> tuple[Any, Any]:
        """Hide patches of images and fill them with what the decoder predicts.

        Predictions of normalised pixels get the mean and the standard deviation of the true patch,
        as in the figures of the paper.

        Args:
            images: `(batch, height, width, channels)`.

        Returns:
            The images as the encoder sees them, hidden patches gray, and as reconstructed. Both
            have the shape and the scale of `images`.
        """
        size, grid = self.encoder.patch_size, self.encoder.grid(images.shape)
        pixels = patchify(at_least_float32(images), size)
        predicted, hidden = self.predict_hidden(images)
        if self.normalize_pixels:
            mean, scale = mean_and_scale(take_tokens(pixels, hidden))
            predicted = predicted * scale + mean
        else:
            predicted = predicted * self.pixel_scale
        # (batch, hidden patches, patches)
        places = ops.one_hot(hidden, pixels.shape[1], dtype=pixels.dtype)
        is_hidden = ops.sum(places, axis=1)[..., None] > 0
        seen = ops.where(is_hidden, ops.mean(pixels), pixels)
        filled = ops.where(is_hidden, ops.einsum("bmn,bmp->bnp", places, predicted), pixels)
        return unpatchify(seen, size, grid), unpatchify(filled, size, grid)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(decoder=self.decoder)}
