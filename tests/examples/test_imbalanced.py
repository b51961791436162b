"""The example on classes of unequal frequency compares four ways of training."""

import re
import runpy
import sys
from pathlib import Path

import keras
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data needs TensorFlow")
def test_rare_classes_gain_by_equal_frequency(monkeypatch, capsys):
    arguments = "--largest 150 --imbalance 50 --epochs 4 --restored-epochs 1"
    monkeypatch.setattr(sys, "argv", ["imbalanced", *arguments.split()])
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / "imbalanced.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "of each class: 150, 97, 63, 41, 26, 17, 11, 7, 5, 3" in printed
    rows = [line.strip("|").split("|") for line in re.findall(r"^\|.*%.*$", printed, re.MULTILINE)]
    rare = {row[0].strip(): float(row[2].strip(" %")) for row in rows}
    assert len(rare) == 4
    assert rare["equal classes"] > rare["as is"]
