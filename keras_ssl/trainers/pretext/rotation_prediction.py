"""RotationPrediction: tell by which multiple of 90 degrees an image is rotated."""

from typing import Any

import keras
from keras import ops

from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.pretext._images import check_images
from keras_ssl.trainers.step import Batch

ROTATIONS = 4


@keras.saving.register_keras_serializable(package="keras_ssl")
class RotationPrediction(SelfSupervisedModel):
    r"""RotationPrediction: classify by which multiple of 90 degrees an image is rotated, RotNet.

    Each image x is rotated by 0, 90, 180 and 270 degrees, and all four images, x_0 to x_3, are in
    the batch. The encoder f and a softmax learn which is which:

        L(x) = - 1/4 Σ_k log p(k | x_k),    p(k | x) = exp(w_k·f(x) + b_k) / Σ_j exp(w_j·f(x) + b_j)

    To know which way is up, the encoder must know what is shown. Images that have no way up, such
    as those of microscopes or of the Earth from above, teach it nothing.

    Multiples of 90 degrees move pixels and interpolate nothing, so rotations leave no traces that
    could be recognised in place of the content.

    Args:
        encoder: `keras.Model` or layer f that maps images to `(batch, features)`.
        augment: layer that makes one view of a batch, before it is rotated, such as random crops
            and horizontal flips, as in the paper. `None` leaves the images unchanged.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point. What `augment` returns must
        be square. A step encodes four times as many images as the batch holds.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: before the first step, if the data is not one batch of square images, or the
            encoder does not return one vector for each.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.RotationPrediction(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     augment=keras_ssl.augment.RandomHorizontalFlip(),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Unsupervised Representation Learning by Predicting Image Rotations](
          https://arxiv.org/abs/1803.07728), Gidaris et al., 2018
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.head = keras.layers.Dense(ROTATIONS, name="head")

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of square images."""
        height, width, _ = check_images(views)
        if height != width:
            raise ValueError(
                "Images must be square, since those that lie on their side are in one batch with "
                "the others: crop them, with `augment=keras_ssl.augment.RandomResizedCrop(size)` "
                f"or `keras.layers.Resizing`. Received: images of {height}x{width}"
            )

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per image."""
        check_features(features)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the cross-entropy of the four rotations of each image, and the features."""
        rotated = self.rotate(batch.views)
        h = self.encoder(ops.reshape(rotated, (-1, *rotated.shape[2:])), training=training)
        self.check_representation(h)
        log_p = ops.log_softmax(ops.cast(self.head(h), "float32"))
        log_p = ops.reshape(log_p, (-1, ROTATIONS, ROTATIONS))
        of_image = ops.reshape(h, (-1, ROTATIONS, h.shape[-1]))
        return {
            "rotation": -ops.diagonal(log_p, axis1=1, axis2=2),
            "representation": of_image[:, 0],
        }

    def rotate(self, images: Any) -> Any:
        """Return the four rotations of images.

        Args:
            images: `(batch, height, width, channels)`, square.

        Returns:
            `(batch, 4, height, width, channels)`, rotated by 0, 90, 180 and 270 degrees against
            the clock.
        """
        images = ops.convert_to_tensor(images)
        turns = range(ROTATIONS)
        return ops.stack([ops.rot90(images, one, axes=(1, 2)) for one in turns], axis=1)

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees: a crop and a flip."""
        return images.crop()

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
