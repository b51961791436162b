"""Checks of what the losses of generative methods receive."""

from typing import Any

from keras_ssl.losses._checks import are_compatible, check_dtype


def check_rank(x: Any, name: str, minimum: int, axes: str) -> Any:
    """Return floating-point `x` of at least `minimum` axes, with a shape and a dtype."""
    x = check_dtype(x, name)
    if len(x.shape) < minimum:
        raise ValueError(
            f"`{name}` must have at least {minimum} axes: {axes}. "
            f"Received: {name}.shape={tuple(x.shape)}"
        )
    return x


def check_same_shape(x: Any, y: Any, names: tuple[str, str]) -> None:
    """Raise a `ValueError` unless two tensors, one row per example, can have the same shape."""
    x, y = (
        check_rank(one, name, 1, "(batch, ...)") for one, name in zip((x, y), names, strict=True)
    )
    if not are_compatible(x.shape, y.shape):
        first, second = names
        raise ValueError(
            f"`{first}` and `{second}` must have the same shape. Received: "
            f"{first}.shape={tuple(x.shape)}, {second}.shape={tuple(y.shape)}"
        )
