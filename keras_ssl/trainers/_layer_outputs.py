"""The outputs of a model and of some of its layers."""

import math
from typing import Any

import keras
from keras import ops


class LayerOutputs:
    """Computes the output of a model and the outputs of its layers named `layers` in one pass.

    This is not a layer, so that Keras does not track and save the layers of the model twice.

    Args:
        argument: the trainer's name of the model, for error messages.
        model: the model.
        layers: names of some of its layers.
    """

    def __init__(self, argument: str, model: keras.layers.Layer, layers: list[str]):
        self._model = model
        self._extractor = _extractor(argument, model, layers) if layers else None

    def __call__(self, x: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the output of the model and those of the layers, by name."""
        if self._extractor is None:
            return self._model(x, training=training), {}
        return self._extractor(x, training=training)


def positions_of(maps: Any, map_layer: str) -> Any:
    """Return the local features of maps, `(batch, positions, channels)`.

    Args:
        maps: the output of a layer, `(batch, ..., channels)`.
        map_layer: the name of the layer, for error messages.
    """
    sizes = maps.shape[1:]
    if len(sizes) < 2 or None in sizes:
        raise ValueError(
            "`map_layer` must name a layer that returns a map of known size, (batch, ..., "
            f"channels). Received: {map_layer!r}, which returns shape {tuple(maps.shape)}"
        )
    return ops.reshape(maps, (-1, math.prod(sizes[:-1]), sizes[-1]))


def layer_model(
    argument: str, model: keras.layers.Layer, layer: str, key: str | None = None
) -> keras.Model:
    """Return the part of a model that computes the output of one layer.

    Args:
        argument: the trainer's name of the model, for error messages.
        model: a functional or sequential model.
        layer: name of one of its layers.
        key: of a model that takes a dictionary, the entry that the part takes.
    """
    _check_layers(argument, model, [layer])
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    inputs = inputs[key] if isinstance(inputs, dict) else inputs
    try:
        return keras.Model(inputs, model.get_layer(layer).output, name=f"{model.name}_{layer}")
    except ValueError as error:
        raise ValueError(
            f"The output of the requested layer of `{argument}` must depend on {key!r} alone. "
            f"Received: {layer!r}"
        ) from error


def _extractor(argument: str, model: keras.layers.Layer, layers: list[str]) -> keras.Model:
    _check_layers(argument, model, layers)
    outputs = {name: model.get_layer(name).output for name in layers}
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.Model(inputs, (model.outputs[0], outputs), name=f"{model.name}_layers")


def _check_layers(argument: str, model: keras.layers.Layer, layers: list[str]) -> None:
    if not (isinstance(model, keras.Model) and getattr(model, "inputs", None)):
        raise ValueError(
            f"`{argument}` must be a functional or sequential model that starts with a "
            f"`keras.Input`, to give access to the outputs of its layers {layers}. "
            f"Received: {model} of type {type(model)}"
        )
    known = [layer.name for layer in model.layers]
    for name in layers:
        if name not in known:
            raise ValueError(
                f"`{argument}` must have a layer of the requested name. Its layers are {known}. "
                f"Received: {name!r}"
            )
