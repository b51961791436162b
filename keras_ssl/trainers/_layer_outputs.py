"""Outputs of layers within a model, besides the model's own."""

from typing import Any

import keras


class LayerOutputs:
    """Runs a model once, for its output and those of some of its layers.

    Not a layer itself, so that Keras does not track and save the model's layers a second time.

    Args:
        argument: the name of the trainer's argument that `model` came by, for messages.
        model: any layer; where layers are named, a functional or sequential model that knows its
            input.
        layers: names of layers of `model`.

    Raises:
        ValueError: if layers are named and `model` is no such model, or has no layer of a name.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.trainers._layer_outputs import LayerOutputs
    >>> parts = [keras.Input((3,)), keras.layers.Dense(4, name="hidden"), keras.layers.Dense(2)]
    >>> outputs = LayerOutputs("encoder", keras.Sequential(parts), ["hidden"])
    >>> output, of_layers = outputs(np.ones((5, 3)), training=False)
    >>> output.shape, of_layers["hidden"].shape
    (TensorShape([5, 2]), TensorShape([5, 4]))
    """

    def __init__(self, argument: str, model: keras.layers.Layer, layers: list[str]):
        self._model = model
        self._extractor = _extractor(argument, model, layers) if layers else None

    def __call__(self, x: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the model's output and those of the layers, by name."""
        if self._extractor is None:
            return self._model(x, training=training), {}
        return self._extractor(x, training=training)


def _extractor(argument: str, model: keras.layers.Layer, layers: list[str]) -> keras.Model:
    if not (isinstance(model, keras.Model) and getattr(model, "inputs", None)):
        raise ValueError(
            f"`{argument}` must be a functional or sequential model that starts with a "
            f"`keras.Input`, so that the outputs of its layers {layers} can be had. "
            f"Received: {model} of type {type(model)}"
        )
    known = [layer.name for layer in model.layers]
    for name in layers:
        if name not in known:
            raise ValueError(
                f"`{argument}` must have a layer of the name that is asked for, one of {known}. "
                f"Received: {name!r}"
            )
    outputs = {name: model.get_layer(name).output for name in layers}
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.Model(inputs, (model.outputs[0], outputs), name=f"{model.name}_layers")
