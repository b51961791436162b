"""The bounds of a VAE on binary Fashion-MNIST: `trainers.VAE`, and the same in PyTorch.

Pixels are 1 with the probability that their gray value gives, drawn anew in each training step
(dynamic binarization), and once for the test images, which both sides share. Both have

- dense networks with ReLU, with initial values drawn from the same distributions; the script checks
  that they have as many parameters;
- the evidence lower bound with one draw of the latent variables, Bernoulli likelihood;
- AdamW without decay, of the same rate, epsilon, batch size and number of epochs; half a cosine
  down to 0.

Random numbers and the order of the images are each library's own. Along training, each side
measures by its own formulas, in nats of the mean test image: the bound at one draw, that weighted
by importance at many, the divergence, which is 0 of a posterior that has collapsed, and how many
latent variables are active: the variance of their means is above 0.01 (arXiv:1509.00519). The
epochs are run in turns.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from image_data import read, shuffled_batches
from measure import Peer, machine, medians, print_machine, print_table
from training_run import TrainingRun

from keras_ssl import trainers

AIM = 1.0

RECIPE = {
    "batch_size": 128,
    "hidden": (512, 512),
    "latent": 20,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "epsilon": 1e-7,
}
BOUNDS = ("bound", "importance_weighted")


def dense_layers(inputs: int, widths: tuple[int, ...]) -> keras.Sequential:
    """Dense layers with ReLU."""
    layers = [keras.layers.Dense(width, "relu") for width in widths]
    return keras.Sequential([keras.Input((inputs,)), *layers])


def vae_run(
    images: np.ndarray,
    seed: int,
    epochs: int,
    batch_size: int,
    hidden: tuple[int, ...],
    latent: int,
    **optimizer: float,
) -> TrainingRun:
    """Our side: one training run, an epoch at a time."""
    pixels = images.shape[1]
    decoder = dense_layers(latent, hidden[::-1])
    decoder.add(keras.layers.Dense(pixels))
    trainer = trainers.VAE(dense_layers(pixels, hidden), decoder, latent, seed=seed)

    def draw_binary(x: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.random.uniform(tf.shape(x)) < tf.cast(x, "float32") / 255, "float32")

    data = shuffled_batches(images, batch_size).map(draw_binary)
    return TrainingRun(trainer, data, epochs, **optimizer)


def measure(trainer: trainers.VAE, images: np.ndarray, draws: int) -> dict[str, float]:
    """Both bounds of binary images, and how the latent variables are used."""
    images = images.astype("float32")
    terms = trainer.evaluate(images, batch_size=500, verbose=0, return_dict=True)
    tighter = trainer.importance_weighted_bound(images, draws, batch_size=500)
    return {
        "bound": -terms["loss"],
        "importance_weighted": float(tighter.mean()),
        "divergence": terms["kl"],
        "active_units": trainer.active_units(images, batch_size=500),
    }


def is_rising(measured: list[dict[str, Any]], side: str) -> bool:
    """Whether both bounds of a side rose from each measurement to the next."""
    series = [[one[side][name] for one in measured] for name in BOUNDS]
    return all(bool(np.all(np.diff(one) > 0)) for one in series)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--every", type=int, default=5, help="epochs between two measurements")
    parser.add_argument("--draws", type=int, default=64, help="of the importance-weighted bound")
    parser.add_argument("--images", type=int, default=60_000, help="training images to use")
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    with Peer("vae_bound_torch.py") as peer, tempfile.TemporaryDirectory() as folder:
        print_machine(peer)
        keras.utils.set_random_seed(arguments.seed)
        counts = {"train": arguments.images, "test": arguments.test_images}
        sets = {split: read("fashion_mnist", split, count)[0] for split, count in counts.items()}
        train, test = (images.reshape(len(images), -1) for images in sets.values())
        uniform = np.random.default_rng(arguments.seed).random(test.shape)
        test = (uniform < test / 255).astype("uint8")
        files = {name: str(Path(folder, f"{name}.npy")) for name in ("train", "test")}
        np.save(files["train"], train)
        np.save(files["test"], test)

        common = {"seed": arguments.seed, "epochs": arguments.epochs, **RECIPE}
        run = vae_run(train, **common)
        theirs = peer.ask("start", images=files["train"], **common)

        seconds: dict[str, list[float]] = {"keras_ssl": [], "torch": []}
        measured = []
        print(f"\n{'epoch':>6}{'':12}{'bound':>12}{'weighted':>12}{'divergence':>12}{'active':>8}")
        for epoch in range(1, arguments.epochs + 1):
            seconds["keras_ssl"].append(run.epoch()["seconds"])
            seconds["torch"].append(peer.ask("epoch")["seconds"])
            if epoch == 1 and run.parameters() != theirs:
                raise RuntimeError(f"Not the same network: {run.parameters()} and {theirs}")
            if epoch != 1 and epoch % arguments.every and epoch != arguments.epochs:
                continue
            sides = {
                "keras_ssl": measure(run.trainer, test, arguments.draws),
                "torch": peer.ask("measure", images=files["test"], draws=arguments.draws),
            }
            measured.append({"epoch": epoch, **sides})
            for side, found in sides.items():
                nats = "".join(f"{found[name]:12.2f}" for name in (*BOUNDS, "divergence"))
                print(f"{epoch:6}  {side:10}{nats}{found['active_units']:8}", flush=True)

    print(f"\nan epoch, {run.parameters()} parameters; tracing and other programs included")
    print_table(medians(seconds), per="torch")
    last = measured[-1]
    for name in BOUNDS:
        gain = last["keras_ssl"][name] - last["torch"][name]
        met = "met" if abs(gain) <= AIM else "MISSED"
        print(f"{name}: {gain:+.2f} nats of PyTorch's (aim: within {AIM:g}): {met}")
    for side in seconds:
        rising = "rose" if is_rising(measured, side) else "did not rise"
        print(f"{side}: both bounds {rising} from each measurement to the next")
    if arguments.json:
        report = {
            "machine": machine(),
            "settings": vars(arguments) | RECIPE,
            "measured": measured,
            "seconds": seconds,
        }
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
