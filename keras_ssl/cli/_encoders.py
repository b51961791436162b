"""Encoders of images by name."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_ssl import networks
from keras_ssl.cli._names import nearest, plain
from keras_ssl.cli._parts import Named, is_trained, read
from keras_ssl.networks import TokenEncoder
from keras_ssl.networks.vision.vit import SIZES
from keras_ssl.trainers import ImageSpec


def encoder_names() -> list[str]:
    """Return the names of the encoders: networks of images, with the sizes they come in."""
    return [*_functions(), *(f"vit_{size}" for size in SIZES)]


def network(value: Any, images: ImageSpec) -> Callable[..., Any] | None:
    """Return the function that makes the encoder that was asked for, or `None` if none was.

    Args:
        value: the name, with or without arguments; a `.keras` file, or the folder of a run or
            preset; or an object of Keras' serialization.
        images: the images that it is for.

    Returns:
        Function called as `network(input_shape, **arguments)`; or the model of a file or folder,
        which nothing is left to say about.
    """
    if value is None:
        return None
    named = read("encoder", _with_size(value), keras.Model)
    if isinstance(named, keras.layers.Layer):
        return named
    if not isinstance(named, Named) or not named.takes("input_shape"):
        raise ValueError(
            f"--encoder {value!r} is no encoder of images.{nearest(str(value), encoder_names())}"
        )

    def make(input_shape: tuple, **arguments: Any) -> keras.Model:
        if issubclass(named.makes, TokenEncoder):
            if named.takes("patch_size"):
                arguments["patch_size"] = images.patch_size
            # a transformer takes images of all sizes
            input_shape = tuple(n or images.size for n in input_shape)
        else:
            arguments = {}
        return named(input_shape=input_shape, **arguments)

    return make


def _with_size(value: Any) -> Any:
    """Return `vit("tiny")` for `vit_tiny`, and `vit("tiny", ...)` for `vit_tiny(...)`."""
    if not isinstance(value, str):
        return value
    name, bracket, rest = value.partition("(")
    for size in SIZES:
        if plain(name) == plain(f"vit_{size}"):
            return f"vit('{size}'" + (f", {rest}" if bracket else ")")
    if not bracket and not is_trained(value):
        known = encoder_names()
        if plain(name) not in map(plain, [*known, *networks.__all__]):
            raise ValueError(
                f"there is no encoder {value!r}.{nearest(value, known)} There are "
                f"{', '.join(known)}, .keras files and folders of runs"
            )
    return value


def _functions() -> list[str]:
    """Return the networks of images that need no argument but the shape of the images."""
    found = []
    for name in networks.__all__:
        one = getattr(networks, name)
        if inspect.isclass(one) or not one.__module__.startswith("keras_ssl.networks.vision."):
            continue
        parameters = inspect.signature(one).parameters.values()
        required = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
        names = inspect.signature(one).parameters
        # what returns maps of outputs is no encoder
        if "input_shape" in names and "outputs" not in names and not required:
            found.append(name)
    return found
