"""SimMIM: predict the pixels of hidden patches by a linear map of the encoder's outputs."""

from typing import Any

import keras
from keras import ops

from keras_ssl import layers
from keras_ssl.networks import token_encoder
from keras_ssl.trainers._hidden_patches import take_tokens
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.masked._masked_model import PixelModel, grid_for, mask_token
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class SimMIM(PixelModel):
    r"""SimMIM: a simple framework for masked image modelling.

    A learned mask token takes the place of the hidden patches, and the encoder sees all tokens. A
    linear map of its outputs predicts the pixels p of the hidden patches. The loss is the absolute
    error of these alone:

        L = mean over hidden patches of |p - W encoder(patches, some of them hidden)| / pixels

    Args:
        encoder: `networks.TokenEncoder`, such as `networks.vit(..., pooling="mean")`: only the
            outputs of patches are trained, so their mean should be the features.
        decoder: layer between the encoder's outputs `(batch, patches, features)` and the linear map
            to pixels. `None` means none, as in the paper, where larger ones were no better.
        masking: layer that chooses the hidden patches, `True` in booleans `(batch, patches)`, whose
            method `count(patches)` says how many they are. `None` means that of the paper:
            `keras_ssl.layers.RandomMasking(0.6)` in squares of 32 pixels, for square images. The
            number of hidden squares is rounded to the nearest, where the authors' code rounds it
            up: both give 22 of the 36 in the paper's images of 192x192 pixels, but here 29 of the
            49 in 224x224, there 30. Use smaller squares for small images.
        augment: layer that makes one view of a batch. `None` leaves the images unchanged. The paper
            uses random crops and flips.
        normalize_pixels: whether the pixels of each patch are normalised, which the paper does not
            do.
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
        TypeError: if an argument has the wrong type.
        ValueError: if `pixel_scale` is not positive; before the first step, if images are not
            divisible by patches, patches not by squares, or no patch would be hidden or left.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.SimMIM(
    ...     encoder=keras_ssl.networks.vit((32, 2, 4), (28, 28, 1), patch_size=7),
    ...     masking=keras_ssl.layers.RandomMasking(0.5, unit=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [SimMIM: A Simple Framework for Masked Image Modeling](https://arxiv.org/abs/2111.09886),
          Xie et al., 2021
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer | None = None,
        masking: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        normalize_pixels: bool = False,
        pixel_scale: float = 255.0,
        **kwargs: Any,
    ):
        if masking is None:
            patch = max(token_encoder(encoder).patch_size)
            masking = layers.RandomMasking(0.6, unit=max(1, 32 // patch))
        super().__init__(encoder, masking, augment, normalize_pixels, pixel_scale, **kwargs)
        if decoder is not None:
            check_type("decoder", decoder, keras.layers.Layer)
        self.decoder = decoder
        self.mask_token = mask_token()

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each hidden patch, `(batch, hidden patches)`."""
        targets = self.targets(batch.views)
        predicted, hidden = self._predict(batch.views, targets, training)
        error = ops.abs(predicted - take_tokens(targets, hidden))
        return {"reconstruction": ops.mean(error, axis=-1)}

    def predict_hidden(self, images: Any, training: bool = False) -> tuple[Any, Any]:
        """Hide patches of images and predict their pixels.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the networks run in training mode.

        Returns:
            The predicted pixels, at least float32, `(batch, hidden patches, pixels)`, in the order
            of rows, columns and channels of a patch; and the numbers of the hidden patches, counted
            row by row from 0, int32 `(batch, hidden patches)`. The pixels are divided by
            `pixel_scale` or, with `normalize_pixels=True`, normalised by the mean and the standard
            deviation of the true patch.
        """
        return self._predict(images, self.targets(images), training)

    def _predict(self, images: Any, targets: Any, training: bool) -> tuple[Any, Any]:
        outputs, hidden = self.encode_with_mask_tokens(images, self.mask_token, training)
        outputs = outputs["patch_tokens"]
        if self.decoder is not None:
            outputs = self.decoder(outputs, training=training)
        return self.to_targets(take_tokens(outputs, hidden), targets), hidden

    @classmethod
    def masking_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the masking of a trainer that is made by its name: in squares of 2x2 patches."""
        # the paper's squares are of 32 pixels, and a transformer's patches of 16
        return layers.RandomMasking(0.6, unit=2 if grid_for(images)[0] % 2 == 0 else 1)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), **serialize_parts(decoder=self.decoder)}
