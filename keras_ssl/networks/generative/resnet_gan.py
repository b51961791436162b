"""Residual generator and discriminator of GANs."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.networks._normalization import check_normalization, normalization_layer
from keras_ssl.networks.generative._blocks import Upsample, convolution
from keras_ssl.networks.generative._gan import (
    discriminator_inputs,
    generator_inputs,
    halvings_of,
    project_labels,
    spectral,
)


def resnet_generator(
    output_shape: tuple[int, int, int] = (32, 32, 3),
    latent_dim: int = 128,
    width: int = 128,
    *,
    num_classes: int | None = None,
    activation: Any = "tanh",
    normalization: bool | keras.layers.Layer = True,
    name: str = "resnet_generator",
) -> keras.Model:
    """Build the residual generator of SN-GAN and WGAN-GP.

    A dense layer makes feature maps of the smallest size, at least 4x4, that doubles up to the size
    of the images. Each block doubles it: normalization, ReLU, nearest neighbors, a 3x3 convolution,
    and normalization, ReLU and a 3x3 convolution again, beside a 1x1 convolution as shortcut.

    Args:
        output_shape: `(height, width, channels)` of the images, both divisible by 2 and at least 8.
        latent_dim: number of random numbers that an image is made of.
        width: number of channels of all feature maps; 128 in WGAN-GP and 256 in SN-GAN.
        num_classes: number of classes, or `None` for a generator without labels. Each class has its
            own scale and offset in each normalization of the blocks (conditional normalization).
        activation: activation function of the pixels. `"tanh"` gives numbers from -1 to 1.
        normalization: `True` for `layers.SyncBatchNormalization()`, `False` for none, or a Keras
            layer to be copied. Labels need one.
        name: name of the model.

    Returns:
        `keras.Model` from random numbers `(batch, latent_dim)` to float32 images. With
        `num_classes`, from a dictionary of `"z"` and int32 `"label"` `(batch,)`.

    Raises:
        TypeError: if a number is not an integer, or `normalization` neither a bool nor a layer.
        ValueError: if a number is not positive, the size cannot be halved, or labels have no
            normalization.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> generator = networks.resnet_generator((28, 28, 1), 16, 8, num_classes=10)
    >>> generator({"z": np.zeros((2, 16)), "label": np.array([3, 7])}).shape
    TensorShape([2, 28, 28, 1])

    Reference:
        - [Miyato et al., Spectral Normalization for Generative Adversarial
          Networks](https://arxiv.org/abs/1802.05957)
        - [Gulrajani et al., Improved Training of Wasserstein
          GANs](https://arxiv.org/abs/1704.00028)
        - [de Vries et al., Modulating early visual processing by
          language](https://arxiv.org/abs/1707.00683) for conditional normalization
    """
    output_shape, halvings = halvings_of("output_shape", output_shape)
    width = checks.integer("width", width, minimum=1)
    check_normalization(normalization)
    if num_classes is not None and normalization is False:
        raise ValueError(
            "`num_classes` needs a normalization, whose scale and offset depend on the label. "
            "Received: normalization=False"
        )
    inputs, x, label = generator_inputs(latent_dim, num_classes)

    def normalize(x: Any, name: str) -> Any:
        if normalization is False:
            return x
        if label is None:
            return normalization_layer(normalization, name=name)(x)
        x = normalization_layer(normalization, center=False, scale=False, name=name)(x)
        return LabelScaleAndOffset(num_classes, name=f"{name}_of_label")(x, label)

    size = [n // 2**halvings for n in output_shape[:2]]
    x = keras.layers.Dense(size[0] * size[1] * width, name="first")(x)
    x = keras.layers.Reshape((*size, width), name="maps")(x)
    for number in range(1, halvings + 1):
        block = f"block{number}"
        h = keras.layers.ReLU(name=f"{block}_activation1")(normalize(x, f"{block}_norm1"))
        h = Upsample(width, name=f"{block}_double")(h)
        h = keras.layers.ReLU(name=f"{block}_activation2")(normalize(h, f"{block}_norm2"))
        h = convolution(width, name=f"{block}_conv")(h)
        # a 1x1 convolution and nearest neighbors in either order are the same
        x = convolution(width, 1, name=f"{block}_shortcut")(x)
        x = keras.layers.UpSampling2D(2, name=f"{block}_shortcut_double")(x)
        x = keras.layers.Add(name=f"{block}_add")([h, x])
    if normalization is not False:
        x = normalization_layer(normalization, name="last_norm")(x)
    x = keras.layers.ReLU(name="last_activation")(x)
    x = convolution(output_shape[-1], name="pixels", dtype="float32")(x)
    images = keras.layers.Activation(activation, dtype="float32", name="images")(x)
    return keras.Model(inputs, images, name=name)


def resnet_discriminator(
    input_shape: tuple[int, int, int] = (32, 32, 3),
    width: int = 128,
    *,
    num_classes: int | None = None,
    normalization: bool | keras.layers.Layer = False,
    spectral_normalization: bool = False,
    name: str = "resnet_discriminator",
) -> keras.Model:
    """Build the residual discriminator of SN-GAN and WGAN-GP.

    Blocks of two 3x3 convolutions with ReLUs halve the size by mean pooling down to at most 8x8;
    two more keep it. Then come a ReLU, the mean over positions and a dense layer.

    Args:
        input_shape: `(height, width, channels)` of the images, both divisible by 2 and at least 8.
        width: number of channels of all feature maps.
        num_classes: number of classes, or `None` for a discriminator without labels. With labels,
            the product of the features and a learned vector of the class is added to the logit
            (projection).
        normalization: `False` for none, or a Keras layer to be copied before each ReLU but the
            first, such as `keras.layers.LayerNormalization(axis=(1, 2, 3))` in WGAN-GP, whose
            penalty excludes normalization over the batch; `True` for
            `layers.SyncBatchNormalization()`.
        spectral_normalization: whether `keras.layers.SpectralNormalization` keeps the largest
            singular value of each kernel at 1, as in SN-GAN.
        name: name of the model.

    Returns:
        `keras.Model` from images to float32 logits `(batch, 1)`. With `num_classes`, from a
        dictionary of images `"x"` and int32 `"label"` `(batch,)`. The features of an image are the
        output of the layer `"features"`.

    Raises:
        TypeError: if a number is not an integer, or `normalization` neither a bool nor a layer.
        ValueError: if a number is not positive, or the size cannot be halved.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> discriminator = networks.resnet_discriminator((28, 28, 1), width=8)
    >>> discriminator(np.zeros((2, 28, 28, 1))).shape
    TensorShape([2, 1])

    Reference:
        - [Miyato et al., Spectral Normalization for Generative Adversarial
          Networks](https://arxiv.org/abs/1802.05957)
        - [Gulrajani et al., Improved Training of Wasserstein
          GANs](https://arxiv.org/abs/1704.00028)
        - [Miyato and Koyama, cGANs with Projection
          Discriminator](https://arxiv.org/abs/1802.05637)
    """
    input_shape, _ = halvings_of("input_shape", input_shape)
    width = checks.integer("width", width, minimum=1)
    check_normalization(normalization)
    inputs, x, label = discriminator_inputs(input_shape, num_classes)

    def convolve(x: Any, name: str, kernel_size: int = 3) -> Any:
        return spectral(convolution(width, kernel_size, name=name), spectral_normalization)(x)

    def activate(x: Any, name: str) -> Any:
        if normalization is not False:
            x = normalization_layer(normalization, name=f"{name}_norm")(x)
        return keras.layers.ReLU(name=f"{name}_activation")(x)

    def halve(x: Any, name: str) -> Any:
        return keras.layers.AveragePooling2D(2, name=name)(x)

    h = convolve(x, "block1_conv1")
    h = keras.layers.ReLU(name="block1_activation")(h)
    h = halve(convolve(h, "block1_conv2"), "block1_halve")
    x = convolve(halve(x, "block1_shortcut_halve"), "block1_shortcut", 1)
    x = keras.layers.Add(name="block1_add")([h, x])
    number, kept = 1, 0
    while kept < 2:
        number += 1
        block = f"block{number}"
        halves = all(n % 2 == 0 and n > 8 for n in x.shape[1:3])
        h = convolve(activate(x, f"{block}_1"), f"{block}_conv1")
        h = convolve(activate(h, f"{block}_2"), f"{block}_conv2")
        if halves:
            h = halve(h, f"{block}_halve")
            # a 1x1 convolution and the mean in either order are the same
            x = convolve(halve(x, f"{block}_shortcut_halve"), f"{block}_shortcut", 1)
        else:
            kept += 1
        x = keras.layers.Add(name=f"{block}_add")([h, x])
    x = activate(x, "last")
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    decision = keras.layers.Dense(1, dtype="float32", name="decision")
    logits = spectral(decision, spectral_normalization)(x)
    logits = project_labels(logits, x, label, num_classes, spectral_normalization)
    return keras.Model(inputs, logits, name=name)


@keras.saving.register_keras_serializable(package="keras_ssl")
class LabelScaleAndOffset(keras.layers.Layer):
    """Feature maps times a scale plus an offset, both of each class and channel.

    Args:
        num_classes: number of classes.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        maps: feature maps `(batch, height, width, channels)`.
        label: int32 `(batch,)`.
    """

    def __init__(self, num_classes: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def build(self, maps_shape: tuple, label_shape: tuple | None = None) -> None:
        shape = (self.num_classes, maps_shape[-1])
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.offset = self.add_weight(name="offset", shape=shape, initializer="zeros")

    def call(self, maps: Any, label: Any) -> Any:
        scale, offset = (
            keras.ops.take(one, label, axis=0)[:, None, None] for one in (self.scale, self.offset)
        )
        return maps * scale + offset

    def compute_output_shape(self, maps_shape: tuple, label_shape: tuple | None = None) -> tuple:
        return tuple(maps_shape)

    def get_config(self) -> dict:
        return {**super().get_config(), "num_classes": self.num_classes}
