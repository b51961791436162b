"""How trainers write their parts into a configuration."""

from typing import Any

import keras


def serialize_parts(**parts: Any) -> dict[str, Any]:
    """Serialise Keras objects by name, as `get_config` of a trainer returns them.

    Args:
        **parts: Keras objects or `None`, by the names of the constructor's arguments.

    Returns:
        A dictionary of their configurations.

    Example:

    >>> import keras
    >>> from keras_ssl import trainers
    >>> trainers.serialize_parts(encoder=keras.layers.ReLU(), augment=None)["augment"] is None
    True
    """
    return {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}


def copy_of(part: keras.layers.Layer) -> keras.layers.Layer:
    """Return a new layer of the same configuration, with weights of its own.

    Classes that are not registered with Keras are found as well: the part is at hand, so its
    classes are, too.

    Args:
        part: the layer or model.

    Returns:
        The new one; its weights are drawn anew.

    Example:

    >>> import keras
    >>> from keras_ssl.trainers.parts import copy_of
    >>> class Double(keras.layers.Layer):
    ...     def call(self, x):
    ...         return 2 * x
    >>> type(copy_of(keras.Sequential([Double()])).layers[0]) is Double
    True
    """
    with keras.saving.custom_object_scope({one.__name__: one for one in _classes_of(part)}):
        config = keras.saving.serialize_keras_object(part)
        # what a `Lambda` holds is at hand as well: nothing is read from a file
        return keras.saving.deserialize_keras_object(config, safe_mode=False)


def freeze(part: keras.layers.Layer) -> None:
    """Keep every weight of a layer from the optimizer.

    Each weight and not the layer: Keras' batch normalisation does not normalise by the batch in a
    layer that is not trainable. And a subclassed model out of a file may say that it is not
    trainable already, in which case Keras leaves the weights of its layers as they are.

    Args:
        part: the layer or model; its weights that do not exist yet are not frozen.

    Example:

    >>> import keras
    >>> from keras_ssl.trainers.parts import freeze
    >>> layer = keras.layers.Dense(2)
    >>> layer.build((None, 3))
    >>> freeze(layer)
    >>> len(layer.trainable_weights)
    0
    """
    for weight in part.weights:
        weight.trainable = False


def _classes_of(part: Any) -> set[type]:
    """The classes of a layer and of the layers within it."""
    return {type(part)}.union(*map(_classes_of, getattr(part, "layers", ())))
