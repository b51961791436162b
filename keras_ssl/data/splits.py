"""Split strings such as `"train[:1000]"`, read by TFDS itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow_datasets as tfds


def split_ranges(split: str, split_infos: tfds.core.SplitDict) -> list[tuple[str, int, int]]:
    """Translate a split string into ranges of images.

    Args:
        split: split string as in `tfds.load`.
        split_infos: the splits of the set and their sizes.

    Returns:
        List of `(split name, first image, image after the last)`.

    Raises:
        ValueError: if the string cannot be read, names no split of the set, or selects nothing.
    """
    import tensorflow_datasets as tfds

    sizes = {name: info.num_examples for name, info in split_infos.items()}
    expected = (
        f"Expected one of {list(sizes)}, a slice of one ('train[:1000]', 'train[50%:]'), or "
        f"several joined by '+'. Received: split={split!r}"
    )
    try:
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(split_infos)
    except ValueError as error:
        reason = str(error).strip("\"'").splitlines()[-1]
        raise ValueError(f"`split` cannot be read: {reason} {expected}") from error
    ranges = [
        (part.splitname, part.from_ or 0, sizes[part.splitname] if part.to is None else part.to)
        for part in parts
    ]
    if not any(stop > start for _, start, stop in ranges):
        raise ValueError(f"`split` selects no images of {sizes}. {expected}")
    return ranges
