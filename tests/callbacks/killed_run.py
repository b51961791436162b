"""A training script that kills itself where it is told to: see test_killed_runs.py.

    python killed_run.py FOLDER --kill 1:3 --kill-worker 0

After a kill the same command finds the mark in FOLDER and goes on.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf

from keras_ssl import distribute
from keras_ssl.callbacks import BackupAndResume
from keras_ssl.trainers import OnlineProbe
from tests.trainers.cases import CASES
from tests.trainers.small import images


class KillAt(keras.callbacks.Callback):
    """Send SIGKILL to this process when a step ends, once."""

    def __init__(self, epoch, step, mark):
        super().__init__()
        self.at, self.mark = (epoch, step), mark

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def main():
    """Train a trainer of the contract and write all its variables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trainer", default="SimCLR with batch norm")
    parser.add_argument("--strategy", default="one_device")
    parser.add_argument("--kill", help="epoch:step")
    parser.add_argument("--kill-worker", type=int, default=0)
    parser.add_argument("--own-folders", action="store_true", help="one a worker: a mistake")
    arguments = parser.parse_args()

    tf.config.experimental.enable_op_determinism()
    strategy = distribute.strategy(arguments.strategy, seed=1, timeout=60.0)
    index = 0
    if arguments.strategy == "multi_worker":
        index = strategy.cluster_resolver.task_id
    case = CASES[arguments.trainer]
    with strategy.scope():
        trainer = case.make()
        trainer.compile(case.optimizer(), probe=OnlineProbe(10))

    backups = arguments.folder / (f"backup{index}" if arguments.own_folders else "backup")
    callbacks = [BackupAndResume(backups, every_steps=2)]
    if arguments.kill and index == arguments.kill_worker:
        epoch, step = map(int, arguments.kill.split(":"))
        callbacks.append(KillAt(epoch, step, arguments.folder / "killed"))
    x, y = case.x()[:128], images()[1][:128]
    history = trainer.fit(x, y, batch_size=32, epochs=3, verbose=2, callbacks=callbacks)

    arrays = {
        f"{name} {number}": variable.numpy()
        for name, group in trainer.training_variables().items()
        if name != "metrics"  # replicas keep shares of them
        for number, variable in enumerate(group)
    }
    np.savez(arguments.folder / f"worker{index}.npz", loss=history.history["loss"], **arrays)


if __name__ == "__main__":
    main()
