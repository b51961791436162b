"""What a backup holds besides the variables: a description of the run, and callbacks' states."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_ssl.callbacks._backup_settings import read_settings
from keras_ssl.trainers.engine.epochs import Epochs

# The state of Keras' callbacks, which have no method that returns it
_ATTRIBUTES = {
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "best_weights", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def describe_run(model: keras.Model, epochs: Epochs) -> dict[str, Any]:
    """The properties of model, optimizers, variables and data that a resumed run must share."""
    replicas = model.distribute_strategy.num_replicas_in_sync
    several = getattr(model, "optimizers", None)
    optimizers = several if isinstance(several, dict) else {"main": model.optimizer}
    return {
        "model": type(model).__name__,
        "optimizers": {name: _class_name(one) for name, one in optimizers.items()},
        "variables": {
            name: [[one.path, list(one.shape), one.dtype] for one in group]
            for name, group in model.training_variables().items()
        },
        "steps": epochs.known_length,
        "steps_per_epoch": epochs.iterator.steps_per_epoch,
        "settings": read_settings(model),
        "batch": [_global_shape(spec, replicas) for spec in keras.tree.flatten(epochs.specs)],
    }


def is_of_optimizer(group: str) -> bool:
    """Whether a group of `training_variables` is the state of an optimizer."""
    return group.startswith("optimizer") or group == "probe's optimizer"


def check_same_run(
    before: dict[str, Any], now: dict[str, Any], path: Path, with_optimizers: bool = True
) -> None:
    """Raise a `ValueError` naming the differences unless both descriptions are of the same run.

    Without `with_optimizers`, those of the two runs may differ.
    """
    found = []
    for name, title in (
        ("model", "the model's class"),
        ("optimizers", "the optimizer"),
        ("steps", "batches in the data"),
        ("steps_per_epoch", "`steps_per_epoch`"),
        ("batch", "the shapes and dtypes of a batch"),
    ):
        if name == "optimizers" and not with_optimizers:
            continue
        if before[name] != now[name]:
            found.append(f"{title}: {before[name]} in the backup, {now[name]} now")
    if not found:
        for name in {**before["variables"], **now["variables"]}:
            if is_of_optimizer(name) and not with_optimizers:
                continue
            groups = (about["variables"].get(name, []) for about in (before, now))
            found += _different_variables(name, *groups)
    if found:
        of_optimizers = all("optimizer" in one for one in found)
        hint = "pass `restore_optimizer=False`, " if of_optimizers and with_optimizers else ""
        raise ValueError(
            f"{path} is the backup of another run, and was not overwritten. Resume with the "
            f"settings of that run, {hint}choose another folder, or delete the backup to start "
            f"from the beginning. Received: {'; '.join(found)}"
        )


def _different_variables(name: str, before: list, now: list) -> list[str]:
    if len(before) != len(now):
        return [f"variables of the {name}: {len(before)} in the backup, {len(now)} now"]
    differing = [
        f"{path} of the {name}: {shape} {dtype} in the backup, {new_shape} {new_dtype} now"
        for (_, shape, dtype), (path, new_shape, new_dtype) in zip(before, now, strict=True)
        if (shape, dtype) != (new_shape, new_dtype)
    ]
    more = [f"and {len(differing) - 3} more variables"] if len(differing) > 3 else []
    return differing[:3] + more


def _class_name(optimizer: Any) -> str | None:
    if optimizer is None:
        return None
    inner = getattr(optimizer, "inner_optimizer", None)
    name = type(optimizer).__name__
    return name if inner is None else f"{name}({_class_name(inner)})"


def _global_shape(spec: Any, replicas: int) -> list[Any]:
    if spec is None:
        return [None, None]
    shape = list(spec.shape)
    if shape and shape[0] is not None:
        shape[0] *= replicas
    return [shape, spec.dtype]


def read_callbacks(
    callbacks: Iterable[keras.callbacks.Callback], arrays: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The states of callbacks as JSON values; their arrays are added to `arrays`.

    A user's callback takes part if it has a method `get_state()`, which returns numbers, strings,
    arrays, and lists and dictionaries of them, and a method `set_state(state)`.
    """
    states = {}
    for name, one in _by_name(callbacks).items():
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
    """Restore what `read_callbacks` returned; callbacks without a state are left alone."""
    for name, one in _by_name(callbacks).items():
        if name not in states:
            continue
        state = _unpack(states[name], arrays)
        if hasattr(one, "set_state"):
            one.set_state(state)
        else:
            for key in _attributes(one):
                setattr(one, key, state[key])


def _by_name(callbacks: Iterable[keras.callbacks.Callback]) -> dict[str, keras.callbacks.Callback]:
    """Callbacks by their class and how many of that class come before."""
    named, counts = {}, {}
    for one in callbacks:
        kind = type(one).__name__
        named[f"{kind}/{counts.setdefault(kind, 0)}"] = one
        counts[kind] += 1
    return named


def _attributes(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    return next((names for kind, names in _ATTRIBUTES.items() if isinstance(callback, kind)), ())


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Convert a state to JSON values, moving its arrays to `arrays`."""
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
        "The state of a callback must consist of numbers, strings, arrays, lists and "
        f"dictionaries. Received: {name} of type {type(value).__name__}"
    )


def _unpack(packed: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    if "dict" in packed:
        return {key: _unpack(one, arrays) for key, one in packed["dict"].items()}
    if "list" in packed:
        return [_unpack(one, arrays) for one in packed["list"]]
    return arrays[packed["array"]] if "array" in packed else packed["value"]
