"""Train a variational autoencoder on any TFDS image set, and draw new images from it.

    python examples/vae.py

takes minutes on two CPU cores, on 28x28 images that come with the package. It writes the encoder,
the decoder, samples, reconstructions, images between two others and along latent variables, and a
table: the bound of test images in nats, the same weighted by importance, how many latent variables
are in use, and what a classifier makes of them. Images are made binary at random in each step, as
in the papers on likelihoods. All of Fashion-MNIST, on several devices:

    python examples/vae.py --dataset fashion_mnist --epochs 60 --strategy mirrored
"""

import argparse
import json

import _image_runs as image_runs
import keras
import numpy as np

from keras_ssl import distribute, evaluate, networks, trainers, visualize

parser = argparse.ArgumentParser(
    description="Variational autoencoder on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
image_runs.add_data_arguments(parser)
add("--widths", type=int, nargs="+", default=[32, 64], help="channels of the convolutions")
add("--features", type=int, default=256, help="features of the encoder")
add("--latent", type=int, default=16, help="number of latent variables")
add("--beta", type=float, default=1.0, help="weight of the divergence")
add("--free-bits", type=float, default=0.0, help="nats that a latent variable may cost for free")
add("--epochs", type=int, default=30)
add("--learning-rate", type=float, default=1e-3)
add("--draws", type=int, default=64, help="draws of the importance-weighted bound")
image_runs.add_run_arguments(parser, "runs/vae")
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
output = arguments.output

# Data: images of 0..255, of which the trainer's augmentation makes binary ones
train, test = image_runs.load_splits(arguments)
batches = image_runs.unlabelled_batches(arguments, train)
shape = tuple(train.element_spec[0].shape)


@keras.saving.register_keras_serializable(package="examples")
class DrawBinary(keras.layers.Layer):
    """Pixels that are 1 with the probability that their gray value gives."""

    def __init__(self, seed: int = 0, **kwargs: object):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: object, training: bool = False) -> object:
        uniform = distribute.draw_per_example(
            lambda n: keras.random.uniform((n, *x.shape[1:]), seed=self.seed_generator),
            keras.ops.shape(x)[0],
        )
        return keras.ops.cast(uniform < keras.ops.cast(x, "float32") / 255, "float32")


with strategy.scope():
    trainer = trainers.VAE(
        networks.conv_encoder(shape, arguments.widths, arguments.features),
        networks.conv_decoder(shape, arguments.widths, arguments.latent),
        arguments.latent,
        beta=arguments.beta,
        free_bits=arguments.free_bits,
        augment=DrawBinary(arguments.seed),
        seed=arguments.seed,
    )
    trainer.compile(keras.optimizers.Adam(arguments.learning_rate))
history = trainer.fit(batches, epochs=arguments.epochs)

# Product: networks, pictures, and a table
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    trainer.encoder.save(output / "encoder.keras")
    trainer.decoder.save(output / "decoder.keras")
    visualize.plot_history(history, path=output / "curves.png")
    draw = DrawBinary(arguments.seed + 1)
    binary = test.batch(256, drop_remainder=True).map(lambda x, y: (draw(x), y))
    images = next(iter(test.batch(256)))[0]
    seen, gray = draw(images), keras.ops.cast(images, "float32") / 255
    z = np.asarray(trainer.encode(seen))
    most_used = np.argsort(-z.var(axis=0))[:8]
    made = {"binary": seen, "reconstructed": trainer.decode(z)}
    options, decode = {"value_range": (0, 1)}, trainer.decode
    visualize.plot_reconstructions(gray, made, **options, path=output / "reconstructions.png")
    visualize.plot_samples(trainer.sample(64, seed=0), **options, path=output / "samples.png")
    visualize.plot_traversal(decode, z[0], most_used, **options, path=output / "traversal.png")
    ends = z[:4], z[4:8]
    visualize.plot_interpolation(decode, *ends, **options, path=output / "interpolation.png")

    bound = trainer.evaluate(binary.map(lambda x, y: x * 255), verbose=0, return_dict=True)
    few = binary.take(4)  # each draw is a pass of the decoder
    tighter = trainer.importance_weighted_bound(few, arguments.draws)
    measured = train.batch(256).map(lambda x, y: (draw(x), y))
    report = {
        "bound of test images": -bound["reconstruction"] - bound["kl"],
        f"bound of {arguments.draws} draws, of {len(tighter)} of them": float(np.mean(tighter)),
        "divergence": bound["kl"],
        "active latent variables": trainer.active_units(binary),
        "latent variables": arguments.latent,
        "classifiers": evaluate.representation_report(trainer, measured, binary)["encoder"],
    }
    (output / "report.json").write_text(json.dumps(report, indent=2))
    for name, value in report.items():
        print(f"{name}: {value}")
    print(f"The networks, pictures and the table are in {output.resolve()}")
