"""The formula of docs/scaling.md, held against bytes that two workers exchange."""

import sys
from pathlib import Path

import keras
import pytest

if sys.platform != "linux":
    pytest.skip("reads Linux' counters", allow_module_level=True)
if keras.backend.backend() != "tensorflow":
    pytest.skip("needs the TensorFlow backend", allow_module_level=True)

from benchmarks.worker_traffic import Setting, measure

ROOT = Path(__file__).resolve().parents[2]

FEW = Setting("dense", width=512, embedding=64, images=16, size=8)
MANY = Setting("dense", width=512, embedding=64, images=512, size=8)
NORMALIZED = Setting("resnet18", width=8, embedding=32, images=8, size=8)


@pytest.mark.full
def test_two_workers_send_what_the_formula_says(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("TF_CONFIG", raising=False)
    few, many, normalized = measure((FEW, MANY, NORMALIZED), steps=10)
    sent = {}
    for name, workers in (("few", few), ("many", many), ("normalized", normalized)):
        sent[name] = sum(worker["sent"] for worker in workers) / 2
        predicted = workers[0]["predicted"]["total"]
        assert workers[1]["predicted"]["total"] == predicted
        # what one has sent the other has received, up to what was on its way
        assert workers[0]["sent"] == pytest.approx(workers[1]["received"], rel=0.01)
        # messages have more than their tensor, and never less
        assert predicted <= sent[name] <= 1.1 * predicted
    # the two differ in nothing but the gathered embeddings
    gathered = many[0]["predicted"]["gathered"] - few[0]["predicted"]["gathered"]
    assert gathered == 3 * (512 - 16) * 2 * 64 * 4
    assert sent["many"] - sent["few"] == pytest.approx(gathered, rel=0.02)
