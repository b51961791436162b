"""What the examples of diffusion share: arguments, batches, pictures, and measuring samplers."""

import argparse
import time

import _image_runs as image_runs
import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from keras_ssl import callbacks, networks, samplers, visualize

_SAMPLERS = ("DDPM", "DDIM", "Heun", "DPMSolverPlusPlus2M")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the denoiser, of training and of sampling."""
    add = parser.add_argument
    image_runs.add_data_arguments(parser)
    parser.set_defaults(batch_size=128)
    add("--classes", type=int, default=10)
    add("--widths", type=int, nargs="+", default=[24, 48], help="channels of the levels")
    add("--blocks", type=int, default=1, help="residual blocks of a level")
    add("--attention-levels", type=int, nargs="*", default=[1])
    add("--schedule", choices=["linear", "scaled_linear", "cosine", "sigmoid"], default="cosine")
    add("--prediction", choices=["epsilon", "x0", "v"], default="v")
    add("--epochs", type=int, default=10)
    add("--learning-rate", type=float, default=1e-3)
    add("--warmup-steps", type=int, default=100)
    add("--ema", type=float, default=0.995, help="momentum of the averaged weights")
    add("--steps", type=int, default=20, help="steps of the samplers")
    add("--guidance", type=float, default=2.0, help="scale of the guided samples")
    add("--samplers", nargs="+", choices=_SAMPLERS, default=_SAMPLERS, help="those to compare")
    add("--samples", type=int, default=200, help="how many to measure each sampler on")


def batches(arguments: argparse.Namespace, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return shuffled batches of images of one size and their labels."""
    size = arguments.size
    return (
        dataset.map(lambda x, y: (tf.image.resize_with_crop_or_pad(x, size, size), y))
        .shuffle(arguments.shuffle_buffer)
        .batch(arguments.batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def make_unet(arguments: argparse.Namespace, shape: tuple[int, ...]) -> keras.Model:
    """Return a denoiser of images, or of latents, of a shape."""
    return networks.diffusion_unet(
        shape,
        arguments.widths,
        arguments.blocks,
        arguments.attention_levels,
        num_classes=arguments.classes,
    )


def optimizer(arguments: argparse.Namespace, steps: int) -> keras.optimizers.Optimizer:
    """Return AdamW with a warm-up and a cosine schedule over all steps."""
    warmup = min(arguments.warmup_steps, steps // 2)
    rate = arguments.learning_rate
    schedule = CosineDecay(0.0, steps - warmup, warmup_target=rate, warmup_steps=warmup)
    return keras.optimizers.AdamW(schedule, weight_decay=1e-4)


def train_classifier(
    arguments: argparse.Namespace, train: tf.data.Dataset, test: tf.data.Dataset
) -> tuple[keras.Model, float]:
    """Return a small classifier of the images, and its accuracy on test images."""
    ((images, _),) = batches(arguments, train).take(1)
    model = keras.Sequential(
        [
            keras.Input(images.shape[1:]),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(64, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(arguments.classes),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(batches(arguments, train), epochs=8, verbose=0)
    whole = image_runs.center_crops(arguments, test)
    return model, model.evaluate(whole, verbose=0, return_dict=True)["accuracy"]


def measure_samplers(
    arguments: argparse.Namespace, trainer: keras.Model, classifier: keras.Model
) -> list[dict]:
    """Return how often the classifier agrees with the asked label, for each sampler."""
    labels = np.arange(arguments.samples) % arguments.classes
    rows = []
    for name in arguments.samplers:
        sampler = getattr(samplers, name)()
        for scale in (1.0, arguments.guidance):
            options = {"label": labels, "guidance_scale": scale, "seed": arguments.seed}
            trainer.sample(steps=1, sampler=sampler, **options)  # traces what is measured
            start = time.perf_counter()
            made = trainer.sample(steps=arguments.steps, sampler=sampler, **options)
            seconds = time.perf_counter() - start
            found = np.argmax(classifier.predict(made, verbose=0), axis=-1)
            rows.append(
                {
                    "sampler": name,
                    "steps": arguments.steps,
                    "guidance": scale,
                    "agreement": float(np.mean(found == labels)),
                    "seconds": round(seconds, 2),
                }
            )
    return rows


def grid_options(arguments: argparse.Namespace) -> dict:
    """Return what a grid of samples is made with, one column for each class."""
    return {
        "label": np.tile(np.arange(arguments.classes), 8),
        "steps": arguments.steps,
        "sampler": samplers.DPMSolverPlusPlus2M(),
        "guidance_scale": arguments.guidance,
        "seed": arguments.seed,
    }


def sample_grids(arguments: argparse.Namespace) -> callbacks.SampleGrid:
    """Return the callback that draws a grid of samples before, amid and after training."""
    return callbacks.SampleGrid(
        arguments.output / "epochs",
        n=8 * arguments.classes,
        columns=arguments.classes,
        every=max(1, arguments.epochs // 2),
        **grid_options(arguments),
    )


def draw(
    arguments: argparse.Namespace, trainer: keras.Model, images: np.ndarray, labels: np.ndarray
) -> None:
    """Draw a grid of samples, strips of denoising, changed images and filled images."""
    output, classes = arguments.output, arguments.classes
    options = grid_options(arguments)
    grid = trainer.sample(**options)
    visualize.plot_samples(grid, classes, path=output / "samples.png")
    options["label"] = labels
    strips = trainer.trajectory(min(8, arguments.steps), **options)
    visualize.plot_denoising(strips, path=output / "strips.png")
    strengths = (0.3, 0.5, 0.7)
    changed = [
        # the same image as another class
        trainer.sample(start=images, strength=one, **options | {"label": (labels + 1) % classes})
        for one in strengths
    ]
    titles = [f"strength {one}" for one in strengths]
    visualize.plot_views(images, changed, titles=titles, path=output / "image_to_image.png")
    mask = np.zeros((*images.shape[:-1], 1), "float32")
    mask[:, images.shape[1] // 2 :] = 1
    filled = trainer.sample(known=images, mask=mask, **options)
    visualize.plot_views(
        images,
        [np.where(mask > 0, 127.0, images), filled],
        titles=["known", "filled"],
        path=output / "inpainting.png",
    )
