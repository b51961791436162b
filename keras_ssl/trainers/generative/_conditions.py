"""What a denoiser may be told besides the noisy data: a label, tokens, an image."""

from typing import Any

from keras import ops

# each of several tensors; where `label` is the class, and `tokens_mask` tells padding
NAMES = ("label", "tokens", "tokens_mask", "image")
IN_DATA = NAMES[1:]


def of_data(x: Any) -> dict[str, Any]:
    """Return the conditions that data `x` holds: all of a dictionary but `"x"`.

    Raises:
        ValueError: if a dictionary has no `"x"`, or something else.
    """
    if not isinstance(x, dict):
        return {}
    unknown = sorted(set(x) - {"x", *IN_DATA})
    if "x" not in x or unknown:
        raise ValueError(
            "Data in a dictionary must be {'x': ..., 'tokens': ..., 'image': ...}, of which 'x' is "
            f"learned and the others, with 'tokens_mask', are conditions. Received: {sorted(x)}"
        )
    return {name: x[name] for name in IN_DATA if name in x}


def nothing(conditions: dict[str, Any], classes: int | None) -> dict[str, Any]:
    """Return conditions of the same shapes that say nothing.

    Args:
        conditions: tensors by name.
        classes: number of classes, which is also the label that says nothing.
    """
    empty = {"label": lambda one: ops.full_like(one, classes), "tokens_mask": ops.ones_like}
    return {name: empty.get(name, ops.zeros_like)(one) for name, one in conditions.items()}


def without_some(conditions: dict[str, Any], classes: int | None, is_dropped: Any) -> dict:
    """Return conditions that say nothing where `is_dropped`, booleans `(batch,)`."""

    def choose(name: str, one: Any) -> Any:
        where = ops.reshape(is_dropped, (-1, *[1] * (len(one.shape) - 1)))
        return ops.where(where, empty[name], one)

    empty = nothing(conditions, classes)
    return {name: choose(name, one) for name, one in conditions.items()}


def complete(
    denoiser: Any, conditions: dict[str, Any], count: Any, classes: int | None
) -> dict[str, Any]:
    """Return conditions for `count` examples with those that say nothing for what is missing.

    Args:
        denoiser: the network, of which a functional one tells what it takes.
        conditions: tensors by name.
        count: number of examples.
        classes: number of classes, or `None`.

    Raises:
        ValueError: if the size of what is missing is not known.
    """
    found = dict(conditions)
    if classes is not None and "label" not in found:
        found["label"] = ops.full((count,), classes, dtype="int32")
    taken = getattr(denoiser, "input", None)
    for name, spec in (taken if isinstance(taken, dict) else {}).items():
        if name not in IN_DATA or name in found:
            continue
        shape = [1 if size is None and name.startswith("tokens") else size for size in spec.shape]
        if None in shape[1:]:
            raise ValueError(
                f"The denoiser takes a condition {name!r} of any size, {tuple(spec.shape)}. "
                f"Expected it with the data, as {{'x': ..., {name!r}: ...}}. Received: data without"
            )
        make = ops.ones if name == "tokens_mask" else ops.zeros
        found[name] = make((count, *shape[1:]), dtype=spec.dtype)
    return found
