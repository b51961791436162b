"""Presets: folders with an encoder, what belongs to it, and a card of how it was trained."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_ssl._whole_folder import whole_folder
from keras_ssl.text.base_tokenizer import BaseTokenizer
from keras_ssl.version import __version__

__all__ = ["Preset", "from_preset", "save_to_preset"]

_KIND, _VERSION = "keras_ssl preset", 1
_INDEX, _CARD, _README = "preset.json", "card.json", "README.md"
_ENCODER, _PREPROCESSING, _TOKENIZER = "encoder.keras", "preprocessing.keras", "tokenizer.json"
_LIBRARIES = ("keras", "tensorflow", "jax", "numpy")
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class Preset:
    """What a preset holds; `keras_ssl.from_preset` returns it.

    Args:
        encoder: the encoder.
        preprocessing: layer or model between data and encoder, or `None`.
        tokenizer: the tokenizer of an encoder of texts, or `None`.
        card: how the encoder was trained, as plain values by name.

    Example:

    >>> import keras, keras_ssl
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> keras_ssl.presets.Preset(encoder, card={"method": "SimCLR"}).card
    {'method': 'SimCLR'}
    """

    encoder: keras.Model
    preprocessing: keras.layers.Layer | None = None
    tokenizer: BaseTokenizer | None = None
    card: dict[str, Any] = field(default_factory=dict)


def save_to_preset(
    folder: str | PathLike[str],
    encoder: keras.Model,
    preprocessing: keras.layers.Layer | None = None,
    tokenizer: BaseTokenizer | None = None,
    card: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Save an encoder with what belongs to it, and a card of how it was trained, to a folder.

    The folder holds

    - `encoder.keras`, and where given `preprocessing.keras` and `tokenizer.json`,
    - `card.json`, and the same as a page to read, `README.md`,
    - `preset.json`: the version of the format, and sizes and digests of these files.

    Nothing in it is pickled, and all of it loads in Keras' safe mode, which is tried before the
    folder gets its name. The folder is written as a whole or not at all.

    The card has entries of its own: the versions of libraries, shapes and size of the encoder, and
    of a trainer its name (`"method"`), settings and number of steps.

    Args:
        folder: the folder to write. It must be new or empty, unless `overwrite=True`.
        encoder: a built `keras.Model`, or a trainer, of which the encoder is taken.
        preprocessing: `keras.layers.Layer` or model that the data pass through before the encoder,
            such as an adapted `keras.layers.Normalization`.
        tokenizer: a `keras_ssl.text.Tokenizer` or another one of this package.
        card: further entries: strings, numbers, lists and dictionaries, such as
            `{"data": "CIFAR-10, train", "epochs": 100, "metrics": {"knn_accuracy": 0.8}}`. They
            take precedence over those that the card has of its own.
        overwrite: whether to replace a preset in this folder.

    Raises:
        TypeError: if an argument has the wrong type, or the card has other values.
        ValueError: if the encoder is not built, a part cannot be loaded in safe mode, or
            `overwrite=True` and the folder holds something else than a preset.
        FileExistsError: if there is something in the folder and `overwrite=False`.

    Example:

    >>> import tempfile
    >>> import keras, keras_ssl
    >>> encoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> folder = tempfile.mkdtemp()
    >>> keras_ssl.save_to_preset(folder, encoder, card={"data": "wine"})
    >>> preset = keras_ssl.from_preset(folder)
    >>> preset.encoder.output_shape, preset.card["data"]
    ((None, 4), 'wine')
    """
    folder = _check_name(folder)
    encoder, trained = _split(encoder)
    _check_parts(encoder, preprocessing, tokenizer)
    card = _plain({**_own_card(encoder), **trained, **_check_card(card)}, "card")
    _check_target(folder, overwrite)

    with whole_folder(folder) as made:
        encoder.save(made / _ENCODER)
        if preprocessing is not None:
            _save_preprocessing(preprocessing, made / _PREPROCESSING)
        if tokenizer is not None:
            _write_json(made / _TOKENIZER, keras.saving.serialize_keras_object(tokenizer))
        files = {file.name: _signature(file) for file in sorted(made.iterdir())}
        _write_json(made / _CARD, card)
        (made / _README).write_text(_page(card, sorted(files), folder.name), encoding="utf-8")
        _write_json(
            made / _INDEX,
            {
                "kind": _KIND,
                "version": _VERSION,
                "keras_ssl": __version__,
                "wraps_preprocessing": not isinstance(preprocessing, keras.Model),
                "files": files,
            },
        )
        from_preset(made)  # raises if a part cannot be loaded again


def from_preset(folder: str | PathLike[str]) -> Preset:
    """Load a folder that `keras_ssl.save_to_preset` wrote.

    Nothing that the files name is run: they are loaded in Keras' safe mode. Classes of your own
    must be registered (`keras.saving.register_keras_serializable`) and imported before.

    Args:
        folder: the folder.

    Returns:
        `keras_ssl.presets.Preset` with `encoder`, `preprocessing`, `tokenizer` and `card`.

    Raises:
        TypeError: if `folder` is no name.
        FileNotFoundError: if there is no such folder.
        ValueError: if it is no preset, a file is missing, incomplete or changed, or it was written
            by a newer version.

    Example: see `keras_ssl.save_to_preset`.

    >>> import keras_ssl
    >>> keras_ssl.from_preset("no/such/folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: `folder` must be a preset, ... which is not there
    """
    folder = _check_name(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            "`folder` must be a preset, a folder that `save_to_preset` wrote. Received: "
            f"folder={str(folder)!r}, which is {'a file' if folder.exists() else 'not there'}"
        )
    index = _read_json(folder, _INDEX)
    if index.get("kind") != _KIND or not isinstance(index.get("files"), dict):
        raise ValueError(f"`{_INDEX}` must be that of a preset. Received: {folder / _INDEX}")
    if index.get("version") != _VERSION:
        raise ValueError(
            f"`folder` must be a preset of version {_VERSION}; install a newer keras_ssl for newer "
            f"ones. Received: version {index.get('version')}, written by keras_ssl "
            f"{index.get('keras_ssl')}"
        )
    for name in {_ENCODER, *index["files"]} & {_ENCODER, _PREPROCESSING, _TOKENIZER}:
        _check_file(folder, name, index["files"].get(name))
    preprocessing = tokenizer = None
    if _PREPROCESSING in index["files"]:
        preprocessing = _load_model(folder, _PREPROCESSING)
        if index.get("wraps_preprocessing"):
            (preprocessing,) = preprocessing.layers
    if _TOKENIZER in index["files"]:
        tokenizer = _load_tokenizer(folder)
    return Preset(
        _load_model(folder, _ENCODER), preprocessing, tokenizer, _read_json(folder, _CARD)
    )


def _check_name(folder: Any) -> Path:
    if not isinstance(folder, str | PathLike):
        raise TypeError(f"`folder` must be the name of a folder. Received: folder={folder!r}")
    return Path(folder).expanduser()


def _split(encoder: Any) -> tuple[Any, dict[str, Any]]:
    """Return the encoder, and what the card says of the trainer if it is one."""
    if keras.backend.backend() not in ("tensorflow", "jax"):  # no trainers there
        return encoder, {}
    from keras_ssl.trainers import SelfSupervisedModel

    if not isinstance(encoder, SelfSupervisedModel):
        return encoder, {}
    trainer = encoder
    settings = {
        name: _brief(value)
        for name, value in trainer.get_config().items()
        if name not in ("name", "trainable", "dtype", "encoder") and value is not None
    }
    trained = {"method": type(trainer).__name__, "settings": settings}
    optimizer = getattr(trainer, "optimizer", None)
    if optimizer is not None:
        trained["optimizer"] = type(optimizer).__name__
        trained["steps"] = int(optimizer.iterations)
    return trainer.encoder, trained


def _brief(value: Any) -> Any:
    """Return a setting as it is, and of a serialised part its class and its numbers."""
    if not isinstance(value, dict):
        return value
    config = value.get("config")
    config = config if isinstance(config, dict) else {}
    scalars = {k: v for k, v in config.items() if isinstance(v, _SCALARS) and k != "name"}
    scalars.pop("trainable", None)
    return {"class": value.get("class_name"), **scalars} if "class_name" in value else value


def _check_parts(encoder: Any, preprocessing: Any, tokenizer: Any) -> None:
    if not isinstance(encoder, keras.Model):
        raise TypeError(
            "`encoder` must be a keras.Model or a trainer; a layer can be put into a "
            f"keras.Sequential. Received: encoder={encoder!r} of type {type(encoder).__name__}"
        )
    if not encoder.built:
        raise ValueError(
            "`encoder` must be built: call it on a batch or train it first, so that it has "
            f"weights. Received: encoder={encoder!r}, which has not been called"
        )
    for name, value, kind in (
        ("preprocessing", preprocessing, keras.layers.Layer),
        ("tokenizer", tokenizer, BaseTokenizer),
    ):
        if value is not None and not isinstance(value, kind):
            raise TypeError(
                f"`{name}` must be a {kind.__name__} or None. Received: {name}={value!r} of type "
                f"{type(value).__name__}"
            )


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(
            "`folder` must be new or empty; pass `overwrite=True` to replace a preset. Received: "
            f"folder={str(folder)!r}, which exists"
        )
    if not (folder / _INDEX).is_file():
        raise ValueError(
            "`folder` must be a preset to be overwritten; other folders are left as they are. "
            f"Received: folder={str(folder)!r} without {_INDEX}"
        )


def _own_card(encoder: keras.Model) -> dict[str, Any]:
    versions = {"keras_ssl": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "encoder": {
            "name": encoder.name,
            "class": type(encoder).__name__,
            "parameters": encoder.count_params(),
            "input_shape": _shape(encoder, "input_shape"),
            "output_shape": _shape(encoder, "output_shape"),
        },
        "versions": {**versions, "backend": keras.backend.backend()},
    }


def _shape(encoder: keras.Model, name: str) -> Any:
    try:
        return keras.tree.lists_to_tuples(getattr(encoder, name))
    except (AttributeError, ValueError):  # of a subclassed model nothing is known
        return None


def _check_card(card: Any) -> dict[str, Any]:
    if card is not None and not isinstance(card, Mapping):
        raise TypeError(f"`card` must be a dictionary. Received: card={card!r}")
    return dict(card or {})


def _plain(value: Any, place: str) -> Any:
    """Return a value as JSON knows it, or raise an error that says where another one is."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"`{place}` must have strings as keys. Received: {list(value)}")
        return {key: _plain(one, f"{place}[{key!r}]") for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(one, f"{place}[{number}]") for number, one in enumerate(value)]
    if isinstance(value, PathLike):
        value = str(value)
    if value is not None and not isinstance(value, _SCALARS):
        raise TypeError(
            f"`{place}` must be a string, a number, None, or a list or dictionary of these. "
            f"Received: {value!r} of type {type(value).__name__}"
        )
    # JSON has no NaN and no infinity: they become strings
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _save_preprocessing(preprocessing: keras.layers.Layer, file: Path) -> None:
    is_model = isinstance(preprocessing, keras.Model)
    model = preprocessing if is_model else keras.Sequential([preprocessing])
    with warnings.catch_warnings():  # preprocessing may work without ever being built
        warnings.filterwarnings("ignore", message="You are saving a model that has not yet been")
        model.save(file)


def _write_json(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(folder: Path, name: str) -> dict[str, Any]:
    file = folder / name
    if not file.is_file():
        there = sorted(one.name for one in folder.iterdir())
        raise ValueError(
            f"`folder` must be a preset with a file `{name}`. Received: folder={str(folder)!r} "
            f"with {there}"
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{name}` must be JSON. Received: {file}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"`{name}` must hold an object. Received: {file} with {type(found)}")
    return found


def _signature(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def _check_file(folder: Path, name: str, expected: Any) -> None:
    if not (folder / name).is_file():
        raise ValueError(f"`folder` must hold `{name}`. Received: {str(folder)!r} without it")
    found = _signature(folder / name)
    if found != expected:
        wanted = expected.get("bytes") if isinstance(expected, dict) else None
        raise ValueError(
            f"`{name}` must be as `save_to_preset` wrote it, of {wanted} bytes. It is incomplete "
            f"or has been changed: copy the preset again. Received: {folder / name} of "
            f"{found['bytes']} bytes"
        )


def _load_model(folder: Path, name: str) -> Any:
    try:
        return keras.saving.load_model(folder / name, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises errors of many kinds
        raise ValueError(
            f"`{name}` cannot be loaded in Keras' safe mode. Register your own classes with "
            "keras.saving.register_keras_serializable, and use no Lambda layers. Received: "
            f"{type(error).__name__}: {error}"
        ) from error


def _load_tokenizer(folder: Path) -> BaseTokenizer:
    config = _read_json(folder, _TOKENIZER)
    try:
        found = keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:
        raise ValueError(
            f"`{_TOKENIZER}` cannot be loaded. Received: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, BaseTokenizer):
        raise ValueError(f"`{_TOKENIZER}` must hold a tokenizer. Received: {found!r}")
    return found


def _page(card: dict[str, Any], files: list[str], name: str) -> str:
    """Return the card as Markdown: a table of its plain entries, then one for each dictionary."""
    groups = {key: value for key, value in card.items() if isinstance(value, dict)}
    plain = {key: value for key, value in card.items() if key not in groups}
    tables = [_table(plain)] if plain else []
    tables += [f"## {_cell(key)}\n\n{_table(value)}" for key, value in groups.items()]
    code = (
        "```python\nimport keras_ssl\n\n"
        f"preset = keras_ssl.from_preset({name!r})\n"
        "features = preset.encoder.predict(x)\n```"
    )
    listed = ", ".join(f"`{file}`" for file in files)
    return "\n\n".join([f"# {_cell(name)}", *tables, f"## Use\n\n{code}\n\nFiles: {listed}"]) + "\n"


def _table(entries: dict[str, Any]) -> str:
    rows = [f"| {_cell(key)} | {_cell(value)} |" for key, value in entries.items()]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _cell(value: Any) -> str:
    """Return a value as text that stays within a cell of a table, and is no HTML."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for character, escaped in {"&": "&amp;", "<": "&lt;", "|": "\\|", "\n": " "}.items():
        text = text.replace(character, escaped)
    return text
