"""`keras-ssl pretrain`: runs in folders."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_ssl
from tests.cli.conftest import SMALL, write_images

ROOT = Path(__file__).resolve().parents[2]
VIT = ("--encoder", "vit((16, 1, 2), patch_size=4)")
DECODER = ("--decoder", "TokenDecoder(8, depth=1, num_heads=2)")
HEAD = ("--projector", "ProjectionHead((16, 8))")
CROPS = ("--augment", "MultiCropViews(16, 8, local_count=1)")
# two views, a teacher with crops, hidden patches, pixels, two optimizers, a pretext task, ...
METHODS = {
    "BYOL": (*HEAD, "--predictor", "PredictionHead(8)"),
    "DINO": (*HEAD, *CROPS, "--prototypes", "Prototypes(32)", "--freeze-steps", "1"),
    "MAE": (*VIT, *DECODER, "--no-normalize-pixels"),
    "VAE": ("--latent-dim", "4"),
    "ContextEncoder": ("--random", "--overlap", "1"),
    "RotationPrediction": (),
    "InstanceDiscrimination": (*HEAD, "--noise-samples", "4"),
    "SupCon": HEAD,
}


def history(folder):
    return np.genfromtxt(folder / "log.csv", delimiter=",", names=True)


def weights(folder):
    return keras.saving.load_model(folder / "trainer.keras", compile=False).get_weights()


def test_what_a_run_leaves(run_of_simclr):
    _, folder = run_of_simclr
    files = {
        "config.json",
        "curves.png",
        "encoder.keras",
        "log.csv",
        "report.html",
        "trainer.keras",
    }
    assert {path.name for path in folder.iterdir()} >= {*files, "checkpoints", "preset"}
    assert history(folder)["epoch"].tolist() == [0, 1]
    config = json.loads((folder / "config.json").read_text())
    assert (config["method"], config["epochs"], config["finished"]) == ("SimCLR", 2, True)
    encoder = keras.saving.load_model(folder / "encoder.keras")
    assert encoder(np.zeros((2, 16, 16, 3))).shape == (2, 32)
    preset = keras_ssl.from_preset(folder / "preset")
    assert (preset.card["method"], preset.card["epochs"]) == ("SimCLR", 2)


def test_a_finished_run_says_so(run_of_simclr, command):
    options, folder = run_of_simclr
    before = (folder / "trainer.keras").read_bytes()
    status, printed, _ = command(*options, "--epochs", 2)
    assert status == 0
    assert "has finished, after 2 epochs. More --epochs continue it" in printed
    assert (folder / "trainer.keras").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (("--method", "byol"), "method 'SimCLR', now 'BYOL'"),
        (("--seed", 1), "seed 0, now 1"),
        (("--loss", "DCL"), r"loss 'NTXent(temperature=0.2)', now 'DCL'"),
        (("--epochs", 1), "is of 2 epochs. Received: --epochs 1"),
    ],
)
def test_another_run_is_not_overwritten(changed, named, run_of_simclr, command):
    options, folder = run_of_simclr
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    status, _, complaint = command(*options, "--epochs", 2, *changed)
    assert status == 2
    assert named in complaint
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_folder_that_is_no_run_is_not_touched(run_of_simclr, command, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    status, _, complaint = command(*run_of_simclr[0], "--out", tmp_path)
    assert status == 2
    assert "is not empty and no folder of a run" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.few(2)
@pytest.mark.parametrize("method", METHODS)
def test_methods_of_each_kind_train_by_their_names(method, pictures, command, tmp_path):
    options = ("--method", method, "--data", pictures, "--out", tmp_path / "run")
    status, _, complaint = command("pretrain", *options, *SMALL, *METHODS[method], "--epochs", 1)
    assert (status, complaint) == (0, "")
    assert np.all(np.isfinite(history(tmp_path / "run").tolist()))


@pytest.mark.full
def test_methods_that_learn_from_earlier_runs(run_of_simclr, pictures, command, tmp_path):
    def train(method, *options):
        settings = ("--method", method, "--data", pictures, *SMALL, *options, "--epochs", 1)
        status, _, complaint = command("pretrain", *settings, "--out", tmp_path / method)
        assert (status, complaint) == (0, "")
        assert np.all(np.isfinite(history(tmp_path / method).tolist()))

    train("KnowledgeDistillation", "--teacher", run_of_simclr[1])
    train("MAE", *VIT, *DECODER)
    quantizer = ("--quantizer", "VectorQuantizer(8, 'cosine', commitment=1.0)")
    tokens = ("--projector", "ProjectionHead((16, 8), normalization=False)", *quantizer, *DECODER)
    train("VQKD", *VIT, *tokens, "--teacher", tmp_path / "MAE")
    deep, decoder = "vit((16, 2, 2), patch_size=4)", "TransformerEncoderBlock(2, 32)"
    tokenizer = ("--tokenizer", f"{tmp_path / 'VQKD'}:tokenizer")
    train("BEiTv2", "--encoder", deep, *tokenizer, "--decoder", decoder)


def test_an_encoder_is_no_tokenizer(run_of_simclr, pictures, command, tmp_path):
    options = ("--method", "beit", "--data", pictures, *SMALL, *VIT, "--out", tmp_path / "run")
    status, _, said = command("pretrain", *options, "--tokenizer", run_of_simclr[1])
    assert status == 2 and "such as `trainer.tokenizer` of a trained `trainers.VQKD`" in said
    assert not (tmp_path / "run").exists()


def test_options_from_a_file(run_of_simclr, command, tmp_path):
    _, folder = run_of_simclr
    # the settings of a run are such a file, and repeat it
    status, *_ = command(
        "pretrain", "--config", folder / "config.json", "--out", tmp_path / "again", "--verbose", 0
    )
    assert status == 0
    assert history(tmp_path / "again")["loss"] == pytest.approx(history(folder)["loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "--method is needed"),
        (("--method", "dimo"), "there is no method 'dimo'. Did you mean DINO?"),
        (
            ("--method", "dino", "--epocs", "1"),
            "there is no option --epocs. Did you mean --epochs?",
        ),
        (("--method", "dino", "--momentun=1"), "no option --momentun. Did you mean --momentum?"),
        (("--method", "dino", "--epochs", "two"), "argument --epochs: invalid int value: 'two'"),
        (("--method", "dino", "--epochs", "0"), "`--epochs` must be"),
        (("--method", "dino", "--encoder", "resnet81"), "Did you mean resnet18?"),
        (("--method", "dino", "--momentum", "1.5"), "`momentum` must be"),
        (("--method", "dino", "--data", "no_such_set_of_images"), "no_such_set_of_images"),
        (("--method", "jigsaw-puzzle", "--patch-size", "5"), "room for nine patches"),
        (("--method", "colorization", "--channels", "1"), "Grey images have none"),
        (("--method", "simclr", "--batch-size", "25"), "at most the number of examples, 24"),
        (("--method", "mae", "--image-size", "31"), "divisible into 7x7 or more patches"),
    ],
)
def test_what_is_wrong_is_one_sentence(options, complaint, pictures, command, tmp_path):
    given = ("--data", pictures) if "--data" not in options else ()
    small = ("--image-size", 16, "--epochs", 1)
    status, _, said = command("pretrain", *given, *small, *options, "--out", tmp_path / "run")
    assert status == 2
    assert complaint in said
    assert said.startswith("keras-ssl: error: ") and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold options by name"),
        ('{"epocs": 1}', "'epocs', which is no option of SimCLR. Did you mean epochs?"),
    ],
)
def test_a_bad_file_of_options(config, complaint, pictures, command, tmp_path):
    (tmp_path / "options.json").write_text(config)
    options = ("--method", "simclr", "--data", pictures, "--out", tmp_path / "run")
    status, _, said = command("pretrain", *options, "--config", tmp_path / "options.json")
    assert status == 2 and complaint in said


def test_too_few_images(command, tmp_path):
    options = ("--method", "simclr", "--out", tmp_path / "run")
    status, _, said = command("pretrain", *options, "--data", write_images(tmp_path / "one", 1))
    assert status == 2 and "at least 2 examples in --data. Received: 1" in said
    (tmp_path / "none").mkdir()
    status, _, said = command("pretrain", *options, "--data", tmp_path / "none")
    assert status == 2 and "with image files" in said


def test_labels_that_are_missing(command, tmp_path):
    images = write_images(tmp_path / "images", 4)
    (images / "dark" / "00.jpg").rename(images / "00.jpg")
    options = ("--method", "sup-con", "--data", images, "--out", tmp_path / "run")
    status, _, said = command("pretrain", *options)
    assert status == 2 and "one subfolder per class" in said


def test_help_shows_the_options_of_a_method(command):
    status, printed, _ = command("pretrain", "--method", "dino", "--help")
    assert status == 0
    assert "--freeze-steps" in printed and "one epoch in the paper" in " ".join(printed.split())
    assert "2104.14294" in printed


@pytest.mark.slow
def test_a_run_that_was_killed_ends_as_one_that_was_not(pictures, tmp_path):
    def start(folder):
        options = ("--method", "moco", "--data", pictures, *SMALL, *HEAD, "--out", folder)
        options += ("--queue", "FeatureQueue(16)", "--epochs", "9", "--backup-steps", "1")
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "Agg"}
        return subprocess.Popen(
            [sys.executable, "-m", "keras_ssl", "pretrain", *map(str, options)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    other = start(whole)
    process = start(killed)
    deadline = time.monotonic() + 600
    while not (killed / "log.csv").exists() or (killed / "log.csv").read_text().count("\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (killed / "trainer.keras").exists()
    printed, _ = start(killed).communicate(timeout=600)
    assert "Resuming" in printed
    assert other.communicate(timeout=600) and other.returncode == 0
    for one, another in zip(weights(killed), weights(whole), strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-5, atol=1e-6)
    assert (killed / "log.csv").read_text().count("\n") == 10
