"""A whole SimCLR run on CIFAR-10 and Lightly's: seconds of training and final k-NN accuracy.

Each library is used as its own example uses it, and what a user sets is set alike on both sides:

- data: the training images in memory, shuffled anew each epoch, the incomplete batch dropped;
- views: the CIFAR-10 recipe of SimCLR (arXiv:2002.05709, appendix B.9): crops of 8 to 100% of the
  area, flips, colour jitter of half strength, grayscale, no blur; pixels scaled to [-1, 1];
- encoder: `networks.small_resnet` and the same network in PyTorch, with its initial values drawn
  from distributions of the same variance (He et al. for convolutions, Glorot for the projector,
  0 for the last scale of a residual block). The script checks that both have as many parameters;
- batch normalisation: epsilon 1e-5, moving statistics of weight 0.1 a step;
- projector, temperature, batch size and number of epochs;
- optimizer: AdamW on all parameters with the same rate, decay and epsilon; half a cosine down to 0.

What the libraries do by themselves is left as it is: how a view is drawn, whether both views pass
through the encoder as one batch (ours) or as two (Lightly's example; batch normalisation then sees
one view at a time), the order of the images, the random numbers.

The epochs are run in turns, ours first, so that a change in what else the machine does hits both.
Timed is training with all that belongs to it: our tracing, the peer's loader processes. Not timed
are start-up, reading the data set and k-NN, which is the same code for both.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from image_data import read
from measure import Peer, machine, print_machine, print_table
from training_run import TrainingRun

import keras_ssl

AIM_TIME = 0.75
AIM_KNN = -0.5

RECIPE = {
    "batch_size": 256,
    "width": 32,
    "projector": (128, 128),
    "temperature": 0.5,
    "strength": 0.5,
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "epsilon": 1e-7,
}


def simclr_run(
    images: np.ndarray,
    epochs: int,
    batch_size: int,
    width: int,
    projector: tuple[int, int],
    temperature: float,
    strength: float,
    **optimizer: float,
) -> TrainingRun:
    """Our side: one training run, an epoch at a time."""
    data = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images))
    trainer = keras_ssl.trainers.SimCLR(
        encoder=keras_ssl.networks.small_resnet((32, 32, 3), width),
        projector=keras_ssl.layers.ProjectionHead(projector, last_normalization=True),
        augment=keras_ssl.augment.SimCLRViews(32, strength=strength, blur_probability=0.0),
        loss=keras_ssl.losses.NTXent(temperature),
    )
    batches = data.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    return TrainingRun(trainer, batches, epochs, **optimizer)


def knn_percent(train: tuple[Any, Any], test: tuple[Any, Any]) -> float:
    """Weighted k-NN accuracy (k=20, temperature 0.1) of (features, labels), in percent."""
    return 100 * keras_ssl.evaluate.knn_accuracy(keras_ssl.evaluate.raw_pixels, train, test)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=50_000, help="training images to use")
    parser.add_argument("--workers", type=int, default=2, help="the peer's loader processes")
    parser.add_argument("--channels-last", action="store_true", help="the peer's memory layout")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    with Peer("cifar10_lightly.py") as peer, tempfile.TemporaryDirectory() as folder:
        print_machine(peer)
        keras.utils.set_random_seed(arguments.seed)
        counts = {"train": arguments.images, "test": 10_000}
        sets = {split: read("cifar10", split, count) for split, count in counts.items()}
        files = {name: str(Path(folder, f"{name}.npy")) for name in sets}
        for name, (images, _) in sets.items():
            np.save(files[name], images)

        run = simclr_run(sets["train"][0], arguments.epochs, **RECIPE)
        peer_parameters = peer.ask(
            "start",
            images=files["train"],
            seed=arguments.seed,
            workers=arguments.workers,
            channels_last=arguments.channels_last,
            epochs=arguments.epochs,
            **RECIPE,
        )
        epochs = []
        for number in range(1, arguments.epochs + 1):
            epochs.append({"keras_ssl": run.epoch(), "lightly": peer.ask("epoch")})
            sides = [
                f"{k} {v['seconds']:.1f} s, loss {v['loss']:.3f}" for k, v in epochs[-1].items()
            ]
            print(f"epoch {number}: {'; '.join(sides)}", flush=True)
        if run.parameters() != peer_parameters:
            raise RuntimeError(
                "The networks differ in their number of parameters: "
                f"{run.parameters()} here, {peer_parameters} in the peer"
            )

        ours, theirs = {}, {}
        for name, (images, labels) in sets.items():
            ours[name] = run.features(images), labels
            output = str(Path(folder, f"{name}_features.npy"))
            peer.ask("features", images=files[name], output=output)
            theirs[name] = np.load(output), labels

    seconds = {name: sum(epoch[name]["seconds"] for epoch in epochs) for name in epochs[0]}
    accuracy = {"keras_ssl": knn_percent(**ours), "lightly": knn_percent(**theirs)}
    print_table(seconds, per="lightly")
    print_table(accuracy, per="lightly", unit="k-NN, %")
    ratio = seconds["keras_ssl"] / seconds["lightly"]
    gain = accuracy["keras_ssl"] - accuracy["lightly"]
    print(f"time: {ratio:.3f} of Lightly's (aim: at most {AIM_TIME:g})")
    print(f"k-NN: {gain:+.2f} points (aim: at least {AIM_KNN:+g})")
    if arguments.json:
        report = {
            "machine": machine(),
            "settings": vars(arguments) | RECIPE,
            "epochs": epochs,
            "knn": accuracy,
        }
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
