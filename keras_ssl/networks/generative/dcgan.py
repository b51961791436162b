"""Generator and discriminator of DCGAN."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.networks._normalization import check_normalization
from keras_ssl.networks.generative._gan import (
    discriminator_inputs,
    generator_inputs,
    halvings_of,
    project_labels,
    spectral,
)
from keras_ssl.networks.vision._residual import normalize


def dcgan_generator(
    output_shape: tuple[int, int, int] = (64, 64, 3),
    latent_dim: int = 100,
    width: int = 64,
    *,
    num_classes: int | None = None,
    activation: Any = "tanh",
    normalization: bool | keras.layers.Layer = True,
    name: str = "dcgan_generator",
) -> keras.Model:
    """Build the generator of DCGAN: transposed convolutions from a random vector to an image.

    A dense layer makes feature maps of the smallest size, at least 4x4, that doubles up to the size
    of the images; 4x4 transposed convolutions double it, each after normalization and ReLU. With n
    doublings, the first maps have `width * 2^(n-1)` channels and the last hidden ones `width`.

    Args:
        output_shape: `(height, width, channels)` of the images, both divisible by 2 and at least 8.
        latent_dim: number of random numbers that an image is made of.
        width: number of channels of the last hidden feature maps.
        num_classes: number of classes, or `None` for a generator without labels. A label becomes a
            learned vector of length `latent_dim`, which is concatenated to the random one.
        activation: activation function of the pixels. `"tanh"` gives numbers from -1 to 1.
        normalization: `True` for `layers.SyncBatchNormalization()`, `False` for none, or a Keras
            layer to be copied.
        name: name of the model.

    Returns:
        `keras.Model` from random numbers `(batch, latent_dim)` to float32 images. With
        `num_classes`, from a dictionary of `"z"` and int32 `"label"` `(batch,)`.

    Raises:
        TypeError: if a number is not an integer, or `normalization` neither a bool nor a layer.
        ValueError: if a number is not positive, or the size cannot be halved.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> generator = networks.dcgan_generator((28, 28, 1), latent_dim=16, width=8)
    >>> generator(np.zeros((2, 16))).shape
    TensorShape([2, 28, 28, 1])
    >>> generator = networks.dcgan_generator((28, 28, 1), 16, 8, num_classes=10)
    >>> generator({"z": np.zeros((2, 16)), "label": np.array([3, 7])}).shape
    TensorShape([2, 28, 28, 1])

    Reference:
        - [Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative
          Adversarial Networks](https://arxiv.org/abs/1511.06434)
    """
    output_shape, halvings = halvings_of("output_shape", output_shape)
    width = checks.integer("width", width, minimum=1)
    check_normalization(normalization)
    inputs, z, label = generator_inputs(latent_dim, num_classes)
    if label is not None:
        embedding = keras.layers.Embedding(
            num_classes, latent_dim, _small(), name="label_embedding"
        )
        z = keras.layers.Concatenate(name="z_and_label")([z, embedding(label)])
    size = [n // 2**halvings for n in output_shape[:2]]
    filters = width * 2 ** (halvings - 1)
    use_bias = normalization is False
    x = keras.layers.Dense(
        size[0] * size[1] * filters, use_bias=use_bias, kernel_initializer=_small(), name="first"
    )(z)
    x = keras.layers.Reshape((*size, filters), name="maps")(x)
    for number in range(1, halvings + 1):
        x = normalize(x, f"norm{number}", normalization)
        x = keras.layers.ReLU(name=f"activation{number}")(x)
        is_last = number == halvings
        filters = filters // 2
        x = keras.layers.Conv2DTranspose(
            output_shape[-1] if is_last else filters,
            4,
            strides=2,
            padding="same",
            use_bias=use_bias or is_last,
            kernel_initializer=_small(),
            name="pixels" if is_last else f"double{number}",
        )(x)
    outputs = keras.layers.Activation(activation, dtype="float32", name="images")(x)
    return keras.Model(inputs, outputs, name=name)


def dcgan_discriminator(
    input_shape: tuple[int, int, int] = (64, 64, 3),
    width: int = 64,
    *,
    num_classes: int | None = None,
    normalization: bool | keras.layers.Layer = True,
    spectral_normalization: bool = False,
    name: str = "dcgan_discriminator",
) -> keras.Model:
    """Build the discriminator of DCGAN: strided convolutions from an image to a logit.

    4x4 convolutions halve the size down to at least 4x4, with `width` channels first and twice as
    many each time, each but the first normalized, and a LeakyReLU behind each.

    Args:
        input_shape: `(height, width, channels)` of the images, both divisible by 2 and at least 8.
        width: number of channels of the first feature maps.
        num_classes: number of classes, or `None` for a discriminator without labels. With labels,
            the product of the features and a learned vector of the class is added to the logit
            (projection).
        normalization: `True` for `layers.SyncBatchNormalization()`, `False` for none, as for losses
            with a gradient penalty or spectral normalization, or a Keras layer to be copied.
        spectral_normalization: whether `keras.layers.SpectralNormalization` keeps the largest
            singular value of each kernel at 1.
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
    >>> discriminator = networks.dcgan_discriminator((28, 28, 1), width=8)
    >>> discriminator(np.zeros((2, 28, 28, 1))).shape
    TensorShape([2, 1])

    Reference:
        - [Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative
          Adversarial Networks](https://arxiv.org/abs/1511.06434)
        - [Miyato and Koyama, cGANs with Projection
          Discriminator](https://arxiv.org/abs/1802.05637)
    """
    input_shape, halvings = halvings_of("input_shape", input_shape)
    width = checks.integer("width", width, minimum=1)
    check_normalization(normalization)
    inputs, x, label = discriminator_inputs(input_shape, num_classes)
    for number in range(1, halvings + 1):
        is_normalized = number > 1 and normalization is not False
        halve = keras.layers.Conv2D(
            width * 2 ** (number - 1),
            4,
            strides=2,
            padding="same",
            use_bias=not is_normalized,
            kernel_initializer=_small(),
            name=f"halve{number}",
        )
        x = spectral(halve, spectral_normalization)(x)
        if is_normalized:
            x = normalize(x, f"norm{number}", normalization)
        x = keras.layers.LeakyReLU(0.2, name=f"activation{number}")(x)
    x = keras.layers.Flatten(name="features")(x)
    decision = keras.layers.Dense(1, kernel_initializer=_small(), dtype="float32", name="decision")
    logits = spectral(decision, spectral_normalization)(x)
    logits = project_labels(logits, x, label, num_classes, spectral_normalization)
    return keras.Model(inputs, logits, name=name)


def _small() -> keras.initializers.Initializer:
    """Return the initializer of all kernels of DCGAN."""
    return keras.initializers.RandomNormal(stddev=0.02)
