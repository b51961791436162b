"""Check that a generator or decoder can return the values of the data."""

from typing import Any

import keras
from keras import ops

from keras_ssl.augment._value_range import keeps_range

_RANGES = {
    "tanh": (-1.0, 1.0),
    "hard_tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
}


def check_output_range(part: str, network: Any, x: Any, augment: Any) -> None:
    """Raise a `ValueError` if data lies outside of what a last activation returns.

    Args:
        part: name of the network for the message.
        network: layer whose output is compared with the data. Its range is known if it ends in a
            layer with a sigmoid or a tanh.
        x: data, a structure of arrays or eager tensors.
        augment: what changes the data before, or `None`. Where it may change the range of values,
            nothing is checked.
    """
    if augment is not None and not keeps_range(augment):
        return
    ranges, leaves = _output_ranges(network), keras.tree.flatten(x)
    if len(ranges) != len(leaves):
        return
    for one, found in zip(leaves, ranges, strict=True):
        if found is None or 0 in one.shape:
            continue
        name, (low, high) = found
        values = ops.convert_to_numpy(one)
        least, largest = float(values.min()), float(values.max())
        margin = 0.01 * (high - low)  # of resizing with a filter that overshoots
        if least < low - margin or largest > high + margin:
            raise ValueError(
                f"`{part}` ends in the activation {name}, which returns numbers from {low:g} to "
                f"{high:g}, and the data must be in that range: put {_advice(low, largest)} before "
                f"the trainer, or let `{part}` end in another activation. Received: data with "
                f"values from {least:.4g} to {largest:.4g}"
            )


def _advice(low: float, largest: float) -> str:
    if largest > 255:
        return "a `keras.layers.Rescaling`"
    layer = "Rescaling(1 / 127.5, offset=-1)" if low else "Rescaling(1 / 255)"
    return f"a `keras.layers.Rescaling`, for images of 0..255 `keras.layers.{layer}`,"


def _output_ranges(network: Any) -> list[tuple[str, tuple[float, float]] | None]:
    """Return the name and the range of the last activation of each output, `None` if unknown."""
    outputs = getattr(network, "outputs", None)  # of functional and built sequential models
    if outputs:
        return [
            _output_ranges(layer)[0] if isinstance(layer, keras.layers.Layer) else None
            for layer in (one._keras_history.operation for one in outputs)
        ]
    if isinstance(network, keras.Sequential) and network.layers:
        return _output_ranges(network.layers[-1])
    name = getattr(getattr(network, "activation", None), "__name__", None)
    return [(name, _RANGES[name]) if name in _RANGES else None]
