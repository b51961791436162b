"""Training on a folder of JPEGs beside the same images in memory: first step and images per second.

JPEGs of mixed sizes are written to a temporary folder. A SimCLR step of a ResNet-18 on them is
timed with three sources of the same images:

- `memory`: an array that `fit` takes as it is.
- `folder`: `keras_ssl.data.image_folder`, which decodes all files once and keeps the images.
- `folder, cache=False`: the same, which decodes the files of each batch.

The time to the first step goes from the name of the folder, or the array, to the end of the first
step: reading, building and tracing.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from measure import elapsed, interleave, machine, medians, print_machine
from PIL import Image

from keras_ssl import augment, data, layers, networks, trainers

# aims: seconds to the first step, and images per second of those from memory
FIRST_STEP, SHARE = 60, 0.8


def write_jpegs(folder: Path, count: int, sides: tuple[int, int]) -> None:
    """Write JPEGs of random sizes: blobs of colour with some noise, as compressible as photos."""
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = rng.integers(*sides, 2, endpoint=True)
        blobs = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        pixels = np.asarray(blobs.resize((width, height), Image.Resampling.BICUBIC), "float32")
        pixels = (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06}.jpg", quality=90)


class FirstStep(keras.callbacks.Callback):
    """Keeps the time at the end of the first step."""

    time = None

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the time of the first call."""
        self.time = self.time or time.perf_counter()


def make_trainer(arguments: argparse.Namespace) -> trainers.SimCLR:
    """SimCLR with a ResNet-18."""
    keras.utils.set_random_seed(0)
    size = arguments.size
    trainer = trainers.SimCLR(
        networks.resnet18((size, size, 3), width=arguments.width),
        projector=layers.ProjectionHead((8 * arguments.width, 128)),
        augment=augment.SimCLRViews(size),
    )
    trainer.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    return trainer


def start(
    make_data: Callable[[], Any], arguments: argparse.Namespace
) -> tuple[Callable[[], float], float]:
    """A function that times an epoch, and the seconds that went by until the end of a first step.

    Args:
        make_data: function that returns what `fit` takes.
        arguments: of the command line.
    """
    begin = time.perf_counter()
    first, trainer, x = FirstStep(), make_trainer(arguments), make_data()
    size = None if hasattr(x, "element_spec") else arguments.batch_size
    trainer.fit(x, batch_size=size, verbose=0, callbacks=[first])
    return lambda: elapsed(lambda: trainer.fit(x, batch_size=size, verbose=0)), first.time - begin


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--sides", type=int, nargs=2, default=[200, 800], help="range of the sides")
    parser.add_argument("--size", type=int, default=64, help="height and width of the views")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3, help="epochs measured of each source")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    if arguments.images % arguments.batch_size:
        parser.error("--images must be a multiple of --batch-size, so that all steps are whole")

    print_machine()
    with tempfile.TemporaryDirectory() as name:
        write_jpegs(Path(name), arguments.images, tuple(arguments.sides))
        array = data.image_folder(name, arguments.size).images()

        def batches(cache: bool) -> Any:
            folder = data.image_folder(name, arguments.size, cache=cache)
            return folder.batches(arguments.batch_size, shuffle=True, seed=0)

        sources = {
            "memory": lambda: array,
            "folder": lambda: batches(True),
            "folder, cache=False": lambda: batches(False),
        }
        started = {source: start(make, arguments) for source, make in sources.items()}
        epochs = {source: epoch for source, (epoch, _) in started.items()}
        measured = interleave(epochs, repeats=arguments.repeats, warmup=0)

    first = {source: seconds for source, (_, seconds) in started.items()}
    speed = {source: arguments.images / median for source, median in medians(measured).items()}
    print(f"\n{'':24}{'first step, s':>16}{'images/s':>12}{'/ memory':>12}")
    for source in sources:
        share = speed[source] / speed["memory"]
        print(f"{source:24}{first[source]:16.1f}{speed[source]:12.1f}{share:12.2f}")
    print(f"aims: a first step within {FIRST_STEP} s, and {SHARE} of the images/s from memory")
    if arguments.json:
        report = {
            "machine": machine(),
            "settings": vars(arguments),
            "first_step": first,
            "epoch": measured,
        }
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
