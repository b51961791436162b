"""The launcher around real training: a worker dies, and the run ends as if it had not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

if sys.platform == "win32":
    pytest.skip("the launcher needs process groups", allow_module_level=True)
if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 4
SCRIPT = f"""
import os, signal, sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
from keras_ssl import callbacks, distribute, losses, trainers

strategy = distribute.strategy("multi_worker", seed=0)
index = strategy.cluster_resolver.task_id
with strategy.scope():
    encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8)])
    trainer = trainers.SimCLR(encoder, projector=keras.layers.Dense(4))
    trainer.compile(optimizer=keras.optimizers.Adam(0.01))

def die_once(epoch, logs):
    attempts = Path("attempts")
    if index == 1 and epoch == 2 and len(attempts.read_text()) == 1 and "--die" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)

if index == 0:
    with Path("attempts").open("a") as file:
        file.write("x")
views = np.random.default_rng(0).normal(size=(2, 32, 4, 4, 3)).astype("float32")
history = trainer.fit(
    tuple(views), batch_size=8, epochs={EPOCHS}, verbose=2,
    callbacks=[
        callbacks.BackupAndResume("backup"),
        keras.callbacks.LambdaCallback(on_epoch_begin=die_once),
    ],
)
np.savez(f"weights-{{index}}.npz", *trainer.encoder.get_weights())
Path(f"losses-{{index}}.json").write_text(str(history.history["loss"]))
"""


def train(folder, *arguments):
    """Train in two workers; what the launcher has printed."""
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    launcher = [sys.executable, "-m", "keras_ssl.distribute.launch", "--workers", "2"]
    done = subprocess.run(
        [*launcher, "--restarts", "2", "--log-dir", "logs", "script.py", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def weights(folder, index):
    with np.load(folder / f"weights-{index}.npz") as file:
        return [file[name] for name in file.files]


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert "[launch]" not in train(whole)
    printed = train(killed, "--die")
    assert "[launch] worker 1 was killed by SIGKILL; stopping the others" in printed
    assert "[launch] starting all workers again (1 of 2)" in printed
    assert (killed / "attempts").read_text() == "xx"
    # the chief alone shows epochs, and the first one has not come twice
    lines = [line for line in printed.splitlines() if "Epoch" in line]
    assert all(line.startswith("[worker 0] Epoch") for line in lines)
    numbers = [int(line.split()[3].partition("/")[0]) for line in lines]
    assert numbers.count(1) == 1 and numbers[-2:] == [3, 4]
    for index in (0, 1):
        for mine, theirs in zip(weights(killed, index), weights(whole, 0), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        losses = [
            json.loads((folder / f"losses-{index}.json").read_text()) for folder in (whole, killed)
        ]
        assert losses[0] == losses[1] and len(losses[0]) == EPOCHS
    assert "Epoch" in (killed / "logs" / "worker-0.log").read_text()
