"""The base of every random operation on a batch of images: what it draws, and what it does."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.augment.image._checks import check_images
from keras_ssl.distribute import draw_per_example


class Augmentation(keras.layers.Layer):
    """A random operation on a batch of images, in two halves: `draw` and `apply`.

    Keras' preprocessing layers draw and apply in one go. Here an operation states how many
    uniform random numbers it needs an image (`uniforms_per_image`), how they become its parameters
    (`parameters`), and what it does with given parameters (`apply`, which is deterministic). So
    the numbers of a whole pipeline come from one draw, each image gets its own, two replicas draw
    what one would draw for the whole batch, and operations that are linear maps can be folded
    into one another (`FusedPipeline`).

    Images are batches of shape `(batch, height, width, channels)`, any integer or floating dtype;
    what comes out is float32, whatever the global dtype policy. Subclasses set
    `uniforms_per_image` and implement `parameters` and `apply`; and `rest`, if what they do
    outside training is more than a cast.

    What operations on geometry and colour (`GeometricAugmentation`, `ColorAugmentation`) do in
    `fold`, `color_map` and `finish` is compiled by XLA where a pipeline runs inside a TensorFlow
    graph, on CPU as well. It must be made of what XLA takes: `keras.ops` on tensors of static
    shapes, no `py_function`. On a TPU that holds for all methods; see
    `function_tpu_obstacles`.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and the like, as in `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment. With `False` the images come back without random change, as
            in Keras' preprocessing layers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> images = np.arange(8, dtype="uint8").reshape(2, 2, 2, 1)
    >>> flip = augment.RandomHorizontalFlip(probability=1.0)
    >>> parameters = flip.draw(images)
    >>> [float(v) for v in np.ravel(flip.apply(images, parameters))]
    [1.0, 0.0, 3.0, 2.0, 5.0, 4.0, 7.0, 6.0]
    """

    uniforms_per_image: int = 0

    def __init__(self, seed: int | None = None, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        # inputs keep their dtype until `apply` casts them to float32, under any policy
        super().__init__(autocast=False, **kwargs)
        if seed is not None:
            seed = checks.integer("seed", seed)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def parameters(self, uniforms: Any, image_shape: tuple) -> Any:
        """Turn uniform random numbers into the parameters of the operation.

        Args:
            uniforms: float32 tensor `(batch, uniforms_per_image)`, uniform in [0, 1).
            image_shape: `(height, width, channels)` of the images.

        Returns:
            A structure of tensors with one row an image.
        """
        raise NotImplementedError

    def apply(self, images: Any, parameters: Any) -> Any:
        """Do the operation with given parameters.

        Args:
            images: batch of images.
            parameters: what `draw` or `parameters` gave.

        Returns:
            float32 images. They may leave the value range where the operation can do so
            (`ColorJitter`): `finish` is what brings them back.
        """
        raise NotImplementedError

    def finish(self, images: Any) -> Any:
        """What follows `apply` when no other operation of the same kind does: nothing here."""
        return images

    def rest(self, images: Any) -> Any:
        """What the operation does outside training: a cast to float32 and no more."""
        return ops.cast(images, "float32")

    def draw(self, images: Any) -> Any:
        """Draw one set of parameters an image.

        Args:
            images: batch of images; only its shape matters.

        Returns:
            A structure of tensors with one row an image, for `apply`.
        """
        batch, *image_shape = ops.shape(images)
        uniforms = draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, self.uniforms_per_image), dtype="float32", seed=self.seed_generator
            ),
            batch,
        )
        return self.parameters(uniforms, tuple(image_shape))

    def call(self, images: Any, training: bool = True) -> Any:
        """Augment the images, each in its own way; give them back unchanged outside training."""
        check_images(self, images)
        if not training:
            return self.rest(images)
        return self.finish(self.apply(images, self.draw(images)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape of the images that come out."""
        return tuple(input_shape)

    def compute_output_spec(self, images: Any, training: bool = True) -> Any:
        """Shape and dtype of the output, for Keras' symbolic calls."""
        check_images(self, images)
        return float32_spec(self.compute_output_shape(images.shape))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


def float32_spec(shape: Any) -> Any:
    """A float32 `KerasTensor` for a shape, or a tuple of them for a tuple of shapes."""
    if len(shape) > 0 and isinstance(shape[0], tuple | list):
        return tuple(float32_spec(each) for each in shape)
    return keras.KerasTensor(tuple(shape), dtype="float32")
