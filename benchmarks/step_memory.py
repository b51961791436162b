"""Memory per additional image in a training step, measured and predicted.

    python benchmarks/step_memory.py

A process trains SimCLR for a few steps and tells its peak of resident memory; another does so with
more images. Beside the difference stands what `benchmarks/prediction/kept.py` counts in the traced
step, from which the activations in docs/scaling.md are computed. On a CPU; Linux or macOS.
"""

import argparse
import resource
import subprocess
import sys


def make_trainer(arguments: argparse.Namespace):
    """A SimCLR that takes ready views."""
    import keras

    from keras_ssl import layers, networks, trainers

    size, width = arguments.size, arguments.width
    trainer = trainers.SimCLR(
        networks.resnet18((size, size, 3), width=width, include_rescaling=False),
        projector=layers.ProjectionHead((8 * width, 128)),
    )
    trainer.compile(optimizer=keras.optimizers.SGD(0.05))
    return trainer


def peak_of_training(arguments: argparse.Namespace, images: int) -> None:
    """Train, then print the peak in bytes."""
    import keras
    import numpy as np

    trainer = make_trainer(arguments)
    shape = (images, arguments.size, arguments.size, 3)
    views = tuple(
        keras.ops.convert_to_tensor(np.random.default_rng(i).normal(size=shape), "float32")
        for i in range(2)
    )
    for _ in range(arguments.steps):
        trainer.train_on_batch(views)
    unit = 1 if sys.platform == "darwin" else 1024
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def predicted(arguments: argparse.Namespace) -> int:
    """Bytes per additional image, as counted in the traced step."""
    import tensorflow as tf
    from prediction.kept import kept_bytes_by_example

    trainer = make_trainer(arguments)
    view = tf.TensorSpec((arguments.size, arguments.size, 3))
    encoder, projector = trainer.encoder, trainer.projector
    projector.build(encoder.output_shape)
    weights = encoder.trainable_weights + projector.trainable_weights

    def forward(images: tf.Tensor) -> tf.Tensor:
        return projector(encoder(images, training=True), training=True)

    # two views, each of which the step holds beside the batch that it made them into
    views = 2 * 4 * 3 * arguments.size**2
    return 2 * kept_bytes_by_example(forward, [w.value for w in weights], view) + views


def main() -> None:
    """Measure with few images and with many, and print both figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--size", type=int, default=32, help="height and width of a view")
    parser.add_argument("--few", type=int, default=128, help="images")
    parser.add_argument("--many", type=int, default=512, help="images")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--train", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train is not None:
        peak_of_training(arguments, arguments.train)
        return
    peaks = [
        int(
            subprocess.run(
                [sys.executable, *sys.argv, "--train", str(images)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout.split()[-1]
        )
        for images in (arguments.few, arguments.many)
    ]
    measured = (peaks[1] - peaks[0]) / (arguments.many - arguments.few)
    counted = predicted(arguments)
    print(f"peak with {arguments.few} images  {peaks[0] / 1e6:10.0f} MB")
    print(f"peak with {arguments.many} images  {peaks[1] / 1e6:10.0f} MB")
    print(f"per additional image, measured  {measured / 1e6:8.3f} MB")
    print(f"per additional image, predicted {counted / 1e6:8.3f} MB")
    print(f"measured / predicted      {measured / counted:8.2f}")


if __name__ == "__main__":
    main()
