"""A step of `layers.AdaptiveLogSoftmax` beside one of the full softmax, with a million classes.

A step is the loss of a batch of features, its gradients with respect to features and weights, and
an update by SGD; labels are drawn by Zipf's law, p(c) ~ 1 / (c + 1). Both sides use TensorFlow's
fused cross-entropy. Each side runs in a process of its own, and steps are timed in turns. Memory is
the largest resident set while weights are made and two steps taken, less the one before.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measure import interleave, print_machine, timed
from peers.peak_memory import seconds_and_memory

AIM_TIME, AIM_MEMORY = 10, 1 / 5

_step: Callable[[], Any] | None = None


def make_step(side: str, settings: dict[str, Any]) -> Callable[[], Any]:
    """Makes the weights, and returns a function that takes a step on the next batch."""
    import itertools

    import keras
    import numpy as np
    import tensorflow as tf

    from keras_ssl import layers

    classes, batch, dim = (settings[name] for name in ("classes", "batch", "dim"))
    if side == "adaptive":
        layer = layers.AdaptiveLogSoftmax(classes, settings["cutoffs"])
        loss = layer
    else:
        layer = keras.layers.Dense(classes, use_bias=False)

        def loss(features: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            return keras.ops.sparse_categorical_crossentropy(
                labels, layer(features), from_logits=True
            )

    layer.build((batch, dim))
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(layer.trainable_variables)
    weights = [one.value for one in layer.trainable_variables]

    @tf.function(autograph=False)
    def step(features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(features)
            value = tf.reduce_mean(loss(features, labels))
        of_features, *gradients = tape.gradient(value, [features, *weights])
        optimizer.apply(gradients, layer.trainable_variables)
        return value, of_features

    random = np.random.default_rng(0)
    probabilities = 1 / np.arange(1, classes + 1)
    probabilities /= probabilities.sum()
    batches = [
        (
            tf.constant(random.normal(size=(batch, dim)), "float32"),
            tf.constant(random.choice(classes, batch, p=probabilities), "int32"),
        )
        for _ in range(8)
    ]
    ready = itertools.cycle(batches)
    return lambda: [one.numpy() for one in step(*next(ready))]


def set_up(side: str, settings: dict[str, Any]) -> float:
    """Makes the side's step in this process, and returns the gigabytes that it needs."""
    global _step
    make_step(side, settings | {"classes": 100, "cutoffs": [10, 50]})()  # wakes TensorFlow

    def two_steps() -> None:
        global _step
        _step = make_step(side, settings)
        _step()
        _step()

    return seconds_and_memory(two_steps)["gigabytes"]


def measure(cpu_time: bool) -> float:
    """Seconds of a step."""
    return timed(_step, clock=time.process_time if cpu_time else time.perf_counter)()


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, default=1_000_000)
    parser.add_argument("--cutoffs", type=int, nargs="+", default=[2_000, 20_000, 200_000])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=8, help="steps of each side")
    parser.add_argument("--cpu-time", action="store_true", help="instead of time that passes")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    names = ("classes", "cutoffs", "batch", "dim")
    settings = {name: getattr(arguments, name) for name in names}
    print_machine()

    sides = ("adaptive", "full")
    pools = {side: ProcessPoolExecutor(1, mp_context=get_context("spawn")) for side in sides}
    memory = {side: pool.submit(set_up, side, settings).result() for side, pool in pools.items()}
    contenders = {
        side: lambda pool=pool: pool.submit(measure, arguments.cpu_time).result()
        for side, pool in pools.items()
    }
    seconds = interleave(contenders, repeats=arguments.repeats, warmup=1)
    for pool in pools.values():
        pool.shutdown()

    print(f"\n{arguments.classes:,} classes, batches of {arguments.batch}, width {arguments.dim}")
    for side in sides:
        print(f"{side:12}{statistics.median(seconds[side]):10.3g} s{memory[side]:10.3f} GB")
    faster = statistics.median(seconds["full"]) / statistics.median(seconds["adaptive"])
    share = memory["adaptive"] / memory["full"]
    print(f"{faster:.1f} times as fast (aim: at least {AIM_TIME})")
    print(f"{share:.3f} of the memory (aim: at most {AIM_MEMORY:g})")
    if arguments.json:
        report = {**settings, "seconds": seconds, "gigabytes": memory}
        arguments.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
