"""What the examples on emoji share: the drawings of vendors, their names, and pixels."""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from _text_runs import read_columns

MARGIN = 1.2  # height and width of a frame, of those of what a drawing shows


class Emoji(NamedTuple):
    """What each emoji is, and how the vendors have drawn it.

    Args:
        columns: the columns of `emoji.tsv` by name, arrays of strings, one for each emoji.
        images: the drawings of each vendor, uint8 `(emoji, height, width, 3)`, in its order.
        present: for each vendor, whether it has drawn an emoji, `(emoji,)`. The drawing is blank
            where it has not.
    """

    columns: dict[str, np.ndarray]
    images: dict[str, np.ndarray]
    present: dict[str, np.ndarray]


def read_emoji(
    parser: argparse.ArgumentParser,
    folder: Path | None,
    columns: tuple[str, ...] = ("name_en",),
    flags: bool = False,
) -> Emoji:
    """Return the emoji of a folder, and what vendors have drawn; end with an error without them.

    Args:
        parser: of the script, which reports errors.
        folder: of `emoji.tsv` and a file such as `google.npz` for each vendor, with `images` and
            `present`. `None` means `emoji` in the folder that `KERAS_SSL_DATA_DIR` names.
        columns: those that the script needs; all of the file are returned.
        flags: whether to keep the group `flags`, whose drawings look alike.
    """
    if folder is None and (shared := os.environ.get("KERAS_SSL_DATA_DIR")):
        folder = Path(shared) / "emoji"
    if folder is None or not (folder / "emoji.tsv").is_file():
        parser.error(
            f"there is no emoji.tsv in the folder {folder}; the head of this script says what it "
            "holds"
        )
    head, *rows = read_columns(folder / "emoji.tsv")
    if missing := {*columns, "group"} - set(head):
        parser.error(f"emoji.tsv lacks the columns {sorted(missing)}; it has {head}")
    if wrong := [number for number, row in enumerate(rows, start=2) if len(row) != len(head)]:
        parser.error(f"line {wrong[0]} of emoji.tsv has not the {len(head)} columns of its head")
    found = {name: np.array([row[n] for row in rows]) for n, name in enumerate(head)}
    kept = np.flatnonzero(flags | (found["group"] != "flags"))
    images, present = {}, {}
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            images[path.stem], present[path.stem] = file["images"][kept], file["present"][kept]
    return Emoji({name: column[kept] for name, column in found.items()}, images, present)


def check_vendor(parser: argparse.ArgumentParser, emoji: Emoji, option: str, vendor: str) -> None:
    """End with an error unless an option names one of two vendors or more."""
    if vendor not in emoji.images or len(emoji.images) < 2:
        parser.error(
            f"{option} {vendor} must be one of two vendors or more; there are "
            f"{sorted(emoji.images)}"
        )


def drawings_of(emoji: Emoji, vendors: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return all drawings of some vendors, and for each the row of its emoji."""
    rows = [np.flatnonzero(emoji.present[vendor]) for vendor in vendors]
    images = [emoji.images[vendor][some] for vendor, some in zip(vendors, rows, strict=True)]
    return np.concatenate(images), np.concatenate(rows)


def tags_of(emoji: Emoji, column: str = "tags_en") -> list[list[str]]:
    """Return the tags of each emoji."""
    return [tags.split("|") for tags in emoji.columns[column]]


def equal_drawings(images: np.ndarray) -> np.ndarray:
    """Return numbers `(images,)`, the same for drawings that are equal to the byte."""
    return np.unique([one.tobytes() for one in images], return_inverse=True)[1]


def framed(emoji: Emoji) -> Emoji:
    """Return emoji whose drawings are centered and of one size; vendors leave other margins."""
    return emoji._replace(images={name: _framed(one) for name, one in emoji.images.items()})


def _framed(images: np.ndarray) -> np.ndarray:
    height, width = images.shape[1:3]
    sides = []
    for axis, size in ((2, height), (1, width)):
        is_drawn = (images < 245).any(axis=-1).any(axis=axis)
        first = is_drawn.argmax(axis=1)
        last = size - 1 - is_drawn[:, ::-1].argmax(axis=1)
        sides.append((first, last, is_drawn.any(axis=1)))
    half = MARGIN * np.maximum(*((last - first + 1) / 2 for first, last, _ in sides))
    half = np.where(sides[0][2], half, height / 2)  # one that is all white stays as it is
    starts, ends = [], []
    for (first, last, _), size in zip(sides, (height, width), strict=True):
        middle = (first + last + 1) / 2
        starts.append((middle - half) / (size - 1))
        ends.append((middle + half - 1) / (size - 1))
    boxes = np.stack([*starts, *ends], axis=1)
    found = tf.image.crop_and_resize(
        images, boxes, np.arange(len(images)), (height, width), extrapolation_value=255.0
    )
    return np.round(found).astype("uint8")


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Return images of another size, in bytes."""
    return np.concatenate(
        [
            np.round(tf.image.resize(some, (size, size), "area")).astype("uint8")
            for some in np.array_split(images, 1 + len(images) // 1000)
        ]
    )


def nearest(known: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the number of the known image that each image is nearest to, by its pixels."""
    known, images = (one.reshape(len(one), -1).astype("float32") for one in (known, images))
    squares = np.sum(np.square(known), axis=1)
    return np.concatenate(
        [np.argmin(squares - 2 * one @ known.T, 1) for one in np.array_split(images, 8)]
    )
