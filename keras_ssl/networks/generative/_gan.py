"""What the generators and discriminators of GANs share: inputs, labels, sizes."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.networks._sizes import check_image_shape


def halvings_of(name: str, shape: Any) -> tuple[tuple[int, int, int], int]:
    """Return a checked image shape, and how often its size can be halved down to 4 or more."""
    shape = check_image_shape(name, shape)
    if None in shape:
        raise ValueError(f"`{name}` must be known. Received: {name}={shape}")
    halvings, size = 0, shape[:2]
    while all(n % 2 == 0 and n >= 8 for n in size):
        size, halvings = tuple(n // 2 for n in size), halvings + 1
    if not halvings:
        nearest = "x".join(str(max(8, -(-n // 4) * 4)) for n in shape[:2])
        raise ValueError(
            f"Height and width of `{name}` must be even and at least 8, better divisible by 4, "
            "since the network halves or doubles them. Resize or pad the images, for example to "
            f"{nearest}. Received: {name}={shape}"
        )
    return shape, halvings


def generator_inputs(latent_dim: int, num_classes: int | None) -> tuple[Any, Any, Any]:
    """Return the inputs of a generator: all of them, random numbers, and labels or `None`."""
    latent_dim = checks.integer("latent_dim", latent_dim, minimum=1)
    z = keras.Input((latent_dim,), name="z")
    return _with_label("z", z, num_classes)


def discriminator_inputs(shape: tuple, num_classes: int | None) -> tuple[Any, Any, Any]:
    """Return the inputs of a discriminator: all of them, images, and labels or `None`."""
    return _with_label("x", keras.Input(shape, name="x"), num_classes)


def _with_label(name: str, x: Any, num_classes: int | None) -> tuple[Any, Any, Any]:
    if checks.integer("num_classes", num_classes, minimum=1, optional=True) is None:
        return x, x, None
    label = keras.Input((), name="label", dtype="int32")
    return {name: x, "label": label}, x, label


def spectral(layer: keras.layers.Layer, apply: bool) -> keras.layers.Layer:
    """Return a layer, with spectral normalization if wanted."""
    if not apply:
        return layer
    # the wrapper casts inputs and outputs to its own dtype
    return keras.layers.SpectralNormalization(
        layer, name=f"{layer.name}_spectral", dtype=layer.dtype_policy
    )


def project_labels(
    logits: Any, features: Any, label: Any, num_classes: int | None, spectral_normalization: bool
) -> Any:
    """Add to logits the products of features and of learned vectors of the labels."""
    if label is None:
        return logits
    # Keras' spectral normalization casts outputs to the dtype of inputs, so labels cannot be these
    embedding = keras.layers.Dense(features.shape[-1], use_bias=False, name="label_embedding")
    one_hot = keras.ops.one_hot(label, num_classes)
    vectors = spectral(embedding, spectral_normalization)(one_hot)
    products = keras.layers.Dot(-1, dtype="float32", name="projection")([features, vectors])
    return keras.layers.Add(dtype="float32", name="logits")([logits, products])
