"""Train a U-Net to find garments in front of parts of other garments.

    python examples/unet_segmentation.py

takes minutes on two CPU cores, on 28x28 images that come with the package. Images of any TFDS set
whose background is black, such as `mnist`, have a mask: what is not black. Each example shows
`--objects` of them at random places of a larger canvas, on an enlarged part of another one, so that
brightness alone does not tell what is in front. The U-Net learns the masks of examples that are
made anew in every epoch. It is measured on images that it has not seen by the intersection over
union (IoU) of true and predicted masks, beside the best threshold of brightness and a mask of
everything. It writes the network, pictures and that table. All of Fashion-MNIST, on several
devices:

    python examples/unet_segmentation.py --dataset fashion_mnist --epochs 10 --strategy mirrored
"""

import argparse
import json

import _image_runs as image_runs
import keras
import numpy as np
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from keras_ssl import distribute, networks, trainers, visualize

parser = argparse.ArgumentParser(
    description="Segmentation by a U-Net on any TFDS image set with a black background.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
image_runs.add_data_arguments(parser)
parser.set_defaults(batch_size=64)
add("--black", type=int, default=8, help="pixels of an image that are brighter are its object")
add("--canvas", type=int, default=56, help="height and width of the examples")
add("--objects", type=int, default=2, help="objects of an example; they may cover each other")
add("--widths", type=int, nargs="+", default=[16, 32, 64], help="channels of the U-Net's levels")
add("--epochs", type=int, default=6)
add("--learning-rate", type=float, default=3e-3)
image_runs.add_run_arguments(parser, "runs/unet_segmentation")
arguments = parser.parse_args()
if arguments.canvas < arguments.size:
    parser.error(
        f"--canvas must be at least --size, {arguments.size}. Received: {arguments.canvas}"
    )


class Segmenter(trainers.DistributedFit, keras.Model):
    """A functional model that trains under every strategy."""


def compose(images: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return an example of several images, of which the first is the background, and its mask."""
    canvas, free = arguments.canvas, arguments.canvas - arguments.size
    shown = tf.image.resize(tf.image.central_crop(images[0], 0.5), (canvas, canvas))
    mask = tf.zeros_like(shown)
    masks = tf.cast(images > arguments.black, "float32")
    for number in range(1, arguments.objects + 1):
        top, left = tf.unstack(
            tf.random.stateless_uniform((2,), (seed, number), 0, free + 1, "int32")
        )
        image, own = (
            tf.image.pad_to_bounding_box(one[number], top, left, canvas, canvas)
            for one in (tf.cast(images, "float32"), masks)
        )
        shown, mask = tf.where(own > 0, image, shown), tf.maximum(mask, own)
    return shown, mask


def examples(split: tf.data.Dataset, anew: bool) -> tf.data.Dataset:
    """Return examples of a split, in each epoch others or always the same."""
    images = split.map(
        lambda x, y: tf.image.resize_with_crop_or_pad(x, arguments.size, arguments.size)
    )
    if anew:
        images = images.shuffle(arguments.shuffle_buffer)
    seeds = tf.data.Dataset.random(arguments.seed, rerandomize_each_iteration=anew)
    groups = images.batch(1 + arguments.objects, drop_remainder=True)
    return tf.data.Dataset.zip(groups, seeds).map(compose, num_parallel_calls=tf.data.AUTOTUNE)


def scores(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Return how well masks agree: IoU of all pixels, mean IoU of the examples, and accuracy."""
    axes = (1, 2, 3)
    both, either = np.sum(truth & found, axis=axes), np.sum(truth | found, axis=axes)
    return {
        "IoU": round(float(both.sum() / either.sum()), 4),
        "mean IoU of examples": round(float(np.mean(both / np.maximum(either, 1))), 4),
        "right pixels": round(float(np.mean(truth == found)), 4),
    }


def best_threshold(batches: tf.data.Dataset) -> int:
    """Return the brightness above which a pixel should count, to have the best IoU."""
    shown, truth = (np.concatenate(one) for one in zip(*batches.as_numpy_iterator(), strict=True))
    return max(range(255), key=lambda limit: scores(truth > 0, shown > limit)["IoU"])


strategy = image_runs.start(arguments)
output = arguments.output

# Data: examples and masks
train, test = image_runs.load_splits(arguments)
batches = examples(train, anew=True).batch(arguments.batch_size, drop_remainder=True)
held_out = examples(test, anew=False).batch(arguments.batch_size)
shape = batches.element_spec[0].shape[1:]

# Training: one logit for each pixel
steps = len(batches) * arguments.epochs
with strategy.scope():
    network = networks.unet(tuple(shape), widths=arguments.widths)
    model = Segmenter(network.input, network.output)
    rate = CosineDecay(0.0, steps, warmup_target=arguments.learning_rate, warmup_steps=steps // 10)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-4),
        keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[keras.metrics.BinaryIoU([1], threshold=0.0, name="iou")],
    )
history = model.fit(batches.prefetch(tf.data.AUTOTUNE), epochs=arguments.epochs)

# Product: the network, pictures, and a table
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    network.save(output / "unet.keras")
    visualize.plot_history(history, path=output / "curves.png")
    logits = model.predict(held_out, verbose=0)
    shown, truth = (np.concatenate(one) for one in zip(*held_out.as_numpy_iterator(), strict=True))
    visualize.plot_views(
        shown[:8],
        [255 * truth[:8], 255.0 * (logits[:8] > 0)],
        titles=["mask", "prediction"],
        path=output / "predictions.png",
    )
    limit = best_threshold(batches.take(8))
    predictions = {
        "U-Net": logits > 0,
        f"brightness above {limit}": shown > limit,
        "everything": np.ones_like(truth, bool),
    }
    rows = [{"mask": name, **scores(truth > 0, one)} for name, one in predictions.items()]
    (output / "report.json").write_text(json.dumps(rows, indent=2))
    print(image_runs.table(rows))
    print(f"The network, pictures and the table are in {output.resolve()}")
