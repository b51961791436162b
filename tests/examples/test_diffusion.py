"""The examples of diffusion, from the first step to the pictures."""

import json

import keras
import pytest

from tests.examples.run import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)

TINY = (
    *("--train-split", "train[:256]", "--test-split", "test[:128]", "--batch-size", "64"),
    *("--epochs", "1", "--steps", "4", "--samples", "10", "--output", "out"),
    *("--samplers", "DPMSolverPlusPlus2M"),  # tests of samplers have the others
)
PICTURES = ("samples", "strips", "image_to_image", "inpainting", "curves", "epochs/epoch_0001")


def check(folder, *files):
    for file in ("trainer.keras", *(f"{name}.png" for name in (*PICTURES, *files))):
        assert (folder / file).exists(), file
    assert not list(folder.glob("backup*"))
    report = json.loads((folder / "report.json").read_text())
    assert len(report["samplers"]) == 2
    return report


@pytest.mark.slow
def test_diffusion(tmp_path):
    printed = run("diffusion.py", *TINY, "--widths", "8", "16", cwd=tmp_path)
    assert "| DPMSolverPlusPlus2M | 4 |" in printed
    assert check(tmp_path / "out")["bits_per_dimension"] > 0


@pytest.mark.full
def test_flow_on_two_replicas(tmp_path):
    parallel = ("--strategy", "mirrored", "--replicas", "2", "--method", "flow")
    run("diffusion.py", *TINY, "--widths", "8", "16", *parallel, cwd=tmp_path)
    check(tmp_path / "out")


@pytest.mark.full
def test_latent_diffusion(tmp_path):
    tiny = ("--autoencoder-epochs", "1", "--decoder-epochs", "1", "--autoencoder-widths", "8", "8")
    run("latent_diffusion.py", *TINY, "--widths", "8", *tiny, cwd=tmp_path)
    assert check(tmp_path / "out", "reconstructions")["latent_scale"] > 0
