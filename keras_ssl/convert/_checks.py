"""What is checked before a network gets the tensors of a file."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_ssl.convert._files import CONFIG, listed


def check_free(kwargs: dict[str, Any], free: Sequence[str]) -> None:
    """Raise a `TypeError` unless arguments are such that weights do not depend on them."""
    if unknown := sorted(set(kwargs) - set(free)):
        raise TypeError(
            f"Arguments must be among {list(free)}; the folder determines the others. "
            f"Received: {unknown}"
        )


def assign_all(
    parts: list[Any],
    tensors: dict[str, np.ndarray],
    architecture: str,
    left_out: set[str],
    no_weights: re.Pattern,
) -> None:
    """Set all weights of a network, or raise a `ValueError` that names what does not fit.

    Args:
        parts: what reads and sets the tensors.
        tensors: tensors by name.
        architecture: the `model_type`.
        left_out: names of tensors that the network has no place for, rightly.
        no_weights: pattern of names of tensors that are no weights.
    """
    expected = {name: x.shape for part in parts for name, x in part.read().items()}
    unknown = [
        name for name in set(tensors) - set(expected) - left_out if not no_weights.search(name)
    ]
    missing = set(expected) - set(tensors)
    other = [
        f"{name} {tuple(tensors[name].shape)}, expected {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    other += [
        f"{name} of {tensors[name].dtype}, expected floating-point numbers"
        for name in set(expected) & set(tensors)
        if tensors[name].dtype.kind not in "fV" and tensors[name].dtype.name != "bfloat16"
    ]
    problems = [
        f"{kind}: {listed(names)}"
        for kind, names in (("unknown", unknown), ("missing", missing), ("other shapes", other))
        if names
    ]
    if problems:
        raise ValueError(
            f"The tensors of the file are not those of `{CONFIG}`. {'. '.join(problems)}. "
            f"Received: {len(tensors)} tensors for {architecture!r}"
        )
    for part in parts:
        part.assign(tensors)
