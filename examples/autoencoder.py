"""Train autoencoders on any TFDS image set, and see what their codes are worth.

    python examples/autoencoder.py

takes minutes on two CPU cores, on 28x28 images that come with the package. It trains an
undercomplete, a denoising and a sparse one, and writes for each its encoder, reconstructions of
test images, and a line of a table: the error of test images, and what a k-NN and a linear
classifier make of the code.

The sparse one has a code of 512 units, of which 32 are active; the others have one of `--code`. All
of Fashion-MNIST, on several devices:

    python examples/autoencoder.py --dataset fashion_mnist --epochs 40 --strategy mirrored
"""

import argparse
import json

import _image_runs as image_runs
import keras

from keras_ssl import augment, distribute, evaluate, networks, trainers, visualize

KINDS = ("undercomplete", "denoising", "sparse")

parser = argparse.ArgumentParser(
    description="Autoencoders on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
image_runs.add_data_arguments(parser)
add("--kinds", nargs="+", choices=KINDS, default=KINDS)
add("--widths", type=int, nargs="+", default=[16, 32], help="channels of the convolutions")
add("--code", type=int, default=32, help="numbers of a code that is not sparse")
add("--units", type=int, default=512, help="units of the sparse code")
add("--active", type=int, default=32, help="units that are active for an image")
add("--hidden", type=float, default=0.5, help="share of an image that the denoising one repairs")
add("--epochs", type=int, default=20)
add("--learning-rate", type=float, default=2e-3)
image_runs.add_run_arguments(parser, "runs/autoencoder")
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
output = arguments.output

# Data: images between 0 and 1, without labels
train, test = (
    one.map(lambda x, y: (keras.ops.cast(x, "float32") / 255, y))
    for one in image_runs.load_splits(arguments)
)
batches = image_runs.unlabelled_batches(arguments, train)
shape = train.element_spec[0].shape


def make(kind: str) -> trainers.Autoencoder:
    """Return an autoencoder that has learned nothing."""
    code = arguments.units if kind == "sparse" else arguments.code
    encoder = networks.conv_encoder(tuple(shape), arguments.widths, code)
    decoder = networks.conv_decoder(tuple(shape), arguments.widths, code, activation="sigmoid")
    if kind == "sparse":
        return trainers.SparseAutoencoder(encoder, decoder, top_k=arguments.active)
    corruption = None
    if kind == "denoising":  # squares of a 7x7 grid are hidden
        corruption = augment.RandomPatchMask(7, arguments.hidden, value_range=(0, 1))
    return trainers.Autoencoder(encoder, decoder, corruption)


results = {}
for kind in arguments.kinds:
    with strategy.scope():
        trainer = make(kind)
        trainer.compile(keras.optimizers.Adam(arguments.learning_rate))
    trainer.fit(batches, epochs=arguments.epochs)
    if not distribute.is_chief(strategy):
        continue
    output.mkdir(parents=True, exist_ok=True)
    trainer.encoder.save(output / f"{kind}.keras")
    images = next(iter(test.batch(8)))[0]
    rows = {"reconstructed": trainer.reconstruct(images)}
    if kind == "denoising":
        hidden = trainer.corruption(images, training=True)
        rows = {"seen": hidden, "repaired": trainer.reconstruct(hidden), **rows}
    visualize.plot_reconstructions(images, rows, value_range=(0, 1), path=output / f"{kind}.png")
    report = evaluate.representation_report(trainer.encoder, train.batch(256), test.batch(256))
    errors = [
        keras.ops.square(trainer.reconstruct(x) - x)
        for x, _ in test.batch(256, drop_remainder=True)
    ]
    error = float(keras.ops.mean(keras.ops.concatenate(errors, axis=0)))
    results[kind] = {"error of test images": error, "report": report["encoder"]}

# Product: encoders, pictures, and a table
if distribute.is_chief(strategy):
    (output / "report.json").write_text(json.dumps(results, indent=2))
    for kind, result in results.items():
        print(f"{kind:14}  error {result['error of test images']:.4f}  {result['report']}")
    print(f"Encoders, pictures and the table are in {output.resolve()}")
