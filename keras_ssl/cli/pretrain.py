"""`keras-ssl pretrain`: train a method on images without labels."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_ssl import callbacks, checks, distribute, visualize
from keras_ssl.cli._arguments import PRECISIONS
from keras_ssl.cli._config import read_config
from keras_ssl.cli._data import check_takes_data, read_data
from keras_ssl.cli._examples import Examples
from keras_ssl.cli._numbers import Numbers, scaling_of
from keras_ssl.cli._parts import Named, read
from keras_ssl.cli._registry import trainer_class
from keras_ssl.cli._run import Run
from keras_ssl.cli._settings import method_options, method_parser, settings_of
from keras_ssl.cli._trainer import make_trainer
from keras_ssl.presets import save_to_preset
from keras_ssl.trainers import SelfSupervisedModel

_BATCH_SIZE = 256


def run(arguments: argparse.Namespace, rest: Sequence[str]) -> None:
    """Train, resume, or say that the run has finished."""
    given = vars(arguments)
    for name in ("command", "parser"):
        given.pop(name, None)
    names = ("out", "config", "backup_steps", "verbose", "help", "debug")
    command = {name: given.pop(name, None) for name in names}
    config = read_config(command["config"])
    trainer = trainer_class(given.get("method") or config["method"])
    if command["help"]:
        print()
        method_parser(trainer).print_help()
        return
    check_takes_data(trainer)
    settings = settings_of(trainer, given, rest, config, names)
    _pretrain(trainer, settings, Run(command["out"]), command["backup_steps"], command["verbose"])


def _pretrain(
    trainer_type: type[SelfSupervisedModel],
    settings: dict[str, Any],
    run: Run,
    backup_steps: int | None,
    verbose: int | None,
) -> None:
    """Train in the folder of a run, unless it has finished."""
    _check(settings)
    state = run.check(settings)
    if state == "finished":
        print(
            f"The run in {run.path} has finished, after {settings['epochs']} epochs. More --epochs "
            "continue it."
        )
        return
    strategy = distribute.devices(settings["strategy"], seed=settings["seed"])
    if settings["mixed_precision"] is not None:
        keras.config.set_dtype_policy(PRECISIONS[settings["mixed_precision"]])
    found, scaling = read_data(trainer_type, settings), None
    if isinstance(found, Numbers) and settings["scale"]:
        scaling = scaling_of(found)
        found = found.scaled(scaling)
    own = ("encoder", *method_options(trainer_type))
    given = {name: settings[name] for name in own if settings.get(name) is not None}
    with strategy.scope():
        trainer = make_trainer(trainer_type, given, found.shape, found.count)
        batches = _batches(trainer, found, settings["batch_size"])
        steps = len(batches) * settings["epochs"]
        optimizers = {name: _optimizer(settings, steps) for name in trainer.optimizer_names}
        trainer.compile(optimizers if len(optimizers) > 1 else optimizers.popitem()[1])
    _build(trainer, batches)
    if isinstance(found, Numbers) and hasattr(trainer, "adapt"):  # to the whole table
        trainer.adapt(found.x)

    # all that can be wrong has been checked: the folder is made
    if distribute.is_chief(strategy):
        settings = {**settings, "examples": {"count": found.count, "shape": list(found.shape)}}
        run.write(settings)
        if state == "interrupted":
            print(f"Resuming the run in {run.path}")
    watchers = [callbacks.BackupAndResume(run.checkpoints, every_steps=backup_steps)]
    if distribute.is_chief(strategy):
        watchers.append(keras.callbacks.CSVLogger(run.log, append=True))
    verbose = 2 if verbose is None else verbose
    history = trainer.fit(batches, epochs=settings["epochs"], verbose=verbose, callbacks=watchers)
    if distribute.is_chief(strategy):
        _finish(trainer, history, run, settings, scaling)


def _check(settings: dict[str, Any]) -> None:
    """Raise if a setting has a wrong value."""
    for name in ("epochs", "batch_size", "image_size"):
        checks.integer(f"--{name.replace('_', '-')}", settings[name], minimum=1, optional=True)
    checks.probability("--warmup", settings["warmup"])
    checks.positive("--learning-rate", settings["learning_rate"])


def _batches(trainer: SelfSupervisedModel, examples: Examples, batch_size: int | None) -> Any:
    """Return the batches that a trainer learns from."""
    size = min(_BATCH_SIZE, examples.count) if batch_size is None else batch_size
    if examples.count < 2:
        raise ValueError(f"there must be at least 2 examples in --data. Received: {examples.count}")
    if size > examples.count:
        raise ValueError(
            f"--batch-size must be at most the number of examples, {examples.count}. "
            f"Received: {size}"
        )
    return examples.training_batches(size, trainer.uses_labels, trainer.uses_index)


def _optimizer(settings: dict[str, Any], steps: int) -> keras.optimizers.Optimizer:
    """Return the optimizer of the settings, its learning rate for this number of steps."""
    named = read("optimizer", settings["optimizer"], keras.optimizers.Optimizer)
    if not isinstance(named, Named):
        return named
    arguments = {
        "learning_rate": _learning_rate(settings, steps),
        "weight_decay": settings["weight_decay"],
    }
    return named(
        **{
            name: value
            for name, value in arguments.items()
            if named.takes(name) and value is not None
        }
    )


def _learning_rate(settings: dict[str, Any], steps: int) -> Any:
    rate, warmup = settings["learning_rate"], round(settings["warmup"] * steps)
    if settings["learning_rate_schedule"] == "constant":
        return rate
    if warmup == 0:
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
    )


def _build(trainer: SelfSupervisedModel, batches: Any) -> None:
    """Build a trainer for batches, so that it raises what it cannot train on."""
    spec = batches.element_spec
    x, y = spec if isinstance(spec, tuple) else (spec, None)

    def tensors(one: Any) -> Any:
        return keras.tree.map_structure(
            lambda leaf: keras.KerasTensor((None, *leaf.shape[1:]), leaf.dtype.name), one
        )

    trainer.build_step(tensors(x), None if y is None else tensors(y))


def _finish(
    trainer: SelfSupervisedModel,
    history: keras.callbacks.History,
    run: Run,
    settings: dict[str, Any],
    scaling: keras.Model | None,
) -> None:
    """Write what training has made."""
    run.write_log(history)
    visualize.plot_history(history, path=run.curves)
    trainer.save(run.trainer)
    if scaling is not None:
        scaling.save(run.preprocessing)
    if isinstance(trainer.encoder, keras.Model):
        trainer.encoder.save(run.encoder)
        save_to_preset(run.preset, trainer, scaling, card=settings, overwrite=True)
    run.write(settings, finished=True)
    run.write_report({})
    print(
        f"The run has finished. Encoder, curves and report.html are in {Path(run.path).resolve()}"
    )
