"""Time of a backup and of an epoch in a run of CIFAR-10's size.

    taskset -c 0,1 python benchmarks/backup.py

SimCLR with ResNet-18 of width 32 on images of 32x32, batches of 256: times training steps and whole
backups in one run, in turns, and tells what a backup every epoch of 50,000 images adds. An epoch is
195 steps; `--steps` of them are timed and scaled. The images are random: neither side looks at what
is on them.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from measure import print_machine, print_table

from keras_ssl import augment, callbacks, layers, losses, networks, optimizers, trainers

IMAGES = 50_000
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(1e-3),
    "lars": lambda: optimizers.LARS(0.3, weight_decay=1e-6),
}


def make_trainer(optimizer: str) -> trainers.SimCLR:
    """The trainer of the CIFAR-10 benchmark, compiled."""
    trainer = trainers.SimCLR(
        encoder=networks.resnet18((None, None, 3), width=32, stem=networks.cifar_stem),
        projector=layers.ProjectionHead((256, 128)),
        augment=augment.SimCLRViews(32),
        loss=losses.NTXent(0.5),
    )
    trainer.compile(OPTIMIZERS[optimizer]())
    return trainer


class Timer(keras.callbacks.Callback):
    """Times each step, from the end of the one before; backups happen between steps."""

    def __init__(self):
        super().__init__()
        self.seconds = []
        self.since = None

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.since = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stop it when the device is done: reading a value waits for it."""
        float(logs["loss"])
        self.seconds.append(time.perf_counter() - self.since)


class TimedBackup(callbacks.BackupAndResume):
    """Times whole backups: reading the variables, writing, and waiting for the disk."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.seconds = []

    def _back_up(self, *arguments, **options) -> None:
        start = time.perf_counter()
        super()._back_up(*arguments, **options)
        self.seconds.append(time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adam")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=12, help="timed, after two to warm up")
    parser.add_argument("--folder", help="where to write; a folder for temporary files by default")
    arguments = parser.parse_args()
    print_machine()
    keras.utils.set_random_seed(0)
    trainer = make_trainer(arguments.optimizer)
    images = arguments.batch_size * (arguments.steps + 2)
    x = np.random.default_rng(0).integers(0, 256, (images, 32, 32, 3), dtype="uint8")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        backup, timer = TimedBackup(Path(folder) / "backup", every_steps=1), Timer()
        trainer.fit(
            x, batch_size=arguments.batch_size, verbose=0, shuffle=False, callbacks=[backup, timer]
        )
        size = backup.path.stat().st_size
        with np.load(backup.path) as file:
            variables = len(json.loads(file["manifest"].tobytes())["by_replica"])
    steps = IMAGES // arguments.batch_size
    print(f"{trainer.count_params():,} parameters, {variables} variables, {size / 1e6:.1f} MB")
    epoch = f"epoch of {steps} steps"
    seconds = {
        epoch: steps * np.median(timer.seconds[2:]),
        "one step": np.median(timer.seconds[2:]),
        "backup, median": np.median(backup.seconds[1:]),
        "backup, slowest": max(backup.seconds[1:]),
    }
    print_table(seconds, per=epoch)


if __name__ == "__main__":
    main()
