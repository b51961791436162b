"""Seconds to encode DINO's 2 + 6 crops, and the same number of pixels in one batch.

Forward and backward pass of a ResNet-18 in training mode, float32, on images that lie ready in
memory:

- `one batch`: as many images of the global size as have the pixels of all crops. What encoding
  these pixels costs at the least, for this network.
- `crops by size`: all crops of a batch as `trainers.DINO` encodes its student's, the global ones in
  one call of the network and the local ones in another.
- `crops one by one`: a call for each of the eight views.

Then a whole step of `trainers.DINO` on such crops: besides the student's encoder, that is the
teacher's on the global crops, projectors, prototypes, loss, and the update of all.
"""

import argparse
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from measure import interleave, machine, medians, print_machine, print_table, timed

from keras_ssl.layers import Prototypes
from keras_ssl.networks import resnet18
from keras_ssl.trainers import DINO
from keras_ssl.trainers.joint_embedding import call_by_size

AIM = 1.15
GLOBAL_COUNT = 2


def images(count: int, size: int) -> tf.Tensor:
    """Random images in [-1, 1]."""
    return tf.random.stateless_uniform((count, size, size, 3), (count, size), -1, 1)


def equal_pixels(arguments: argparse.Namespace) -> int:
    """How many images of the global size have the pixels of all crops."""
    local = Fraction(arguments.local_size, arguments.global_size) ** 2
    count = arguments.batch * (GLOBAL_COUNT + arguments.local_count * local)
    if count.denominator > 1:
        raise SystemExit(f"No whole number of images has as many pixels: {float(count)}")
    return int(count)


def encoding(
    encoder: keras.Model,
    encode: Callable[[keras.Model, list[tf.Tensor]], list[tf.Tensor]],
    views: list[tf.Tensor],
    compiled: bool,
) -> Callable[[], object]:
    """Forward and backward pass over all views, in one graph."""
    weights = [weight.value for weight in encoder.trainable_weights]

    @tf.function(jit_compile=compiled)
    def step(*views: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_sum(tf.square(h)) for h in encode(encoder, views))
        return tape.gradient(loss, weights)

    return lambda: [gradient.numpy() for gradient in step(*views)]


def set_up(arguments: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """Our functions that time some steps, by name."""
    keras.utils.set_random_seed(0)
    encoder = resnet18((None, None, 3), width=arguments.width, include_rescaling=False)
    crops = [images(arguments.batch, arguments.global_size) for _ in range(GLOBAL_COUNT)]
    crops += [images(arguments.batch, arguments.local_size) for _ in range(arguments.local_count)]

    def one_by_one(encoder: keras.Model, views: list[tf.Tensor]) -> list[tf.Tensor]:
        return [encoder(view, training=True) for view in views]

    def by_size(encoder: keras.Model, views: list[tf.Tensor]) -> list[tf.Tensor]:
        return call_by_size(lambda view: encoder(view, training=True), views)

    one_batch = [images(equal_pixels(arguments), arguments.global_size)]
    contenders = {
        "one batch": encoding(encoder, one_by_one, one_batch, arguments.xla),
        "crops by size": encoding(encoder, by_size, crops, arguments.xla),
        "crops one by one": encoding(encoder, one_by_one, crops, arguments.xla),
    }
    trainer = DINO(
        resnet18((None, None, 3), width=arguments.width, include_rescaling=False),
        prototypes=Prototypes(arguments.prototypes),
        freeze_steps=1,
    )
    trainer.compile(keras.optimizers.AdamW(1e-4, clipnorm=3.0), jit_compile=arguments.xla)
    contenders["whole step"] = lambda: trainer.train_on_batch(tuple(crops))
    return {name: timed(step, arguments.steps) for name, step in contenders.items()}


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--global-size", type=int, default=32)
    parser.add_argument("--local-size", type=int, default=16)
    parser.add_argument("--local-count", type=int, default=6)
    parser.add_argument("--prototypes", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=1, help="steps in each measurement")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--xla", action="store_true", help="compile all of it by XLA")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    contenders = set_up(arguments)
    print_machine()
    measured = interleave(contenders, repeats=arguments.repeats)
    middle = medians(measured)
    print(
        f"\n{arguments.batch} images: {GLOBAL_COUNT} crops of {arguments.global_size} and "
        f"{arguments.local_count} of {arguments.local_size}, or {equal_pixels(arguments)} images "
        f"of {arguments.global_size} pixels a side"
    )
    print_table(middle, per="one batch")
    pairs = np.divide(measured["crops by size"], measured["one batch"])
    print(f"crops by size / one batch, turn by turn: {np.median(pairs):.3f} (aim: at most {AIM})")
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "seconds": measured}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
