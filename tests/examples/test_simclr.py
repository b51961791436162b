import json
import signal
import time
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from tests.examples.run import run, start

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)

TINY = (
    *("--encoder", "small", "--stem", "strided", "--width", "4", "--projector", "32", "16"),
    *("--train-split", "train[:512]", "--test-split", "test[:256]", "--batch-size", "128"),
)


def logged_epochs(folder):
    return [json.loads(line)["epoch"] for line in (folder / "log.jsonl").open()]


@pytest.mark.slow
def test_trains_on_two_replicas_and_measures(tmp_path):
    tensorboard = ["--tensorboard"] if find_spec("tensorboard") else []
    printed = run(
        *("simclr.py", *TINY, "--epochs", "2", "--output", "out", *tensorboard),
        *("--strategy", "mirrored", "--replicas", "2", "--optimizer", "lars", "--scaling", "sqrt"),
        *("--learning-rate", "0.075", "--precision", "mixed_bfloat16"),
        *("--micro-batch-size", "32", "--chunk-size", "64"),
        cwd=tmp_path,
    )
    folder = tmp_path / "out"
    report = json.loads((folder / "report.json").read_text())
    assert list(report) == ["encoder", "random encoder", "raw pixels"]
    assert "\n| raw pixels " in printed
    assert str(folder) in printed
    assert logged_epochs(folder) == [0, 1]
    for file in ("encoder.keras", "views.png", "embedding.png", "curves.png"):
        assert (folder / file).exists()
    assert (folder / "tensorboard").exists() == bool(tensorboard)
    assert not (folder / "backup").exists()


@pytest.mark.full
def test_two_workers_train_and_the_chief_measures(tmp_path):
    arguments = ("--strategy", "multi_worker", "--resume", "if_any", "--output", "out")
    printed = run("simclr.py", *TINY, *arguments, "--epochs", "2", cwd=tmp_path, workers=2)
    folder = tmp_path / "out"
    report = json.loads((folder / "report.json").read_text())
    assert list(report) == ["encoder", "random encoder", "raw pixels"]
    assert logged_epochs(folder) == [0, 1]
    for file in ("encoder.keras", "views.png", "embedding.png", "curves.png"):
        assert (folder / file).exists()
    assert "[worker 0] Epoch 2/2" in printed
    assert "[worker 1] Epoch" not in printed and "[worker 1] | encoder" not in printed


def epochs_done(backup):
    with np.load(backup) as file:
        return json.loads(file["manifest"].tobytes())["position"]["epoch"]


@pytest.mark.full
def test_killed_run_resumes_where_it_was(tmp_path):
    epochs = 40
    folder = tmp_path / "out"
    process = start("simclr.py", *TINY, "--epochs", str(epochs), "--output", "out", cwd=tmp_path)
    backup = folder / "backup" / "backup.npz"
    deadline = time.monotonic() + 300
    # the first backup comes before the first step
    while not backup.exists() or epochs_done(backup) == 0:
        assert process.poll() is None, process.stdout.read()[-5000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = epochs_done(backup)
    assert 0 < done < epochs

    # without --resume the killed run is not overwritten
    process = start("simclr.py", *TINY, "--output", "out", cwd=tmp_path)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "--resume" in printed

    # two epochs more, so that the test is short: an argument given now wins over the stored one
    epochs = done + 2
    arguments = ("--resume", "--output", "out", "--epochs", str(epochs))
    printed = run("simclr.py", *arguments, cwd=tmp_path)
    assert f"Epoch {done + 1}/{epochs}" in printed
    assert f"Epoch {done}/{epochs}" not in printed
    assert sorted(set(logged_epochs(folder))) == list(range(epochs))
    assert json.loads((folder / "settings.json").read_text())["width"] == 4


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--resume", "--output", "nowhere"), "there is no run in nowhere"),
        (("--train-split", "train[:64]", "--batch-size", "128"), "--batch-size 128 is larger"),
    ],
)
def test_mistakes_are_named(tmp_path, arguments, message):
    process = start("simclr.py", *arguments, cwd=tmp_path)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert message in printed
