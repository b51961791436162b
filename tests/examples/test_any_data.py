"""The examples on tables, time series and spectrograms learn something."""

import re
import runpy
import sys
from pathlib import Path

import keras
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("example", "arguments", "measure", "margin"),
    [
        ("tabular", "--epochs 20", "few-label probe", 2),
        ("tabular", "--epochs 20 --method vicreg", "few-label probe", 2),
        ("tabular", "--epochs 20 --method scarf", "few-label probe", 2),
        ("tabular", "--epochs 20 --method vime", "few-label probe", 1),
        ("time_series", "--series 600 --epochs 8", "few-label probe", 5),
        ("spectrograms", "--sounds 300 --epochs 10 --batch-size 64", "linear probe", 5),
    ],
)
def test_features_beat_a_random_encoder_and_the_raw_input(
    example, arguments, measure, margin, monkeypatch, capsys
):
    learned, *others = measured(example, arguments, measure, monkeypatch, capsys)
    assert learned > max(others) + margin


@pytest.mark.few(1)
@pytest.mark.parametrize("method", ["masked", "order"])
def test_pretext_tasks_of_series_give_features_that_beat_the_raw_series(
    method, monkeypatch, capsys
):
    arguments = f"--series 300 --epochs 2 --method {method}"
    learned, _, raw = measured("time_series", arguments, "linear probe", monkeypatch, capsys)
    assert learned > raw + 10


def measured(example, arguments, measure, monkeypatch, capsys):
    """Run an example; return a column of its table: learned, random and raw features."""
    monkeypatch.setattr(sys, "argv", [example, *arguments.split()])
    # in this process: starting another takes longer than the training
    runpy.run_path(str(EXAMPLES / f"{example}.py"), run_name="__main__")
    header, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\|(?!-).*$", capsys.readouterr().out, re.MULTILINE)
    )
    assert len(rows) == 3
    return [float(row[header.index(measure)].strip(" %")) for row in rows]
