"""The example of pretext tasks, from the first step to the pictures."""

import json

import keras
import pytest

from tests.examples.run import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
    ),
]

TINY = (
    *("--train-split", "train[:128]", "--test-split", "test[:64]", "--batch-size", "64"),
    *("--width", "4", "--head", "8", "--permutations", "8", "--epochs", "1", "--output", "out"),
)


@pytest.mark.few(2)
@pytest.mark.parametrize("method", ["rotation", "position", "jigsaw", "inpainting"])
def test_pretext(method, tmp_path):
    run("pretext.py", *TINY, "--method", method, cwd=tmp_path)
    out = tmp_path / "out"
    for file in ("encoder.keras", "task.png", "curves.png"):
        assert (out / file).exists(), file
    assert not list(out.glob("backup*"))
    report = json.loads((out / "report.json").read_text())
    assert list(report) == ["encoder", "random encoder", "raw pixels"]
