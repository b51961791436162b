"""Seconds of one training step of a vision transformer: ours, Keras' layers, and PyTorch.

6 blocks of width 192 and 3 heads on 64 tokens (images of 32x32, patches of 4x4), mean of tokens,
10 classes, cross-entropy, AdamW; forward, backward and update on a batch that lies ready in memory.

- `keras_ssl`: `layers.TransformerEncoderBlock`, `train_on_batch`.
- `Keras' layers`: `LayerNormalization`, `MultiHeadAttention` and `Dense`.
- `torch`: `LayerNorm`, one projection, `scaled_dot_product_attention`, `Linear` and exact `GELU`.

Each in float32 and, under `mixed_bfloat16` and `torch.autocast`, in bfloat16; `--xla` adds our step
under `jit_compile=True`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from measure import (
    Peer,
    interleave,
    machine,
    medians,
    print_machine,
    print_ratio,
    print_table,
    timed,
)

from keras_ssl import layers

AIM = 1.0


def keras_block(x: Any, heads: int, width: int) -> Any:
    """A block of Keras' own layers."""
    h = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    h = keras.layers.MultiHeadAttention(heads, width // heads)(h, h)
    x = keras.layers.Add()([x, h])
    h = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    h = keras.layers.Dense(4 * width, activation="gelu")(h)
    return keras.layers.Add()([x, keras.layers.Dense(width)(h)])


def our_block(x: Any, heads: int, width: int) -> Any:
    """The same by our layer."""
    return layers.TransformerEncoderBlock(heads, 4 * width)(x)


def set_up(
    arguments: argparse.Namespace, block: Callable, dtype: str = "float32", xla: bool = False
) -> tuple[Callable[[], float], int]:
    """Our function that times some steps, and the number of trainable parameters."""
    keras.utils.set_random_seed(0)
    keras.mixed_precision.set_dtype_policy(dtype)
    size, patch, width = arguments.size, arguments.patch, arguments.width
    images = keras.Input((size, size, 3))
    x = layers.PatchEmbedding(patch, width)(images)
    x = layers.LearnedPositionalEmbedding((size // patch, size // patch))(x)
    for _ in range(arguments.blocks):
        x = block(x, arguments.heads, width)
    x = keras.layers.LayerNormalization(epsilon=1e-6)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(images, keras.layers.Dense(10, dtype="float32")(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-4), loss, jit_compile=xla)
    random = np.random.default_rng(0)
    pixels = random.uniform(-1, 1, (arguments.batch, size, size, 3))
    pixels = keras.ops.convert_to_tensor(pixels, "float32")
    classes = keras.ops.convert_to_tensor(random.integers(0, 10, arguments.batch))

    seconds = timed(lambda: model.train_on_batch(pixels, classes), arguments.steps)
    seconds()
    return seconds, model.count_params()


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--patch", type=int, default=4, help="height and width of a patch")
    parser.add_argument("--batch", type=int, default=256, help="images in a batch")
    parser.add_argument("--steps", type=int, default=1, help="steps in each measurement")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    names = ("width", "heads", "blocks", "size", "patch", "batch")
    network = {name: getattr(arguments, name) for name in names}

    report = {"machine": machine(), "settings": vars(arguments)}
    with Peer("vit_step_torch.py") as peer:
        print_machine(peer)
        for dtype in ("float32", "bfloat16"):
            policy = dtype if dtype == "float32" else "mixed_bfloat16"
            ours, parameters = set_up(arguments, our_block, policy)
            theirs, others = set_up(arguments, keras_block, policy)
            contenders = {"keras_ssl": ours, "Keras' layers": theirs}
            if arguments.xla:
                contenders["keras_ssl, XLA"], _ = set_up(arguments, our_block, policy, xla=True)
            is_half = dtype != "float32"
            counts = {parameters, others, peer.ask("set_up", bfloat16=is_half, **network)}
            if len(counts) > 1:
                raise RuntimeError(f"Not the same network: {counts} parameters")
            contenders["torch"] = lambda is_half=is_half: peer.ask(
                "seconds", steps=arguments.steps, bfloat16=is_half
            )
            measured = interleave(contenders, repeats=arguments.repeats, warmup=2)
            print(f"\none step in {dtype}, {arguments.batch} images, {parameters} parameters")
            print_table(medians(measured), per="torch")
            print_ratio(measured, "keras_ssl", "torch", AIM)
            report[dtype] = measured
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
