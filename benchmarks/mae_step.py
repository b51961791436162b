"""Seconds of one MAE training step: ours beside its parts, and beside Lightly's MAE.

A vision transformer of 6 blocks of width 192 on 64 patches of CIFAR-10's size, 75% of them hidden,
a decoder of two blocks of half the width, AdamW, float32, images ready in memory.

- `whole images`: forward and backward pass of the encoder on all patches.
- `visible patches`: the same on the quarter that MAE's encoder sees.
- `bare passes`: forward and backward of encoder, decoder and loss, the masks drawn before.
- `keras_ssl`: `trainers.MAE.train_on_batch`.
- `lightly`: the same step of Lightly's parts, in PyTorch, whose attention is
  `scaled_dot_product_attention`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from measure import Peer, interleave, machine, medians, print_machine, print_table, timed
from passes import forward_and_backward

from keras_ssl import layers, networks, trainers
from keras_ssl.layers.tokens.random_masking import visible_indices
from keras_ssl.trainers._hidden_patches import take_tokens

AIMS = (
    ("visible patches", "whole images", 0.3),
    ("keras_ssl", "whole images", 0.45),
    ("keras_ssl", "bare passes", 1.1),
    ("keras_ssl", "lightly", 1.0),
)


def make(arguments: argparse.Namespace) -> trainers.MAE:
    """Our trainer, compiled and built."""
    keras.utils.set_random_seed(0)
    size, patch, width = arguments.size, arguments.patch, arguments.width
    trainer = trainers.MAE(
        networks.vit(
            (width, arguments.depth, arguments.heads),
            (size, size, 3),
            patch,
            positions="sincos",
            include_rescaling=False,
        ),
        layers.TokenDecoder(width // 2, 2, arguments.heads),
        layers.RandomMasking(0.75),
    )
    trainer.compile(keras.optimizers.AdamW(1e-3), jit_compile=arguments.jit_compile)
    return trainer


def passes(
    trainer: trainers.MAE, images: tf.Tensor, jit_compile: bool
) -> dict[str, Callable[[], None]]:
    """Forward and backward passes of parts of the step."""
    encoder, decoder = trainer.encoder, trainer.decoder
    grid = encoder.grid(images.shape)
    is_hidden = trainer.masking(encoder.embed(images))
    visible, hidden = visible_indices(is_hidden, trainer.masking.count(is_hidden.shape[1]))

    def whole() -> tf.Tensor:
        return ops.mean(encoder.encode(encoder.embed(images), grid, training=True)["patch_tokens"])

    def see() -> tf.Tensor:
        seen = take_tokens(encoder.embed(images), visible)
        outputs = encoder.encode(seen, grid, indices=visible, training=True)
        return ops.concatenate([outputs["class_token"][:, None], outputs["patch_tokens"]], axis=1)

    def all_parts() -> tf.Tensor:
        decoded = decoder(see(), visible, hidden, grid=grid, training=True)
        pixels = trainer.targets(images)
        predicted = trainer.to_targets(decoded, pixels)
        return ops.mean(ops.square(predicted - take_tokens(pixels, hidden)))

    of_encoder, of_all = encoder.trainable_variables, trainer.trainable_variables
    return {
        "whole images": forward_and_backward(whole, of_encoder, jit_compile),
        "visible patches": forward_and_backward(lambda: ops.mean(see()), of_encoder, jit_compile),
        "bare passes": forward_and_backward(all_parts, of_all, jit_compile),
    }


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=6, help="blocks of the encoder")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--jit-compile", action="store_true", help="compile ours with XLA")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    size = arguments.size
    images = np.random.default_rng(0).normal(size=(arguments.batch_size, size, size, 3))
    images = ops.convert_to_tensor(images, "float32")
    trainer = make(arguments)
    trainer.train_on_batch(images)
    functions = passes(trainer, images, arguments.jit_compile)
    functions["keras_ssl"] = lambda: trainer.train_on_batch(images)

    contenders = {name: timed(function) for name, function in functions.items()}
    peer = None
    if not arguments.no_peer:
        peer = Peer("mae_step_lightly.py")
        names = ("width", "depth", "heads", "size", "patch", "batch_size")
        theirs = peer.ask("set_up", **{name: getattr(arguments, name) for name in names})
        ours = sum(int(np.prod(one.shape)) for one in trainer.trainable_weights)
        if theirs != ours:
            raise RuntimeError(f"Not the same network: {ours} and {theirs} parameters")
        contenders["lightly"] = lambda: peer.ask("seconds")
    print_machine(peer)
    measured = interleave(contenders, repeats=arguments.repeats)

    middle = medians(measured)
    print(f"\none step, {arguments.batch_size} images")
    print_table(middle, per="whole images")
    for name, per, aim in AIMS:
        if per in middle:
            ratio = middle[name] / middle[per]
            met = "met" if ratio <= aim else "MISSED"
            print(f"{name} / {per}: {ratio:.2f} (aim: at most {aim}): {met}")
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "seconds": measured}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
