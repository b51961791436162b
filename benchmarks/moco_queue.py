"""The cost of a long queue in a step of MoCo.

The whole step of `trainers.MoCo` on views that lie ready, with a queue of `--queue` keys and with
the shortest that there is, one batch; float32, SGD with momentum. And the part that a queue
changes, alone: the loss of given queries and keys, its gradient, and the queue's update, beside
Lightly's `NTXentLoss` with a memory bank.

The part is small and steps vary. So besides the difference of the steps, which noise may hide, the
script prints the difference of the parts as a share of the step.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from measure import Peer, interleave, machine, medians, print_machine, print_table, timed

from keras_ssl import layers, losses, networks, trainers

TEMPERATURE = 0.2
DIM = 128
AIM = 0.02


def make_step(arguments: argparse.Namespace, size: int) -> Callable[[], float]:
    """A function that times one step of MoCo with a queue of `size` keys."""
    keras.utils.set_random_seed(0)
    shape = (arguments.size, arguments.size, 3)
    if arguments.network == "resnet18":
        encoder = networks.resnet18(shape, width=arguments.width)
    else:
        encoder = networks.resnet50(shape, stem=networks.imagenet_stem)
    trainer = trainers.MoCo(
        encoder,
        projector=layers.ProjectionHead((2048, DIM), normalization=False),
        loss=losses.InfoNCE(TEMPERATURE),
        queue=layers.FeatureQueue(size, seed=0),
    )
    trainer.compile(optimizer=keras.optimizers.SGD(0.03, momentum=0.9))
    views = np.random.default_rng(0).uniform(0, 255, (2, arguments.batch, *shape))
    views = tuple(keras.ops.convert_to_tensor(view, "float32") for view in views)
    trainer.train_on_batch(views)
    return timed(lambda: trainer.train_on_batch(views))


def make_part(batch: int, size: int, steps: int = 10) -> Callable[[], float]:
    """A function that times the loss, its gradient for the queries, and the queue's update."""
    queue = layers.FeatureQueue(size, seed=0)
    loss = losses.InfoNCE(TEMPERATURE)
    random = np.random.default_rng(0).normal(size=(2, batch, DIM)).astype("float32")
    query, key = (keras.ops.convert_to_tensor(x) for x in random)
    queue.build(key.shape)

    @tf.function
    def part(query: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(query)
            value = loss(query, key, queue=queue(keras.ops.normalize(key), training=True))
        return value, tape.gradient(value, query)

    part(query, key)

    # numbers, so that the work is done
    return timed(lambda: [result.numpy() for result in part(query, key)], steps)


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", choices=("resnet18", "resnet50"), default="resnet18")
    parser.add_argument("--width", type=int, default=64, help="of ResNet-18's first stage")
    parser.add_argument("--size", type=int, default=32, help="height and width of the views")
    parser.add_argument("--batch", type=int, default=256, help="images in a step")
    parser.add_argument("--part-batch", type=int, help="of the part alone; default --batch")
    parser.add_argument("--queue", type=int, default=65536)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    part_batch = arguments.part_batch or arguments.batch

    parts = {
        "long queue": make_part(part_batch, arguments.queue),
        "short queue": make_part(part_batch, part_batch),
    }
    with Peer("moco_queue_lightly.py") as peer:
        peer.ask("set_up", batch=part_batch, dim=DIM, size=arguments.queue, temperature=TEMPERATURE)
        parts["lightly, long queue"] = lambda: peer.ask("seconds", steps=10)
        print_machine(peer)
        of_parts = interleave(parts, repeats=arguments.repeats)
    print(f"\nloss, gradient and queue alone, {part_batch} queries")
    part = medians(of_parts)
    print_table(part, per="lightly, long queue")

    steps = {
        "long queue": make_step(arguments, arguments.queue),
        "short queue": make_step(arguments, arguments.batch),
    }
    of_steps = interleave(steps, repeats=arguments.repeats)
    print(f"\none step, {arguments.batch} images, {arguments.network}, {arguments.size} pixels")
    step = medians(of_steps)
    print_table(step, per="short queue")
    added = (part["long queue"] - part["short queue"]) / part_batch * arguments.batch
    share = added / step["short queue"]
    print(f"the part alone adds {share:.2%} of the step (aim: under {AIM:.0%})")
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments)}
        report |= {"parts": of_parts, "steps": of_steps}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
