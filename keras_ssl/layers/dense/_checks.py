"""Checks of the shapes that dense layers are built for."""


def check_last_axis(shape: tuple, name: str = "inputs") -> int:
    """Return the size of the last axis of `(batch, ..., dim)`, or raise a `ValueError`."""
    if len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            f"`{name}` must have shape (batch, ..., dim) with a known last axis. "
            f"Received: shape {tuple(shape)}"
        )
    return shape[-1]
