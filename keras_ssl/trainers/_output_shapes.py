"""Output shapes of layers as a symbolic call has them, for `summary`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import keras

from keras_ssl._keras_internals import all_layers


@contextmanager
def output_shapes_of(model: keras.Model, trace: Callable[[], Any]) -> Iterator[None]:
    """Let `compute_output_shape` of a model's layers return what they output in a call.

    Keras computes the shapes that it shows from those with which a layer was built, in a trainer
    those of the first batch.

    Args:
        model: the model.
        trace: function that calls the model's layers on symbolic tensors. If it fails, or does not
            call a layer, shapes are as Keras has them.
    """
    layers, shapes = all_layers(model)[1:], {}

    def recording(layer: keras.layers.Layer) -> Callable:
        call = layer.call

        def record(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            with suppress(AttributeError):
                shapes[id(layer)] = keras.tree.map_structure(lambda x: tuple(x.shape), outputs)
            return outputs

        return record

    with _attribute(layers, "call", recording), suppress(ValueError, TypeError):
        trace()
    known = [layer for layer in layers if id(layer) in shapes]
    with _attribute(known, "compute_output_shape", lambda one: lambda *_, **__: shapes[id(one)]):
        yield


@contextmanager
def _attribute(
    layers: list[keras.layers.Layer], name: str, value: Callable[[keras.layers.Layer], Any]
) -> Iterator[None]:
    """Give layers an attribute of their own; Keras' tracking does not see it."""
    values = [(layer, value(layer)) for layer in layers]
    for layer, one in values:
        object.__setattr__(layer, name, one)
    try:
        yield
    finally:
        for layer, _ in values:
            with suppress(AttributeError):  # a layer that occurs twice
                object.__delattr__(layer, name)
