"""The examples of vision transformers, from the first step to the pictures."""

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
    *("--train-split", "train[:256]", "--test-split", "test[:128]", "--batch-size", "64"),
    *("--patch-size", "7", "--encoder", "16", "2", "2", "--epochs", "1", "--output", "out"),
)
REPORT = ["encoder", "random encoder", "raw pixels"]


def check(folder, *files):
    for file in ("encoder.keras", "attention.png", *files):
        assert (folder / file).exists(), file
    assert not list(folder.glob("backup*"))
    return json.loads((folder / "report.json").read_text())


def test_mae(tmp_path):
    run("mae.py", *TINY, "--decoder", "16", "1", "2", cwd=tmp_path)
    assert list(check(tmp_path / "out", "reconstructions.png", "curves.png")) == REPORT


def test_ibot_on_two_replicas(tmp_path):
    heads = ("--projector", "16", "8", "--prototypes", "16", "--local-size", "14")
    run("ibot.py", *TINY, *heads, "--strategy", "mirrored", "--replicas", "2", cwd=tmp_path)
    assert list(check(tmp_path / "out", "views.png", "masks.png", "curves.png")) == REPORT


def test_beit_keeps_finished_stages(tmp_path):
    stages = ("--teacher-epochs", "1", "--tokenizer-epochs", "1", "--codes", "16")
    decoder = ("--code-width", "8", "--tokenizer-decoder", "16", "1", "2")
    printed = run("beit.py", *TINY, *stages, *decoder, cwd=tmp_path)
    assert [f"Stage: {name}" in printed for name in ("teacher", "tokenizer", "beit")] == [True] * 3
    reports = check(
        tmp_path / "out", "codes.png", "masks.png", "teacher.png", "tokenizer.png", "beit.png"
    )
    assert list(reports) == ["teacher", "BEiT v2"] and list(reports["BEiT v2"]) == REPORT
