"""Base of tasks about where patches of an image lie."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.trainers._hidden_patches import take_tokens
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_crops, check_features, check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.pretext._images import check_images
from keras_ssl.trainers.step import Batch


class PatchTask(SelfSupervisedModel):
    """Base of methods that tell from patches of an image how they lie.

    The encoder sees one patch at a time, and a head the features of all of them together. A method
    defines `check_size` and `places`, which draws where the patches are cut and the class that is
    to be found.

    Args:
        encoder: `keras.Model` or layer that maps patches, and whole images, to `(batch, features)`.
        patch_size: height and width of a patch, an integer or a pair.
        classes: number of classes of the task.
        augment: layer that makes one random view of a batch of images, or `None`.
        patch_augment: layer that changes each patch on its own, against shortcuts.
        head: layer from the features of all patches, side by side, to those of the classifier;
            `None` means a dense layer of 4,096 units and a rectifier.
        normalize: whether each patch is brought to the mean and the deviation of its image.
        seed: integer seed of the places, or `None`.
        **kwargs: `name`, `dtype` of the model.
    """

    view_count = 1
    loss_name: str
    uniforms_per_image: int

    def __init__(
        self,
        encoder: keras.layers.Layer,
        patch_size: int | tuple[int, int],
        classes: int,
        augment: keras.layers.Layer | None,
        patch_augment: keras.layers.Layer,
        head: keras.layers.Layer | None,
        normalize: bool,
        seed: int | None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        head = keras.layers.Dense(4096, "relu") if head is None else head
        check_type("encoder", encoder, keras.layers.Layer)
        check_type("patch_augment", patch_augment, keras.layers.Layer)
        check_type("head", head, keras.layers.Layer)
        self.patch_size = checks.image_size("patch_size", patch_size)
        self.patch_augment = patch_augment
        self.head = head
        self.classifier = keras.layers.Dense(classes, name="classifier")
        self.normalize = bool(normalize)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    # What a method defines

    def check_size(self, height: int, width: int) -> None:
        """Raise a `ValueError` if images of this size have no room for the patches."""
        raise NotImplementedError

    def places(self, uniforms: Any, height: int, width: int) -> tuple[Any, Any, Any]:
        """Return the first row and column of each patch, and the class of each image.

        Args:
            uniforms: random numbers in [0, 1), float32 `(batch, uniforms_per_image)`.
            height: rows of the images.
            width: columns of the images.

        Returns:
            Rows and columns, int32 `(batch, patches)`, and classes, int32 `(batch,)`.
        """
        raise NotImplementedError

    # What all share

    def check_views(self, views: Any) -> None:
        """Raise unless images have room for the patches, and the encoder takes both."""
        height, width, channels = check_images(views)
        self.check_size(height, width)
        patches = keras.KerasTensor((None, *self.patch_size, channels))
        check_crops((views, patches), 1, getattr(self.encoder, "input_shape", None))

    def _build_encoder(self, input_shape: Any) -> None:
        # for patches and for whole images
        super()._build_encoder((None, None, None, input_shape[-1]))

    def draw_patches(self, images: Any) -> tuple[Any, Any]:
        """Cut patches from images at random, as a training step does.

        Args:
            images: `(batch, height, width, channels)`.

        Returns:
            The patches as the encoder sees them, float32 `(batch, patches, patch height, patch
            width, channels)`, and the class that is to be found, int32 `(batch,)`.
        """
        images = ops.cast(images, "float32")
        height, width, channels = check_images(images)
        self.check_size(height, width)
        uniforms = distribute.draw_per_example(
            lambda n: keras.random.uniform(
                (n, self.uniforms_per_image), dtype="float32", seed=self.seed_generator
            ),
            ops.shape(images)[0],
        )
        rows, columns, classes = self.places(uniforms, height, width)
        count = rows.shape[1]
        patches = cut_patches(images, rows, columns, self.patch_size)
        # those of an image next to each other, so that replicas draw what one would
        patches = ops.reshape(patches, (-1, *self.patch_size, channels))
        # under a policy of mixed precision a layer may return 16 bits
        patches = ops.cast(self.patch_augment(patches, training=True), "float32")
        patches = ops.reshape(patches, (-1, count, *patches.shape[1:]))
        return (_normalize(patches, images) if self.normalize else patches), classes

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the cross-entropy of the class of each image."""
        if not self.encoder.built:  # a call would build it for patches alone
            self._build_encoder(batch.views.shape)
        patches, classes = self.draw_patches(batch.views)
        count, *shape = patches.shape[1:]
        h = self.encoder(ops.reshape(patches, (-1, *shape)), training=training)
        check_features(h)
        together = ops.reshape(h, (-1, count * h.shape[-1]))
        logits = self.classifier(self.head(together, training=training))
        values = ops.sparse_categorical_crossentropy(
            classes, ops.cast(logits, "float32"), from_logits=True
        )
        return {self.loss_name: values}

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the encoder of a trainer that is made by its name: for any size."""
        return images.encoder(size=None)

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees: a crop and a flip."""
        return images.crop()

    @classmethod
    def patch_size_for(cls, images: ImageSpec) -> int:
        """Return the side of the patches of a trainer that is made by its name."""
        return max(1, images.size // 5)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(patch_augment=self.patch_augment, head=self.head)
        settings = {
            "patch_size": self.patch_size,
            "normalize": self.normalize,
            "seed": self.seed,
        }
        return {**super().get_config(), **parts, **settings}


def integers_below(count: int, uniforms: Any) -> Any:
    """Return random integers from 0 to `count` - 1, int32, of uniform numbers in [0, 1)."""
    # a number just below 1 may round up to `count`
    return ops.minimum(ops.cast(uniforms * count, "int32"), count - 1)


def cut_patches(images: Any, rows: Any, columns: Any, size: tuple[int, int]) -> Any:
    """Return patches `(batch, patches, height, width, channels)` that start at given places."""
    (height, width), (_, count) = size, rows.shape
    image_width, channels = images.shape[2:]
    rows = rows[:, :, None, None] + ops.arange(height, dtype="int32")[:, None]
    columns = columns[:, :, None, None] + ops.arange(width, dtype="int32")
    pixels = ops.reshape(images, (-1, images.shape[1] * image_width, channels))
    numbers = ops.reshape(rows * image_width + columns, (-1, count * height * width))
    return ops.reshape(take_tokens(pixels, numbers), (-1, count, height, width, channels))


def _normalize(patches: Any, images: Any) -> Any:
    """Bring each channel of each patch to the mean and the standard deviation of its image.

    So brightness and contrast say nothing about where a patch lies, and the encoder sees patches on
    the scale of whole images.
    """
    image_mean, image_scale = _mean_and_deviation(images, axes=(1, 2))
    mean, scale = _mean_and_deviation(patches, axes=(2, 3))
    image_mean, image_scale = image_mean[:, None], image_scale[:, None]
    # in a patch of nearly one value, noise is not made large
    least = 0.02 * image_scale + keras.config.epsilon()
    return (patches - mean) * image_scale / ops.maximum(scale, least) + image_mean


def _mean_and_deviation(x: Any, axes: tuple[int, int]) -> tuple[Any, Any]:
    mean = ops.mean(x, axis=axes, keepdims=True)
    return mean, ops.sqrt(ops.mean(ops.square(x - mean), axis=axes, keepdims=True))
