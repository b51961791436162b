"""The example of segmentation, from the first step to the table."""

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
    *("--train-split", "train[:600]", "--test-split", "test[:192]", "--batch-size", "16"),
    *("--widths", "8", "16", "--epochs", "6", "--canvas", "36", "--output", "out"),
)


def test_two_replicas_learn_masks(tmp_path):
    printed = run(
        "unet_segmentation.py", *TINY, "--strategy", "mirrored", "--replicas", "2", cwd=tmp_path
    )
    folder = tmp_path / "out"
    for file in ("unet.keras", "curves.png", "predictions.png"):
        assert (folder / file).exists(), file
    network, threshold, everything = json.loads((folder / "report.json").read_text())
    assert [network["mask"], everything["mask"]] == ["U-Net", "everything"]
    assert threshold["mask"].startswith("brightness above")
    assert network["IoU"] > everything["IoU"] > 0.2
    # all pixels of a mask of everything count, so its right ones are the share of the foreground
    assert everything["IoU"] == everything["right pixels"]
    assert "| U-Net |" in printed
