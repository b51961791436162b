"""Make the pictures of docs/pictures.md, from runs of SimCLR and a VAE of a few minutes on CPU.

python scripts/make_pictures.py
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from keras_ssl import (
    augment,
    callbacks,
    data,
    evaluate,
    layers,
    losses,
    networks,
    trainers,
    visualize,
)

DATASET = "fashion_mnist_mini"
FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--runs", nargs="+", choices=["simclr", "vae"], default=["simclr", "vae"])
parser.add_argument("--epochs", type=int, default=12, help="of SimCLR")
parser.add_argument("--images", type=int, default=2048, help="of SimCLR")
parser.add_argument("--vae-epochs", type=int, default=25)
parser.add_argument("--folder", type=Path, default=FOLDER)
arguments = parser.parse_args()

Pictures = dict[str, Callable[[Path], object]]


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels."""
    images = data.load_images(DATASET, split)
    ((x, y),) = images.batch(len(images))
    return x.numpy(), y.numpy()


test_x, test_y = load("test[:1000]")
names = data.class_names(DATASET)


def simclr() -> Pictures:
    """Train SimCLR, and return its pictures by name."""
    x, y = load(f"train[:{arguments.images}]")
    views = augment.SimCLRViews(28, seed=0)
    encoder = networks.small_resnet((28, 28, 1), width=16)
    projector = layers.ProjectionHead((128, 64), last_normalization=True)
    trainer = trainers.SimCLR(encoder, projector, views, losses.NTXent(0.2))
    steps = arguments.epochs * (arguments.images // 128)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=3e-3, warmup_steps=steps // 8
    )
    trainer.compile(keras.optimizers.AdamW(rate), probe=trainers.OnlineProbe(len(names)))
    history = trainer.fit(
        x,
        y,
        batch_size=128,
        epochs=arguments.epochs,
        callbacks=[callbacks.CollapseMonitor(test_x)],
        verbose=2,
    )
    history.history["learning_rate"] = [
        float(rate((epoch + 1) * steps // arguments.epochs)) for epoch in range(arguments.epochs)
    ]
    crops = augment.MultiCropViews(28, 14, local_count=4, seed=0)
    features, _ = evaluate.extract_features(encoder, test_x)
    first, queries = test_x[:8], [5, 100, 200, 300, 400, 500]
    return {
        "views": lambda path: visualize.plot_views(first, views(first, training=True), path=path),
        "crops": lambda path: visualize.plot_views(first, crops(first, training=True), path=path),
        "history": lambda path: visualize.plot_history(history, path=path),
        "neighbors": lambda path: visualize.plot_neighbors(
            test_x, features, queries, 8, test_y, names, path=path
        ),
        "points": lambda path: visualize.plot_embedding(features, test_y, names, path=path),
    }


def vae() -> Pictures:
    """Train a VAE, and return its pictures by name."""
    trainer = trainers.VAE(
        networks.conv_encoder((28, 28, 1), (16, 32), 128),
        networks.conv_decoder((28, 28, 1), (16, 32), 16),
        latent_dim=16,
        seed=0,
    )
    trainer.compile(keras.optimizers.Adam(2e-3))
    x = load("train")[0].astype("float32") / 255
    trainer.fit(x, batch_size=128, epochs=arguments.vae_epochs, verbose=2)
    images = test_x.astype("float32") / 255
    z = np.asarray(trainer.encode(images))
    most_used = np.argsort(-z.var(axis=0))[:5]
    decode, unit = trainer.decode, {"value_range": (0, 1)}
    return {
        "reconstructions": lambda path: visualize.plot_reconstructions(
            images, decode(z), **unit, path=path
        ),
        "traversal": lambda path: visualize.plot_traversal(
            decode, z[0], most_used, **unit, path=path
        ),
        "interpolation": lambda path: visualize.plot_interpolation(
            decode, z[:4], z[4:8], **unit, path=path
        ),
        "samples": lambda path: visualize.plot_samples(
            trainer.sample(40, seed=0), 10, **unit, path=path
        ),
    }


for run in arguments.runs:
    keras.utils.set_random_seed(0)
    for name, plot in {"simclr": simclr, "vae": vae}[run]().items():
        plot(arguments.folder / f"{name}.png")
        print(arguments.folder / f"{name}.png")
