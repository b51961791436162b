"""Images per second of two worker processes with one core each, and of one process on two cores.

    taskset -c 0,1 python benchmarks/two_workers.py

SimCLR by `model.fit`: views, a ResNet-18, NT-Xent, SGD with momentum. Both sides train on the same
global batch. They are up at the same time and take turns, so that whatever else the machine does
hits both; who does not train waits without using a core. The workers talk over loopback.
"""

import argparse
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener

from measure import interleave, medians, print_machine, print_table

AIM = 0.9
WORKERS = 2
KEY = "KERAS_SSL_BENCHMARK_KEY"


def serve(arguments: argparse.Namespace) -> None:
    """Be the single process or a worker: train an epoch whenever asked, and tell its seconds."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import keras
    import numpy as np
    import tensorflow as tf

    from keras_ssl import augment, distribute, layers, losses, networks, trainers
    from keras_ssl.networks import residual

    is_worker = "TF_CONFIG" in os.environ
    strategy = distribute.strategy("multi_worker" if is_worker else "one_device")
    size, width = arguments.size, arguments.width
    if is_worker and arguments.keras_normalization:
        residual.SyncBatchNormalization = lambda **settings: keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, synchronized=True, **settings
        )
    with strategy.scope():
        keras.utils.set_random_seed(0)
        trainer = trainers.SimCLR(
            networks.resnet18((size, size, 3), width=width),
            projector=layers.ProjectionHead((8 * width, 128)),
            augment=augment.SimCLRViews(size),
            loss=losses.NTXent(0.1),
        )
        trainer.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    shape = (arguments.steps * arguments.batch, size, size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    dataset = tf.data.Dataset.from_tensor_slices(images)
    dataset = dataset.batch(arguments.batch, drop_remainder=True).cache()

    times = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: times.append(time.perf_counter()),
        # the logs are numbers by then, so the steps are done
        on_epoch_end=lambda epoch, logs: times.append(time.perf_counter()),
    )
    with Client(("127.0.0.1", arguments.answer_to), authkey=os.environ[KEY].encode()) as asks:
        while asks.recv() == "train":
            times.clear()
            history = trainer.fit(dataset, epochs=1, verbose=0, callbacks=[watch])
            asks.send((times[1] - times[0], history.history["loss"][0]))


def ask(connections: list[Connection]) -> float:
    """Let processes train an epoch together; the seconds of the slowest."""
    for connection in connections:
        connection.send("train")
    seconds, losses = zip(*(connection.recv() for connection in connections), strict=True)
    print(f"  {max(seconds):.2f} s, loss {losses[0]:.4f}", flush=True)
    return max(seconds)


def start(listener: Listener, command: list[str], count: int) -> list[Connection]:
    """Start a command that makes so many processes; their connections."""
    subprocess.Popen(command)
    return [listener.accept() for _ in range(count)]


def main() -> None:
    """Measure, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--batch", type=int, default=256, help="images of both workers together")
    parser.add_argument("--size", type=int, default=32, help="height and width of an image")
    parser.add_argument("--steps", type=int, default=6, help="steps per epoch")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each that count")
    parser.add_argument(
        "--keras-normalization",
        action="store_true",
        help="Keras' synchronised batch norm in the workers' encoder",
    )
    parser.add_argument("--answer-to", type=int, help=argparse.SUPPRESS)  # of the processes
    arguments = parser.parse_args()
    if arguments.answer_to is not None:
        serve(arguments)
        return

    print_machine()
    os.environ[KEY] = secrets.token_hex()
    with Listener(("127.0.0.1", 0), backlog=WORKERS, authkey=os.environ[KEY].encode()) as listener:
        script = [__file__, *sys.argv[1:], "--answer-to", str(listener.address[1])]
        launcher = ["-m", "keras_ssl.distribute.launch", "--workers", str(WORKERS)]
        sides: dict[str, list[Connection]] = {
            "one process": start(listener, [sys.executable, *script], 1),
            "two workers": start(
                listener,
                [sys.executable, *launcher, "--cores-per-worker", "1", *script],
                WORKERS,
            ),
        }
        contenders: dict[str, Callable[[], float]] = {
            name: lambda connections=connections: ask(connections)
            for name, connections in sides.items()
        }
        measured = interleave(contenders, repeats=arguments.repeats)
        for connections in sides.values():
            for connection in connections:
                connection.send("end")
    images = arguments.steps * arguments.batch
    speed = {name: images / seconds for name, seconds in medians(measured).items()}
    print()
    print_table(speed, per="one process", unit="images/second")
    ratio = speed["two workers"] / speed["one process"]
    print(f"two workers / one process: {ratio:.2f} (aim: at least {AIM})")


if __name__ == "__main__":
    main()
