"""Settings of a run that variables do not show: hyperparameters of optimizers, loss and model."""

import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

# arguments of `compile` that change what is learned; optimizers are read from the model
_COMPILED = (
    *("loss", "loss_weights", "micro_batch_size"),
    *("learning_rate_multipliers", "exclude_from_weight_decay", "weight_decay"),
)
# parts of a config that tell where and under which name an object was made
_NOT_SETTINGS = {
    *("name", "module", "registered_name", "build_config", "shared_object_id"),
    *("dtype", "trainable"),
}


def _optimizers_of(model: keras.Model) -> dict[str, Any]:
    """Optimizers by the names that their groups have in `training_variables`."""
    several = getattr(model, "optimizers", None)
    if isinstance(several, dict):
        found = {f"optimizer {name}": one for name, one in several.items()}
    else:
        found = {"optimizer": model.optimizer}
    found["probe's optimizer"] = getattr(getattr(model, "probe", None), "optimizer", None)
    return {name: one for name, one in found.items() if one is not None}


def read_settings(model: keras.Model) -> dict[str, dict[str, Any]]:
    """Return the settings of each optimizer, of `compile` and of the model, as JSON values."""
    settings = {name: _read(one.get_config) for name, one in _optimizers_of(model).items()}
    compiled = _read(model.get_compile_config)
    settings["compile"] = {key: compiled[key] for key in _COMPILED if key in compiled}
    config = _read(model.get_config)
    settings[type(model).__name__] = {
        key: value for key, value in config.items() if _is_setting(getattr(model, key, None), value)
    }
    return settings


def _read(get_config: Any) -> dict[str, Any]:
    # a model without a config has no settings that could be compared
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = keras.saving.serialize_keras_object(get_config() or {})
            return _cleaned(json.loads(json.dumps(config, default=float)))
    except Exception:
        return {}


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        if "inner_optimizer" in value:  # of a `LossScaleOptimizer`
            inner = value.pop("inner_optimizer")
            value = {**inner.get("config", {}), **value}
        return {key: _cleaned(one) for key, one in value.items() if key not in _NOT_SETTINGS}
    return [_cleaned(one) for one in value] if isinstance(value, list) else value


def _is_setting(attribute: Any, value: Any) -> bool:
    """Whether a value in a model's config is a hyperparameter, and no layer."""
    if isinstance(value, (dict, list)) and attribute is None:
        return False
    parts = keras.tree.flatten(attribute)
    return not any(isinstance(one, (keras.layers.Layer, keras.Variable)) for one in parts)


def changed_settings(
    before: Mapping[str, Mapping[str, Any]],
    now: Mapping[str, Mapping[str, Any]],
    held: Mapping[str, float],
) -> tuple[list[str], list[str]]:
    """Describe the settings that are not those of the interrupted run.

    Args:
        before: settings with which the interrupted run was started.
        now: settings of the run that resumes it.
        held: by optimizer, the learning rate in the backup, for those that keep it in a variable
            and so get back the backup's.

    Returns:
        Descriptions of what the backup replaces, and of what counts from now on.
    """
    replaced, counting = [], []
    for part, values in now.items():
        for key, value in values.items():
            old = before.get(part, {}).get(key, value)
            if _equal(old, value):
                continue
            rate = held.get(part) if key == "learning_rate" else None
            if rate is None:
                counting.append(f"`{key}` ({part}): {_text(old)} in the backup, {_text(value)} now")
            elif not _equal(rate, value):  # else a callback has changed it in this process
                replaced.append(
                    f"`{key}` ({part}): {_text(rate)} in the backup, {_text(value)} now"
                )
    return replaced, counting


def learning_rates(
    groups: Mapping[str, list], arrays: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return the learning rates that a backup holds as variables, by the group of the optimizer.

    Args:
        groups: paths, shapes and dtypes of all variables by group, in the order of `arrays`.
        arrays: the values of the variables.
    """
    found, number = {}, 0
    for group, variables in groups.items():
        for path, *_ in variables:
            if path.rpartition("/")[2] == "learning_rate" and "optimizer" in group:
                found[group] = float(np.ravel(arrays[f"variable/{number}"])[0])
            number += 1
    return found


def _equal(one: Any, other: Any) -> bool:
    numbers = (int, float)
    if isinstance(one, numbers) and isinstance(other, numbers):
        return math.isclose(one, other, rel_tol=1e-6)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


def _text(value: Any) -> str:
    """Write a number in few digits, and a schedule as the call that makes it."""
    if isinstance(value, dict) and "class_name" in value:
        config = value.get("config") or {}
        arguments = ", ".join(f"{key}={_text(one)}" for key, one in config.items())
        return f"{value['class_name']}({arguments})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
