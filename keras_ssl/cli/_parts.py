"""Values of options: numbers, names of Keras objects with arguments, and trained models.

`NTXent(temperature=0.1)` is read as a name and literals, never run as code.
"""

import ast
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import keras

from keras_ssl import augment, layers, losses, networks, optimizers, samplers
from keras_ssl.cli._names import find, nearest, plain
from keras_ssl.cli._run import Run
from keras_ssl.presets import from_preset

# where names are searched, in this order
_ROOMS = (
    *(networks, layers, losses, augment, optimizers, samplers),
    *(keras.layers, keras.losses, keras.optimizers, keras.optimizers.schedules),
    keras.distillation,
)
# a file of a model or the folder of a run, or a part of the model in it
_PLACE = re.compile(r"(?P<path>.+?)(:(?P<part>\w+))?")
_KEYWORDS = {"none": None, "true": True, "false": False}


class Named(NamedTuple):
    """A function or class that was named, and the arguments it was named with."""

    make: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = {}

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it. What it was named with comes before `arguments` and over `keywords`."""
        keywords = {**keywords, **self.keywords}
        try:
            inspect.signature(self.make).bind(*self.arguments, *arguments, **keywords)
        except TypeError as error:
            raise TypeError(f"{self.make.__name__}: {error}") from None
        return self.make(*self.arguments, *arguments, **keywords)

    @property
    def makes(self) -> type:
        """The type of what it makes."""
        return made_by(self.make)

    def takes(self, name: str) -> bool:
        """Return whether it has an argument of a name that was not given."""
        parameters = list(inspect.signature(self.make).parameters)
        given = parameters[: len(self.arguments)]
        return name in parameters and name not in given and name not in self.keywords


def read(option: str, value: Any, hint: Any = Any) -> Any:
    """Return what the value of an option says.

    Args:
        option: name of the option, for messages.
        value: text as written: a literal such as `0.1`, `"mean"` or `(64, 64)`; a name such as
            `NTXent`, with or without arguments in parentheses; a `.keras` file, with or without
            a part of the model in it, `trainer.keras:decoder`; or the folder of a run or preset,
            of which the encoder is taken, or, of a run, another part, `runs/vqvae:decoder`. Or an
            entry of a file of JSON: any of these, numbers, lists, or an object of Keras'
            serialization.
        hint: type hint of the argument of the constructor.

    Returns:
        A number, text, list or Keras object; of a name, a `Named` to be called.

    Raises:
        ValueError: if nothing has the name, or a file or folder cannot be loaded.
    """
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value, safe_mode=True)
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    if value.lower() in _KEYWORDS:
        return _KEYWORDS[value.lower()]
    if is_trained(value):
        return _load(option, value)
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        pass
    types = _types(hint)
    if hint is not Any and not types:  # a number, or a text
        return value
    try:
        node = ast.parse(value, mode="eval").body
    except SyntaxError:
        node = None
    if isinstance(node, ast.Name | ast.Call):
        named = _named(option, node, types)
        if named is not None:
            return named
    if hint is Any:
        return value
    raise ValueError(
        f"--{option} {value!r} is no value, name, .keras file or folder of a run that there is."
        f"{nearest(value.partition('(')[0], candidates(types))}"
    )


def candidates(types: tuple[type, ...]) -> dict[str, Callable[..., Any]]:
    """Return the classes and functions that make objects of some types, by name."""
    return {
        name: one
        for room in reversed(_ROOMS)
        for name, one in _public(room)
        if not types or issubclass(made_by(one), types)
    }


def _public(room: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name in getattr(room, "__all__", dir(room)):
        one = getattr(room, name)
        if not name.startswith("_") and made_by(one) is not object:
            yield name, one


def made_by(one: Any) -> type:
    """Return the type that a class or a function with a type hint makes."""
    if inspect.isclass(one):
        return one
    made = getattr(one, "__annotations__", {}).get("return")
    return made if inspect.isclass(made) else object


def _types(hint: Any) -> tuple[type, ...]:
    """Return the classes of Keras objects in a type hint."""
    found = [one for one in (hint, *typing.get_args(hint)) if inspect.isclass(one)]
    plain_types = (int, float, str, bool, tuple, type(None))
    return tuple(one for one in found if not issubclass(one, plain_types))


def _named(option: str, node: ast.expr, types: tuple[type, ...]) -> Named | None:
    """Return what a name, or a name with arguments, means; `None` if there is no such name."""
    name = node.func if isinstance(node, ast.Call) else node
    if not isinstance(name, ast.Name):
        return None
    known = candidates(types)
    if plain(name.id) not in map(plain, known):
        return None
    make = find(option, name.id, known)
    if isinstance(node, ast.Name):
        return Named(make)
    arguments = tuple(_argument(option, one) for one in node.args)
    keywords = {one.arg: _argument(option, one.value) for one in node.keywords}
    return Named(make, arguments, keywords)


def _argument(option: str, node: ast.expr) -> Any:
    """Return an argument: a literal, or an object that is named."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        named = _named(option, node, ()) if isinstance(node, ast.Name | ast.Call) else None
    if named is None:
        raise ValueError(
            f"--{option}: {ast.unparse(node)!r} is no number, text, list or name of a Keras object."
        )
    return named()


def is_trained(value: str) -> bool:
    """Return whether a value names a `.keras` file, or a folder of a run or preset that exists."""
    place = _PLACE.fullmatch(value)
    if place is None:
        return False
    path = Path(place["path"])
    try:
        return path.suffix == ".keras" or Run(path).config.is_file() or _is_preset(path)
    except OSError:  # a text that is too long for the name of a file
        return False


def _is_preset(path: Path) -> bool:
    return (path / "preset.json").is_file()


def _load(option: str, value: str) -> keras.layers.Layer:
    """Load a model in safe mode, or a part of it, as `trainer.keras:decoder`."""
    path, part = Path(_PLACE.fullmatch(value)["path"]), _PLACE.fullmatch(value)["part"]
    if path.is_dir() and Run(path).preprocessing.is_file():  # of a run or a preset
        raise ValueError(
            f"--{option}: the encoder in {str(path)!r} takes data that the preprocessing there has "
            f"scaled. If yours are scaled alike, give its file, {path / 'encoder.keras'}"
        )
    if path.is_dir():
        model = from_preset(path) if _is_preset(path) else Run(path).load()
        part = part or "encoder"
    elif path.is_file():
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    else:
        raise ValueError(f"--{option}: there is no file {str(path)!r}")
    found = model if part is None else getattr(model, part, None)
    if not isinstance(found, keras.layers.Layer):
        raise ValueError(f"--{option}: the model in {str(path)!r} has no part {part!r}")
    return found
