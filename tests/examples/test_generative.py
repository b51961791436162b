"""The examples of generative methods, from the first step to the pictures."""

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
    *("--train-split", "train[:256]", "--test-split", "test[:256]", "--batch-size", "64"),
    *("--epochs", "1", "--output", "out"),
)


def check(folder, *files):
    for file in files:
        assert (folder / file).exists(), file
    return json.loads((folder / "report.json").read_text())


def test_autoencoder(tmp_path):
    run("autoencoder.py", *TINY, "--widths", "4", "8", cwd=tmp_path)
    kinds = ("undercomplete", "denoising", "sparse")
    files = [f"{kind}.{suffix}" for kind in kinds for suffix in ("png", "keras")]
    assert list(check(tmp_path / "out", *files)) == list(kinds)


def test_vae_on_two_replicas(tmp_path):
    small = ("--widths", "4", "8", "--features", "16", "--latent", "4", "--draws", "2")
    run("vae.py", *TINY, *small, "--strategy", "mirrored", "--replicas", "2", cwd=tmp_path)
    pictures = ("curves", "reconstructions", "samples", "traversal", "interpolation")
    files = ("encoder.keras", "decoder.keras", *(f"{name}.png" for name in pictures))
    assert check(tmp_path / "out", *files)["latent variables"] == 4


def test_conditional_gan(tmp_path):
    small = ("--width", "4", "--latent", "8", "--conditional")
    run("gan.py", *TINY, *small, cwd=tmp_path)
    files = ("generator.keras", "curves.png", "epochs/epoch_0001.png")
    assert set(check(tmp_path / "out", *files)["losses"]) == {"generator", "discriminator", "loss"}
