"""Count the bytes that two workers exchange in a training step, and compare with the formula.

    python benchmarks/worker_traffic.py

Two worker processes train SimCLR over loopback, and read from the kernel what their own TCP
connections carried between the ends of two epochs. Beside it stands what
`benchmarks/prediction/traffic.py` says, from which docs/scaling.md is computed. Linux only.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

WORKERS = 2


@dataclasses.dataclass(frozen=True)
class Setting:
    """A small SimCLR.

    Attributes:
        encoder: "resnet18", or "dense" for one without batch norm.
        width: of the first stage, or of the dense layer.
        embedding: what the projector ends in.
        images: a worker and step.
        size: height and width of an image.
    """

    encoder: str
    width: int
    embedding: int
    images: int
    size: int


SETTINGS = (
    Setting("resnet18", 32, 128, 32, 32),
    Setting("resnet18", 8, 128, 32, 16),
    Setting("dense", 512, 64, 16, 8),
    Setting("dense", 512, 64, 512, 8),
    Setting("dense", 64, 512, 256, 8),
)


def count(setting: Setting, strategy: Any, steps: int) -> dict[str, Any]:
    """In a worker: train for three epochs of `steps`; what a step of the last one has moved."""
    import keras
    import numpy as np
    import tensorflow as tf
    from prediction.simclr import exchange
    from prediction.traffic import traffic
    from socket_bytes import sent_and_received

    from keras_ssl import augment, layers, networks, trainers

    shape = (setting.size, setting.size, 3)
    encoders = {
        "resnet18": lambda: networks.resnet18(shape, width=setting.width),
        "dense": lambda: keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(setting.width)]
        ),
    }
    with strategy.scope():
        keras.utils.set_random_seed(0)
        trainer = trainers.SimCLR(
            encoders[setting.encoder](),
            projector=layers.ProjectionHead((setting.embedding,)),
            augment=augment.SimCLRViews(setting.size),
        )
        trainer.compile(optimizer="sgd")
    batch = setting.images * strategy.num_replicas_in_sync
    images = np.random.default_rng(0).integers(0, 256, (batch, *shape), "uint8")
    dataset = tf.data.Dataset.from_tensors(images).repeat(steps)

    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(sent_and_received())
    )
    trainer.fit(dataset, epochs=3, verbose=0, callbacks=[watch])
    (sent, received), (sent_after, received_after) = seen[-2:]
    workload = exchange(trainer)
    predicted = traffic(workload, strategy.num_replicas_in_sync, setting.images)
    return {
        "sent": (sent_after - sent) / steps,
        "received": (received_after - received) / steps,
        "predicted": dataclasses.asdict(predicted) | {"total": predicted.total},
    }


def work(arguments: argparse.Namespace) -> None:
    """Be a worker: count for every setting and write the result of this worker."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    settings = [Setting(**setting) for setting in json.loads(arguments.settings)]
    results = [count(setting, strategy, arguments.steps) for setting in settings]
    index = strategy.cluster_resolver.task_id
    (arguments.output / f"{index}.json").write_text(json.dumps(results))


def measure(settings: tuple[Setting, ...], steps: int = 10) -> list[list[dict[str, Any]]]:
    """Start the workers; for each setting what each of them counted and predicts."""
    with tempfile.TemporaryDirectory() as folder:
        settings_json = json.dumps([dataclasses.asdict(setting) for setting in settings])
        launch = [sys.executable, "-m", "keras_ssl.distribute.launch", "--workers", str(WORKERS)]
        script = [__file__, "--output", folder, "--settings", settings_json, "--steps", str(steps)]
        subprocess.run([*launch, *script], check=True)
        files = [Path(folder) / f"{index}.json" for index in range(WORKERS)]
        return [
            list(pair) for pair in zip(*(json.loads(f.read_text()) for f in files), strict=True)
        ]


def main() -> None:
    """Measure and print a table, in bytes per step and worker."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10, help="an epoch")
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)  # of a worker
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.output is not None:
        work(arguments)
        return
    print("| encoder | width | embedding | images | gradient | gathered | batch norm ", end="")
    print("| predicted | sent | sent / predicted | excess bytes per collective |")
    print("|---|" + "---:|" * 10)
    for setting, workers in zip(SETTINGS, measure(SETTINGS, arguments.steps), strict=True):
        predicted = workers[0]["predicted"]
        sent = sum(worker["sent"] for worker in workers) / len(workers)
        cells = [setting.encoder, setting.width, setting.embedding, setting.images]
        cells += [f"{predicted[part]:,.0f}" for part in ("gradient", "gathered", "normalization")]
        cells += [f"{predicted['total']:,.0f}", f"{sent:,.0f}"]
        cells += [f"{sent / predicted['total']:.3f}"]
        cells += [f"{(sent - predicted['total']) / predicted['collectives']:,.0f}"]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")


if __name__ == "__main__":
    main()
