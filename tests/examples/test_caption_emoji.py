"""The example of captions, on squares and bars of a few colors by three vendors."""

import json

import keras
import numpy as np
import pytest

from keras_ssl import text
from tests.examples.drawings import write_drawings
from tests.examples.run import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
    ),
]

TINY = (
    *("--held-out", "third", "--size", "16", "--widths", "8", "16", "--width", "32"),
    *("--batch-size", "8", "--epochs", "60", "--learning-rate", "1e-2", "--warmup", "20"),
    *("--dropout", "0", "--color", "0.1", "--beams", "2", "--shown", "7", "--output", "out"),
)


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
