"""Layers whose `call` is another function for a while."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import keras


@contextmanager
def replaced_calls(
    layers: Sequence[keras.layers.Layer], make: Callable[[keras.layers.Layer], Callable]
) -> Iterator[None]:
    """Scope in which the `call` of some layers is replaced. Such scopes may be nested.

    Args:
        layers: the layers.
        make: function of a layer that returns what replaces its `call`.
    """
    before = [vars(layer).get("call") for layer in layers]
    # not `setattr`, for which Keras would track the function
    replacements = [make(layer) for layer in layers]
    for layer, call in zip(layers, replacements, strict=True):
        vars(layer)["call"] = call
    try:
        yield
    finally:
        for layer, call in zip(layers, before, strict=True):
            vars(layer).pop("call")
            if call is not None:
                vars(layer)["call"] = call
