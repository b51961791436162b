"""Methods with and without the part that prevents collapse, and `CollapseMonitor`'s warnings.

BYOL without its predictor, DINO without the centring of its teacher, and VICReg without its
variance term, each beside the complete method in the same settings, on real images. Printed is,
after each epoch, what the monitor measures, the effective rank of the projections, and what the
monitor said; after the last, the k-NN accuracy of the representation.
"""

import argparse
import time
import warnings
from collections.abc import Callable

import keras
import numpy as np

from keras_ssl import augment, callbacks, data, evaluate, layers, losses, networks, trainers


def plain_encoder(channels: int) -> keras.Model:
    """Three strided convolutions and a dense layer, no normalisation."""
    convolutions = [
        keras.layers.Conv2D(width, 3, 2, "same", activation="relu", kernel_initializer="he_normal")
        for width in (16, 32, 64)
    ]
    return keras.Sequential(
        [
            keras.Input((None, None, channels)),
            keras.layers.Rescaling(1 / 127.5, -1),
            *convolutions,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(128),
        ]
    )


def residual_encoder(channels: int) -> keras.Model:
    """A small ResNet, with batch normalisation."""
    return networks.small_resnet((None, None, channels), width=16)


ENCODERS = {"plain": plain_encoder, "residual": residual_encoder}


def byol(encoder: keras.Model, size: int, complete: bool) -> trainers.BYOL:
    """BYOL, or without its predictor."""
    return trainers.BYOL(
        encoder,
        layers.ProjectionHead((128, 64)),
        layers.PredictionHead(128) if complete else keras.layers.Identity(),
        augment.SimCLRViews(size, scale=(0.3, 1.0)),
        momentum=0.9,
    )


def dino(encoder: keras.Model, size: int, complete: bool) -> trainers.DINO:
    """DINO, or without centring."""
    return trainers.DINO(
        encoder,
        layers.ProjectionHead((128, 64), normalization=False, activation="gelu", l2_normalize=True),
        layers.Prototypes(256),
        augment.MultiCropViews(size, size // 2, local_count=2),
        center=layers.Center() if complete else keras.layers.Identity(),
        momentum=0.99,
    )


def vicreg(encoder: keras.Model, size: int, complete: bool) -> trainers.VICReg:
    """VICReg, or without its variance term."""
    return trainers.VICReg(
        encoder,
        layers.ProjectionHead((128, 128), use_bias=False),
        augment.SimCLRViews(size, scale=(0.3, 1.0)),
        losses.VICRegLoss(variance_weight=25 if complete else 0),
    )


METHODS = {"BYOL": byol, "DINO": dino, "VICReg": vicreg}
LEARNING_RATES = {"BYOL": 3e-3, "DINO": 2e-3, "VICReg": 3e-3}  # of Adam


class Projections(keras.callbacks.Callback):
    """Logs the effective rank of the projections."""

    def __init__(self, x: np.ndarray):
        super().__init__()
        self.x = x

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        h, _ = evaluate.extract_features(self.model.encoder, self.x)
        z, _ = evaluate.extract_features(self.model.projector, h)
        logs["projection_rank"] = evaluate.effective_rank(z)


def run(
    method: str,
    complete: bool,
    x: np.ndarray,
    watched: np.ndarray,
    encoder: Callable[[int], keras.Model] = plain_encoder,
    epochs: int = 2,
    seed: int = 0,
) -> tuple[trainers.SelfSupervisedModel, dict[str, list[float]], list[str]]:
    """Train, and return the trainer, its history and what the monitor said.

    Args:
        method: a key of `METHODS`.
        complete: whether with the part that keeps it from collapsing.
        x: images to learn from.
        watched: images for the monitor.
        encoder: function of the number of channels.
        epochs: how often to go through `x`, in batches of 32.
        seed: of weights, views and order.
    """
    keras.utils.set_random_seed(seed)
    size = 20 if x.shape[1] < 32 else 24
    trainer = METHODS[method](encoder(x.shape[-1]), size, complete)
    trainer.compile(keras.optimizers.Adam(LEARNING_RATES[method]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = trainer.fit(
            x,
            batch_size=32,
            epochs=epochs,
            verbose=0,
            callbacks=[callbacks.CollapseMonitor(watched), Projections(watched)],
        )
    said = [str(one.message) for one in caught if "CollapseMonitor" in str(one.message)]
    return trainer, history.history, said


def read(name: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels as arrays."""
    examples = list(data.load_images(name, split).as_numpy_iterator())
    return np.stack([x for x, _ in examples]), np.stack([y for _, y in examples])


def main() -> None:
    """Trains them all, and prints a table."""
    from measure import print_machine

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="fashion_mnist_mini", help="name for load_images")
    parser.add_argument("--encoder", choices=ENCODERS, default="plain")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    print_machine()
    train = read(arguments.data, f"train[:{arguments.images}]")
    test = read(arguments.data, "test[:1024]")

    columns = "feature_std", "effective_rank", "projection_rank", "projection_spread"
    columns = (*columns, "assignment_spread")
    print("\n| method | seed | epoch |", " | ".join(columns), "| k-NN | the monitor |")
    print("|---" * (len(columns) + 5) + "|")
    for method in arguments.methods:
        for seed in arguments.seeds:
            for complete in (True, False):
                start = time.perf_counter()
                trainer, history, said = run(
                    method,
                    complete,
                    train[0],
                    test[0],
                    ENCODERS[arguments.encoder],
                    arguments.epochs,
                    seed,
                )
                seconds = time.perf_counter() - start
                knn = evaluate.knn_accuracy(trainer.encoder, train, test)
                for epoch in range(arguments.epochs):
                    numbers = (f"{history[c][epoch]:.3f}" if c in history else "" for c in columns)
                    last = epoch + 1 == arguments.epochs
                    heard = [one for one in said if f"after epoch {epoch + 1}:" in one]
                    heard = "; ".join(one.split(": ")[1] for one in heard)
                    print(
                        f"| {method if complete else method + ' without'} | {seed} | {epoch + 1} |",
                        " | ".join(numbers),
                        f"| {f'{knn:.3f}' if last else ''} | {heard} |",
                        flush=True,
                    )
                print(f"{seconds:.0f} s")


if __name__ == "__main__":
    main()
