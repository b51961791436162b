"""The example of captions, on squares and bars of a few colors by three vendors."""

import json

import keras
import numpy as np
import pytest

from keras_ssl import text
from tests.examples.run import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
    ),
]

COLORS = {"Red": (220, 30, 30), "green": (30, 180, 30), "blue": (30, 30, 220), "black": (0, 0, 0)}
SHAPES = {"square": (8, 24, 8, 24), "bar, upright": (2, 30, 12, 20), "bar": (12, 20, 2, 30)}
TINY = (
    *("--held-out", "third", "--size", "16", "--widths", "8", "16", "--width", "32"),
    *("--batch-size", "8", "--epochs", "60", "--learning-rate", "1e-2", "--warmup", "20"),
    *("--dropout", "0", "--color", "0.1", "--beams", "2", "--shown", "7", "--output", "out"),
)


def write_drawings(folder):
    """Names of a color and a shape, which vendors draw at other places, and a flag."""
    folder.mkdir()
    things = [(color, shape) for color in COLORS for shape in SHAPES]
    lines = ["hexcode\tgroup\tname_en", "0\tflags\tflag: Red"]
    lines += [f"{n}\tthings\t{color} {shape}" for n, (color, shape) in enumerate(things, 1)]
    (folder / "emoji.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    random = np.random.default_rng(0)
    for vendor in ("first", "second", "third"):
        images = np.full((len(things) + 1, 32, 32, 3), 255, "uint8")
        for image, (color, shape) in zip(images[1:], things, strict=True):
            top, bottom, left, right = SHAPES[shape] + random.integers(-2, 3, 4)
            image[max(top, 0) : bottom, max(left, 0) : right] = COLORS[color]
        present = np.arange(len(images)) != (3 if vendor == "first" else -1)
        np.savez(folder / f"{vendor}.npz", images=images, present=present)


def test_names_the_drawings_of_another_vendor(tmp_path):
    write_drawings(tmp_path / "drawings")
    printed = run("caption_emoji.py", "drawings", *TINY, cwd=tmp_path)
    # eleven drawings of the first vendor and twelve of the second; seven words, five special tokens
    assert "{'to learn from': 23, 'to name': 12, 'words': 12}" in printed
    folder = tmp_path / "out"
    rows = json.loads((folder / "report.json").read_text())
    assert [row["name"] for row in rows] == [
        "captioner, greedy",
        "captioner, 2 beams",
        "nearest drawing, all pixels",
        "nearest drawing, 8x8 pixels",
    ]
    for row in rows:
        assert float(row["word match"][:-2]) >= float(row["exact match"][:-2])
    assert float(rows[0]["exact match"][:-2]) > 60
    lines = (folder / "captions.tsv").read_text().splitlines()
    assert len(lines) == 13 and lines[1].startswith("red square\t")
    for name in ("captions", "curves"):
        assert np.std(keras.utils.load_img(folder / f"{name}.png")) > 5  # not blank
    model = keras.saving.load_model(folder / "captioner.keras")
    assert isinstance(model, text.TextModel)
    with np.load(tmp_path / "drawings" / "third.npz") as file:
        small = file["images"][1:].reshape(12, 16, 2, 16, 2, 3).mean((2, 4)).round()
    assert model.caption_images(small) == [line.split("\t")[1] for line in lines[1:]]
