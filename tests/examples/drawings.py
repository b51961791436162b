"""Drawings of squares and bars of a few colors by three vendors, as the examples read emoji."""

import numpy as np

COLORS = {"Red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "black": (0, 0, 0)}
SHAPES = {"square": (8, 24, 8, 24), "bar, upright": (2, 30, 12, 20), "bar": (12, 20, 2, 30)}


def write_drawings(folder):
    """Names of a color and a shape, which vendors draw at other places, and a flag."""
    folder.mkdir()
    things = [(color, shape) for color in COLORS for shape in SHAPES]
    lines = ["hexcode\tgroup\tname_en\ttags_en", "0\tflags\tflag: Red\tflag"]
    lines += [
        f"{n}\tthings\t{color} {shape}\t{color}|{shape}|thing"
        for n, (color, shape) in enumerate(things, 1)
    ]
    (folder / "emoji.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    random = np.random.default_rng(0)
    for vendor in ("first", "second", "third"):
        images = np.full((len(things) + 1, 32, 32, 3), 255, "uint8")
        for image, (color, shape) in zip(images[1:], things, strict=True):
            top, bottom, left, right = SHAPES[shape] + random.integers(-2, 3, 4)
            image[max(top, 0) : bottom, max(left, 0) : right] = COLORS[color]
        present = np.arange(len(images)) != (3 if vendor == "first" else -1)
        np.savez(folder / f"{vendor}.npz", images=images, present=present)
