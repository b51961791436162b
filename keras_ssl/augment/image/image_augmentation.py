"""Base of the random layers on images."""

from typing import Any

import keras
from keras import ops

from keras_ssl.augment._tensors import check_tensor
from keras_ssl.augment.augmentation import Augmentation
from keras_ssl.augment.image._ragged import is_ragged, transform_ragged


class ImageAugmentation(Augmentation):
    """Random operation on a batch of images that is applied in training mode only.

    An operation states how many uniform random numbers it needs per image
    (`uniforms_per_image`), how they become its parameters (`parameters`), and what it does with
    given parameters (`apply`). So all random numbers of a pipeline come from one draw, and
    operations that are linear maps can be folded into one another (`FusedPipeline`).

    The output is float32, whatever the dtype policy. Values are not rescaled; a subclass that does
    sets `keeps_range = False`. Subclasses set `uniforms_per_image` and implement `parameters` and
    `apply`, and `at_inference` if they do more than a cast outside training. One that needs the
    range of values has an attribute `value_range`, `(low, high)`: images that do not fit it bring
    a warning.

    Inside a TensorFlow graph XLA compiles the methods `fold`, `color_map` and `finish` of
    operations on geometry and colour (`GeometricAugmentation`, `ColorAugmentation`), on CPU too.
    They must be made of what XLA compiles: `keras.ops` on tensors of static shapes, no
    `py_function`. On a TPU that holds for all methods; check with
    `tf.function(layer, jit_compile=True)`.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        images: batch of images.
        training: whether to augment. With `False` images are only cast to float32.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point.

    Output shape:
        That of the input, float32.

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
    keeps_range = True

    def parameters(self, uniforms: Any, image_shape: tuple) -> Any:
        """Turn uniform random numbers into the parameters of the operation.

        Args:
            uniforms: float32 tensor `(batch, uniforms_per_image)`, uniform in [0, 1).
            image_shape: `(height, width, channels)` of the images.

        Returns:
            A structure of tensors with one row per image.
        """
        raise NotImplementedError

    def finish(self, images: Any) -> Any:
        """Bring images back into their value range, after the last operation of a run.

        `apply` may leave the range, as `ColorJitter` does. By default images stay as they are.
        """
        return images

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs are a batch of images."""
        check_images(self, inputs)

    def draw(self, inputs: Any, seed: keras.random.SeedGenerator | None = None) -> Any:
        """Draw one set of parameters per image."""
        batch, *image_shape = ops.shape(inputs)
        uniforms = self.uniform((batch, self.uniforms_per_image), seed)
        return self.parameters(uniforms, tuple(image_shape))

    def at_inference(self, inputs: Any) -> Any:
        """Cast to float32."""
        return ops.cast(inputs, "float32")

    def transform(
        self, inputs: Any, training: bool, seed: keras.random.SeedGenerator | None = None
    ) -> Any:
        """Augment and finish images, with random numbers from a given generator."""
        if is_ragged(inputs):
            self.check_inputs(inputs)
            outputs = transform_ragged(self, inputs, training, seed)
            return self.finish(outputs) if training else outputs
        outputs = super().transform(inputs, training, seed)
        return self.finish(outputs) if training else outputs

    def compute_output_spec(self, inputs: Any, training: bool = True) -> Any:
        """Shape and dtype of the output, for symbolic calls."""
        self.check_inputs(inputs)
        return float32_spec(self.compute_output_shape(inputs.shape))


def float32_spec(shape: Any) -> Any:
    """A float32 `KerasTensor` for a shape, or a tuple of them for a tuple of shapes."""
    if len(shape) > 0 and isinstance(shape[0], tuple | list):
        return tuple(float32_spec(each) for each in shape)
    return keras.KerasTensor(tuple(shape), dtype="float32")


def check_images(layer: Any, x: Any) -> None:
    """Raise unless `x` is a batch of images with an integer or floating-point dtype."""
    check_tensor(layer, x, "a batch of images of shape (batch, height, width, channels)")
    check_rank(layer, x.shape)


def check_rank(layer: Any, shape: Any) -> None:
    """Raise unless `shape` is that of a batch of images."""
    shape = tuple(shape)
    if len(shape) == 4 and not _are_channels_first(shape):
        return
    message = (
        f"Layer '{layer.name}' expects a batch of images of shape "
        "(batch, height, width, channels). "
    )
    if len(shape) == 4:
        message += f"{CHANNELS_FIRST} "
    elif len(shape) == 3 and shape[-1] in (1, 2, 3, 4):
        message += (
            "For a single image add a batch axis (`image[None]`); in `tf.data`, call `.batch()` "
            "before `.map()`. "
        )
    elif len(shape) == 3:
        message += "For images without a channel axis, add one (`images[..., None]`). "
    raise ValueError(f"{message}Received: shape {shape}")


CHANNELS_FIRST = (
    "If the channels come first, move them: `np.moveaxis(images, 1, -1)`, or "
    "`tf.transpose(images, (0, 2, 3, 1))` in `tf.data`."
)


def _are_channels_first(shape: tuple) -> bool:
    """Whether three rows of many channels are more likely three channels of many rows."""
    return shape[1] == 3 and all(isinstance(size, int) and size > 8 for size in shape[2:])
