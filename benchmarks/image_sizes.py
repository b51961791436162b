"""Views of images of 200 sizes, compared with images of one size, tracing and compiling included.

XLA compiles a function for every shape, so `keras_ssl.augment` uses TensorFlow's kernels for images
whose size is not known in the graph. Two pipelines are timed, each made anew for every measurement,
on images of one size and on images that all have different sizes, with about as many pixels:

- `map`: `dataset.map(lambda x: views(x[None]))`, image by image.
- `batches`: `dataset.batch(n).map(views)` for one size, `dataset.ragged_batch(n).map(views)` for
  many.

The first pass includes tracing and compiling. The second is what all further epochs cost.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from measure import interleave, medians, print_machine

from keras_ssl.augment import SimCLRViews


def random_images(count: int, sides: tuple[int, int], seed: int = 0) -> tuple[list, list]:
    """Images of different sizes, and as many of one size with about as many pixels."""
    rng = np.random.default_rng(seed)
    sizes = set()
    while len(sizes) < count:
        sizes.add(tuple(int(side) for side in rng.integers(*sides, 2)))
    side = round(np.sqrt(np.mean([height * width for height, width in sizes])))
    many = [rng.integers(0, 256, (*size, 3)).astype("uint8") for size in sorted(sizes)]
    rng.shuffle(order := list(range(count)))
    one = [rng.integers(0, 256, (side, side, 3)).astype("uint8") for _ in range(count)]
    return [many[index] for index in order], one


def dataset_of(images: list) -> tf.data.Dataset:
    """The images one by one, of static size if all have the same."""
    is_one = len({image.shape for image in images}) == 1
    shape = images[0].shape if is_one else (None, None, 3)
    return tf.data.Dataset.from_generator(
        lambda: iter(images), output_signature=tf.TensorSpec(shape, "uint8")
    )


def by_map(images: list, size: int, batch_size: int) -> tf.data.Dataset:
    """Views of each image, then batches."""
    views = SimCLRViews(size)

    def of_one(image: tf.Tensor) -> tuple:
        return tuple(view[0] for view in views(image[None]))

    return dataset_of(images).map(of_one).batch(batch_size)


def by_batch(images: list, size: int, batch_size: int) -> tf.data.Dataset:
    """Batches, then views of each batch."""
    dataset = dataset_of(images)
    is_one = dataset.element_spec.shape.is_fully_defined()
    batches = dataset.batch(batch_size) if is_one else dataset.ragged_batch(batch_size)
    return batches.map(SimCLRViews(size))


def seconds(make: Callable, *arguments: object) -> tuple[float, float]:
    """Seconds of the first pass, with making and tracing the pipeline, and of the second."""
    start = time.perf_counter()
    dataset = make(*arguments)
    for _ in dataset:
        pass
    first = time.perf_counter()
    for _ in dataset:
        pass
    return first - start, time.perf_counter() - first


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=200, help="images, and sizes")
    parser.add_argument("--sides", type=int, nargs=2, default=[96, 320], help="range of the sides")
    parser.add_argument("--size", type=int, default=64, help="of the views")
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    print_machine()
    many, one = random_images(arguments.images, arguments.sides)
    settings = (arguments.size, arguments.batch_size)
    cases = {
        f"{name}, {kind}": (lambda make=make, images=images: seconds(make, images, *settings))
        for name, make in (("map", by_map), ("batches", by_batch))
        for kind, images in (("one size", one), ("many sizes", many))
    }
    measured = interleave(cases, repeats=arguments.repeats)
    for number, title in enumerate(("first pass, with tracing and compiling", "second pass")):
        middle = medians({case: [pair[number] for pair in measured[case]] for case in cases})
        print(f"\n{title}: seconds for {arguments.images} images")
        for name in ("map", "batches"):
            few, all_ = middle[f"{name}, one size"], middle[f"{name}, many sizes"]
            print(f"{name:8} one size {few:6.2f}   {arguments.images} sizes {all_:6.2f}", end="   ")
            print(f"ratio {all_ / few:.2f}", "" if number else "(aim: at most 3)")


if __name__ == "__main__":
    main()
