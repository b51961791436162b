"""A training script that kills itself where it is told to: see test_killed_runs.py.

    python killed_run.py FOLDER --kill 0:1:2 --kill 1:2:begin

Worker 0 dies after step 2 of epoch 1, worker 1 at the beginning of epoch 2 (numbers from 0), each
once: after a kill, the same command finds the mark in FOLDER and goes on.
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
from keras.layers import Dense, Flatten

from keras_ssl import augment, distribute
from keras_ssl.callbacks import BackupAndResume
from keras_ssl.layers import SyncBatchNormalization
from keras_ssl.trainers import OnlineProbe, SimCLR


class KillAt(keras.callbacks.Callback):
    """Send SIGKILL to this process when a step ends or an epoch begins, once."""

    def __init__(self, epoch, step, mark):
        super().__init__()
        self.at, self.mark = (epoch, step), mark

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.kill_at("begin")

    def on_train_batch_end(self, batch, logs=None):
        self.kill_at(str(batch))

    def kill_at(self, step):
        if (self.epoch, step) == self.at and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def make_trainer():
    """SimCLR with batch normalisation, Adam and an online probe."""
    # Keras' own batch normalisation would keep separate statistics in each worker
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), Flatten(), Dense(16), SyncBatchNormalization()]
    )
    trainer = SimCLR(encoder, Dense(8), augment.SimCLRViews(8, seed=0))
    trainer.compile(keras.optimizers.Adam(1e-2), probe=OnlineProbe(3))
    return trainer


def main():
    """Train and write the losses and all variables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--strategy", default="one_device")
    parser.add_argument("--kill", action="append", default=[], help="worker:epoch:step")
    arguments = parser.parse_args()

    tf.config.experimental.enable_op_determinism()
    strategy = distribute.strategy(arguments.strategy, seed=1, timeout=60.0)
    index = 0
    if arguments.strategy == "multi_worker":
        index = strategy.cluster_resolver.task_id
    with strategy.scope():
        trainer = make_trainer()

    callbacks = [BackupAndResume(arguments.folder / "backup", every_steps=2)]
    for kill in arguments.kill:
        worker, epoch, step = kill.split(":")
        if int(worker) == index:
            callbacks.append(KillAt(int(epoch), step, arguments.folder / f"killed {kill}"))
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (128, 8, 8, 1), "uint8"), rng.integers(0, 3, 128)
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
