"""One SimCLR step on a batch too large for memory, against plain steps on the same images.

ResNet-18 with a 3x3 stem, a projector with one hidden layer, NT-Xent over all views, SGD with
momentum, float32; views are made in the step, of images that lie ready in memory.

- `cached`: one step on the whole batch, `compile(micro_batch_size=m)`.
- `plain`: as many steps on `m` images each as make up the batch. Its loss is that of a small batch;
  what it shares with the other is the work of the network on the images.

The ratio is what the second forward pass and the loss of the large batch cost. Memory is the
largest that the process had until the cached step's end, TensorFlow and data included.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import keras
import numpy as np
from measure import interleave, machine, medians, print_machine, print_table

from keras_ssl.augment import SimCLRViews
from keras_ssl.layers import ProjectionHead
from keras_ssl.losses import NTXent
from keras_ssl.networks import resnet18
from keras_ssl.trainers import SimCLR

AIM = 1.45
AIM_GB = 6.0


def make(arguments: argparse.Namespace, cached: bool) -> SimCLR:
    """A compiled SimCLR."""
    keras.utils.set_random_seed(0)
    size, width = arguments.size, arguments.width
    trainer = SimCLR(
        encoder=resnet18((size, size, 3), width=width),
        projector=ProjectionHead((8 * width, 128)),
        augment=SimCLRViews(size, seed=0),
        loss=NTXent(temperature=0.1, chunk_size=arguments.chunk_size if cached else None),
    )
    trainer.compile(
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
        micro_batch_size=arguments.micro_batch if cached else None,
    )
    return trainer


def gigabytes() -> float:
    """The largest resident set that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=8192, help="images in the batch")
    parser.add_argument("--micro-batch", type=int, default=256, help="images at a time")
    parser.add_argument("--chunk-size", type=int, default=1024, help="of the loss")
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    shape = (arguments.images, arguments.size, arguments.size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    cached, plain = make(arguments, cached=True), make(arguments, cached=False)
    print_machine()

    def cached_step() -> float:
        start = time.perf_counter()
        cached.train_on_batch(images)
        return time.perf_counter() - start

    def plain_steps() -> float:
        start = time.perf_counter()
        for first in range(0, arguments.images, arguments.micro_batch):
            plain.train_on_batch(images[first : first + arguments.micro_batch])
        return time.perf_counter() - start

    cached_step()  # traces, and is the first to need memory
    peak = gigabytes()
    plain.train_on_batch(images[: arguments.micro_batch])
    measured = interleave(
        {"plain": plain_steps, "cached": cached_step}, repeats=arguments.repeats, warmup=0
    )
    middle = medians(measured)
    print(f"\n{arguments.images} images of {arguments.size}x{arguments.size}, two views of each")
    print_table(middle, per="plain")
    print(f"cached / plain: {middle['cached'] / middle['plain']:.2f} (aim: at most {AIM})")
    print(f"peak memory of the process: {peak:.2f} GB (aim: under {AIM_GB})")
    if arguments.json:
        report = {
            "machine": machine(),
            "settings": vars(arguments),
            "seconds": measured,
            "peak GB": peak,
        }
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
