"""What callbacks remember of the epochs that they have seen."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

# what Keras' callbacks count and compare with; they have no methods to ask for it
ATTRIBUTES = {
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def _named(callbacks: Iterable[keras.callbacks.Callback]) -> dict[str, keras.callbacks.Callback]:
    """Callbacks by class and how many of that class come before."""
    named, counts = {}, {}
    for one in callbacks:
        kind = type(one).__name__
        named[f"{kind}/{counts.setdefault(kind, 0)}"] = one
        counts[kind] += 1
    return named


def _attributes(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    return next((names for kind, names in ATTRIBUTES.items() if isinstance(callback, kind)), ())


def read_callbacks(
    callbacks: Iterable[keras.callbacks.Callback], arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Return what callbacks remember, as JSON can hold it.

    A callback of one's own takes part if it has a method `get_state()`, which returns numbers,
    strings, arrays, and lists and dictionaries of them, and a method `set_state(state)`.

    Args:
        callbacks: the callbacks.
        arrays: dictionary that arrays are put into.
    """
    states = {}
    for name, one in _named(callbacks).items():
        if hasattr(one, "get_state"):
            states[name] = _pack(one.get_state(), f"callback/{name}", arrays)
        elif _attributes(one):
            state = {key: getattr(one, key, None) for key in _attributes(one)}
            states[name] = _pack(state, f"callback/{name}", arrays)
    return states


def write_callbacks(
    callbacks: Iterable[keras.callbacks.Callback],
    states: dict[str, Any],
    arrays: dict[str, np.ndarray],
) -> None:
    """Give callbacks back what `read_callbacks` returned; new ones stay as they are."""
    for name, one in _named(callbacks).items():
        if name not in states:
            continue
        state = _unpack(states[name], arrays)
        if hasattr(one, "set_state"):
            one.set_state(state)
        else:
            for key in _attributes(one):
                setattr(one, key, state[key])


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """As JSON can hold it, with arrays put aside under their names."""
    if isinstance(value, dict):
        return {"dict": {key: _pack(one, f"{name}/{key}", arrays) for key, one in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"list": [_pack(one, f"{name}/{i}", arrays) for i, one in enumerate(value)]}
    if value is None or isinstance(value, (str, bool, int, float)):
        return {"value": value}
    if isinstance(value, np.generic):
        return {"value": value.item()}
    if hasattr(value, "__array__") and np.asarray(value).dtype.kind != "O":
        arrays[name] = np.asarray(value)
        return {"array": name}
    raise TypeError(
        f"What a callback remembers must be numbers, strings, arrays, lists or dictionaries. "
        f"Received: {name} of type {type(value).__name__}"
    )


def _unpack(packed: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    if "dict" in packed:
        return {key: _unpack(one, arrays) for key, one in packed["dict"].items()}
    if "list" in packed:
        return [_unpack(one, arrays) for one in packed["list"]]
    return arrays[packed["array"]] if "array" in packed else packed["value"]
