"""Folders of published weights: configurations in JSON, and tensors in safetensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from keras_ssl._whole_folder import whole_folder

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
_TENSORS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_SHOWN = 20


def listed(names: Any) -> str:
    """Return names in one line, the first ones if there are many."""
    names = sorted(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def read_json(folder: Path, name: str) -> dict | None:
    """Return the object that a file of a folder holds, or `None` if there is no such file."""
    file = folder / name
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{name}` must be JSON. Received: {file}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"`{name}` must hold an object. Received: {file} with {type(found)}")
    return found


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Return all tensors of a folder by name, from one file or from several with an index."""
    if (folder / _TENSORS).is_file():
        return _read_file(folder / _TENSORS)
    index = read_json(folder, _INDEX)
    if index is None:
        there = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else "no folder"
        raise ValueError(
            f"`folder` must hold `{_TENSORS}`, or `{_INDEX}` and the files that it names. Weights "
            "in other formats, such as pickled ones, are not read. "
            f"Received: folder={str(folder)!r} with {there}"
        )
    places = index.get("weight_map")
    if not isinstance(places, dict) or any(Path(str(f)).name != f for f in places.values()):
        raise ValueError(
            f"`{_INDEX}` must hold a `weight_map` from names of tensors to files of the folder. "
            f"Received: {folder / _INDEX}"
        )
    files = sorted(set(places.values()))
    if missing := [name for name in files if not (folder / name).is_file()]:
        raise ValueError(
            f"`{_INDEX}` names files that `folder` lacks: {listed(missing)}. "
            f"Received: folder={str(folder)!r}"
        )
    tensors: dict[str, np.ndarray] = {}
    for name in files:
        tensors |= _read_file(folder / name)
    if missing := set(places) - set(tensors):
        raise ValueError(
            f"`{_INDEX}` names tensors that its files lack: {listed(missing)}. "
            f"Received: folder={str(folder)!r}"
        )
    return tensors


def _read_file(file: Path) -> dict[str, np.ndarray]:
    safetensors = import_safetensors()
    try:
        return safetensors.numpy.load_file(file)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read. It may be truncated, or no file of safetensors. "
            f"Received: {error}"
        ) from error


def import_safetensors() -> Any:
    """Return the module that reads and writes tensors; an extra of the package has it."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Published weights are read and written by safetensors. Install it with "
            "`pip install 'keras-ssl[convert]'`."
        ) from error
    return safetensors


def write_folder(folder: Path, documents: dict[str, dict], tensors: dict[str, np.ndarray]) -> None:
    """Write a new folder as a whole, or nothing.

    Args:
        folder: where to write. There must be no such folder, or an empty one.
        documents: objects to write as JSON, by the names of their files.
        tensors: tensors by name.
    """
    safetensors = import_safetensors()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            "`folder` must be new or empty, so that files of another network do not stay beside "
            f"those of this one. Received: folder={str(folder)!r}"
        )
    with whole_folder(folder) as made:
        tensors = {name: np.asarray(one, order="C") for name, one in tensors.items()}
        # other libraries look for the name of theirs
        safetensors.numpy.save_file(tensors, made / _TENSORS, metadata={"format": "pt"})
        for name, document in documents.items():
            text = json.dumps(document, indent=2, sort_keys=True) + "\n"
            (made / name).write_text(text, encoding="utf-8")
