"""Whether a backup is of the run that wants to go on from it."""

from pathlib import Path
from typing import Any

import keras

from keras_ssl.trainers.engine.epochs import Epochs


def describe_run(model: keras.Model, epochs: Epochs) -> dict[str, Any]:
    """What must be the same when a run goes on: model, optimizers, variables and data.

    Args:
        model: the model, built.
        epochs: its epochs.

    Returns:
        What JSON can hold.
    """
    replicas = model.distribute_strategy.num_replicas_in_sync
    several = getattr(model, "optimizers", None)
    optimizers = several if isinstance(several, dict) else {"main": model.optimizer}
    return {
        "model": type(model).__name__,
        "optimizers": {name: _kind(one) for name, one in optimizers.items()},
        "variables": {
            name: [[one.path, list(one.shape), one.dtype] for one in group]
            for name, group in model.training_variables().items()
        },
        "steps": epochs.known_length,
        "steps_per_epoch": epochs.iterator.steps_per_epoch,
        "batch": [_global_shape(spec, replicas) for spec in keras.tree.flatten(epochs.specs)],
    }


def check_same_run(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    """Compare the run of a backup with this one.

    Args:
        before: what `describe_run` said of the run of the backup.
        now: what it says of this run.
        path: the backup.

    Raises:
        ValueError: names what differs.
    """
    found = []
    for name, title in (
        ("model", "the model's class"),
        ("optimizers", "the optimizer"),
        ("steps", "batches in the data"),
        ("steps_per_epoch", "`steps_per_epoch`"),
        ("batch", "the shapes and dtypes of a batch"),
    ):
        if before[name] != now[name]:
            found.append(f"{title}: {before[name]} there, {now[name]} here")
    if not found:
        for name in {**before["variables"], **now["variables"]}:
            found += _different(
                name, before["variables"].get(name, []), now["variables"].get(name, [])
            )
    if found:
        raise ValueError(
            f"{path} is the backup of another run. What differs: {'; '.join(found)}. Nothing was "
            "overwritten. Go on with the settings of that run, choose another folder, or delete "
            "the backup to start anew"
        )


def _different(name: str, before: list, now: list) -> list[str]:
    if len(before) != len(now):
        return [f"variables of the {name}: {len(before)} there, {len(now)} here"]
    differing = [
        f"{path} of the {name}: {shape} {dtype} there, {new_shape} {new_dtype} here"
        for (_, shape, dtype), (path, new_shape, new_dtype) in zip(before, now, strict=True)
        if (shape, dtype) != (new_shape, new_dtype)
    ]
    more = [f"and {len(differing) - 3} variables more"] if len(differing) > 3 else []
    return differing[:3] + more


def _kind(optimizer: Any) -> str | None:
    if optimizer is None:
        return None
    inner = getattr(optimizer, "inner_optimizer", None)
    kind = type(optimizer).__name__
    return kind if inner is None else f"{kind}({_kind(inner)})"


def _global_shape(spec: Any, replicas: int) -> list[Any]:
    if spec is None:
        return [None, None]
    shape = list(spec.shape)
    if shape and shape[0] is not None:
        shape[0] *= replicas
    return [shape, spec.dtype]
