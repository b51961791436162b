"""The folder of a run: its settings and what it has made."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_ssl import visualize
from keras_ssl.cli._data import read_data
from keras_ssl.cli._examples import Examples
from keras_ssl.cli._images import read_files
from keras_ssl.cli._registry import trainer_class
from keras_ssl.version import __version__

# may differ when a run goes on
_FREE = ("epochs", "keras_ssl", "finished", "examples")


class Run:
    """The folder of a run of `keras-ssl pretrain`.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.log = self.path / "log.csv"
        self.curves = self.path / "curves.png"
        self.trainer = self.path / "trainer.keras"
        self.encoder = self.path / "encoder.keras"
        self.preprocessing = self.path / "preprocessing.keras"
        self.preset = self.path / "preset"
        self.report = self.path / "report.html"

    def read(self) -> dict[str, Any]:
        """Return the settings, or raise a `ValueError` if this is no folder of a run."""
        if not self.config.is_file():
            raise ValueError(f"{str(self.path)!r} is no folder of a run: it has no config.json")
        return json.loads(self.config.read_text(encoding="utf-8"))

    def check(self, settings: Mapping[str, Any]) -> str:
        """Return "new", "interrupted" or "finished", for a run with these settings.

        Raises:
            ValueError: if the folder holds another run, or something else.
        """
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return "new"
        if not self.path.is_dir() or not self.config.is_file():
            raise ValueError(
                f"--out {str(self.path)!r} is not empty and no folder of a run: nothing is "
                "overwritten. Choose a new folder"
            )
        stored = self.read()
        names = [name for name in {**stored, **settings} if name not in _FREE]
        now = json.loads(json.dumps(settings))
        differing = [
            f"{name} {stored.get(name)!r}, now {now.get(name)!r}"
            for name in names
            if stored.get(name) != now.get(name)
        ]
        if differing:
            raise ValueError(
                f"--out {str(self.path)!r} holds a run with other settings: "
                f"{'; '.join(differing)}. Choose a new folder, or give the same settings to go on "
                "with it"
            )
        if settings["epochs"] < stored["epochs"]:
            raise ValueError(
                f"the run in {str(self.path)!r} is of {stored['epochs']} epochs. "
                f"Received: --epochs {settings['epochs']}"
            )
        is_finished = stored["finished"] and stored["epochs"] == settings["epochs"]
        return "finished" if is_finished else "interrupted"

    def write(self, settings: Mapping[str, Any], finished: bool = False) -> None:
        """Write the settings, in one piece."""
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"keras_ssl": __version__, **settings, "finished": finished}
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        new.replace(self.config)

    def write_log(self, history: keras.callbacks.History) -> None:
        """Write the log anew: of an epoch that was interrupted, it had a line too many."""
        names = sorted(history.history)  # as Keras does
        columns = [history.history[name] for name in names]
        rows = zip(history.epoch, *columns, strict=True)
        lines = [",".join(["epoch", *names])]
        lines += [",".join(str(np.asarray(one)) for one in row) for row in rows]
        self.log.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def history(self) -> dict[str, list[float]]:
        """Return the losses of each epoch, from the log."""
        with self.log.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name != "epoch"]
        return {name: [float(row[name]) for row in rows] for name in names}

    def write_report(self, tables: Mapping[str, Any], **features: Any) -> None:
        """Write the report: settings, curves, further tables, and a map of features.

        Args:
            tables: tables by title, as of `visualize.write_report`.
            **features: `features` and what belongs to them, as of `visualize.write_report`.
        """
        settings = self.read()
        shown = {name: str(value) for name, value in settings.items() if value is not None}
        title = f"{settings['method']} on {settings['data']}"
        tables = {**tables, "Settings": shown}
        visualize.write_report(self.report, title, self.history(), tables, **features)

    def load(self) -> keras.Model:
        """Return the trained trainer, whose output is the representation."""
        if not self.read()["finished"] or not self.trainer.is_file():
            raise ValueError(
                f"the run in {str(self.path)!r} has not finished. Start the same command again, "
                "and it goes on"
            )
        return keras.saving.load_model(self.trainer, compile=False, safe_mode=True)

    def read_data(self, source: str, split: str) -> Examples:
        """Read examples of the shape that the run was trained on, scaled as those were."""
        settings = self.read()
        shape = tuple(settings["examples"]["shape"])
        trainer = trainer_class(settings["method"])
        settings.update(data=source, split=split)
        if trainer.learns_from == "images":
            settings.update(image_size=shape[0], channels=shape[2])
        found = read_data(trainer, settings, needs_labels=False)
        if found.shape != shape:
            raise ValueError(
                f"the run in {str(self.path)!r} is of examples of shape {shape}. Received: --data "
                f"{source} of shape {found.shape}"
            )
        if self.preprocessing.is_file():
            scaling = keras.saving.load_model(self.preprocessing, compile=False, safe_mode=True)
            found = found.scaled(scaling)
        return found

    def read_files(self, files: Sequence[str]) -> np.ndarray:
        """Return image files as an array, in the size and channels of the run."""
        shape = self.read()["examples"]["shape"]
        if len(shape) != 3:
            raise ValueError(f"the run in {str(self.path)!r} is of no images. Received: {files[0]}")
        return read_files(files, shape[0], shape[2])

    def write_results(self, name: str, results: Any) -> Path:
        """Write numbers as JSON and return the path."""
        path = self.path / f"{name}.json"
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        return path
