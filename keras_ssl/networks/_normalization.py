"""The argument `normalization` of networks."""

from typing import Any

import keras

from keras_ssl.layers import SyncBatchNormalization


def check_normalization(value: Any) -> None:
    """Raise a `TypeError` unless `value` is `True`, `False` or a Keras layer."""
    if not isinstance(value, (bool, keras.layers.Layer)):
        raise TypeError(
            "`normalization` must be True, False or a Keras layer to copy. "
            f"Received: normalization={value!r} of type {type(value).__name__}"
        )


def normalization_layer(
    value: bool | keras.layers.Layer, zero_init_gamma: bool = False, **changes: Any
) -> keras.layers.Layer:
    """Return a new layer, that of the package for `True`, with other values in its config."""
    layer = SyncBatchNormalization() if value is True else value
    config = layer.get_config()
    config.pop("name")
    if zero_init_gamma and "gamma_initializer" in config:
        config["gamma_initializer"] = "zeros"
    return type(layer).from_config({**config, **changes})


def normalize_and_activate(
    normalization: bool | keras.layers.Layer, activation: Any
) -> list[keras.layers.Layer]:
    """Return the layers that follow a layer whose output is normalized before its activation."""
    return [normalization_layer(normalization), keras.layers.Activation(activation)]
