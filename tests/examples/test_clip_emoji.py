"""The example that learns CLIP on emoji, on squares and bars of a few colors."""

import json

import keras
import numpy as np
import pytest

from keras_ssl import text, trainers
from tests.examples.drawings import write_drawings
from tests.examples.run import run, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
    ),
]

TINY = (
    *("--held-out", "third", "--names-held-out", "3", "--flags", "--size", "16", "--length", "8"),
    *("--widths", "8", "16", "--channels", "8", "--text", "8", "1", "2", "--width", "8"),
    *("--batch-size", "5", "--epochs", "2", "--shown", "3"),
)


def test_finds_drawings_by_texts(tmp_path):
    write_drawings(tmp_path / "drawings")
    printed = run("clip_emoji.py", "drawings", *TINY, "--output", "out", cwd=tmp_path)
    # the square of red that the first vendor lacks is drawn by the second
    assert "{'names to learn': 10, 'words':" in printed
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    searches = [
        "drawing by name",
        "name by drawing",
        "drawing of first",
        "drawing of second",
    ]
    expected = [(part, search) for part in ("learned", "held out") for search in searches]
    assert [(row["names"], row["search"]) for row in report["retrieval"]] == expected
    for row in report["retrieval"]:
        assert 0 <= row["recall at 1"] <= row["recall at 5"] <= 100
        is_of_drawings = row["search"].startswith("drawing of")
        assert (row["raw pixels at 1"] is not None) == is_of_drawings
    held_out = [row for row in report["retrieval"] if row["names"] == "held out"]
    assert all(row["recall at 5"] == 100 for row in held_out)  # of three at most
    for row in report["groups"]:
        assert row["chance"] == 50 and row["largest group"] > 50
    assert report["languages"] == []
    for name in ("curves", "found"):
        assert np.std(keras.utils.load_img(out / f"{name}.png")) > 5  # not blank
    assert not (out / "backup").exists()
    assert isinstance(keras.saving.load_model(out / "trainer.keras"), trainers.CLIP)
    model = keras.saving.load_model(out / "text_tower.keras")
    assert isinstance(model, text.TextModel)
    vectors = model.predict_texts(["a red square"])
    images = np.zeros((1, 16, 16, 3), "uint8")
    tower = keras.saving.load_model(out / "image_tower.keras")
    assert vectors.shape == tower.predict(images, verbose=0).shape == (1, 8)

    printed = run(
        "clip_emoji.py",
        *("drawings", *TINY, "--prompt", "a blue bar", "red", "--output", "out"),
        cwd=tmp_path,
    )
    assert "The sheet is" in printed
    assert np.std(keras.utils.load_img(out / "prompt.png")) > 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--names-held-out", "9"), "--names-held-out must be between 1 and half of 13 names"),
        (("--prompt", "red"), "--prompt needs what a run has learned"),
    ],
)
def test_bad_arguments(tmp_path, options, message):
    write_drawings(tmp_path / "drawings")
    options = ("drawings", *TINY, *options, "--output", "out")
    process = start("clip_emoji.py", *options, cwd=tmp_path)
    assert message in process.communicate(timeout=600)[0]
    assert process.returncode == 2
