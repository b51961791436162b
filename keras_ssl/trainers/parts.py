"""How trainers serialise the Keras objects that they are made of."""

from typing import Any

import keras


def serialize_parts(**parts: Any) -> dict[str, Any]:
    """Serialise Keras objects by name, for the `get_config` of a trainer.

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
