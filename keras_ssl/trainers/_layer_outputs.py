"""The outputs of a model and of some of its layers."""

from typing import Any

import keras


class LayerOutputs:
    """Computes the output of a model and the outputs of its layers named `layers` in one pass.

    `argument` is the trainer's name of the model, for error messages. This is not a layer, so that
    Keras does not track and save the layers of the model twice.
    """

    def __init__(self, argument: str, model: keras.layers.Layer, layers: list[str]):
        self._model = model
        self._extractor = _extractor(argument, model, layers) if layers else None

    def __call__(self, x: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the output of the model and those of the layers, by name."""
        if self._extractor is None:
            return self._model(x, training=training), {}
        return self._extractor(x, training=training)


def _extractor(argument: str, model: keras.layers.Layer, layers: list[str]) -> keras.Model:
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
    outputs = {name: model.get_layer(name).output for name in layers}
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.Model(inputs, (model.outputs[0], outputs), name=f"{model.name}_layers")
