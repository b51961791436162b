"""Train an autoencoder and a diffusion model of its latents on any TFDS image set.

    python examples/latent_diffusion.py

takes minutes on two CPU cores, on 28x28 images that come with the package, whose latents are 7x7
with 4 channels. Larger settings, on the GPUs of one machine:

    python examples/latent_diffusion.py --dataset imagenet2012 --test-split validation \
        --resize 256 --size 256 --classes 1000 --autoencoder-widths 64 128 256 --latent-channels 4 \
        --widths 192 384 576 --blocks 2 --attention-levels 0 1 2 --epochs 100 --ema 0.9999 \
        --learning-rate 1e-4 --batch-size 512 --strategy mirrored --precision mixed_bfloat16

It writes what examples/diffusion.py writes, and reconstructions of the autoencoder before and
after its decoder is fine-tuned.
"""

import argparse
import json

import _generation as generation
import _image_runs as image_runs
import keras
import numpy as np
import tensorflow as tf

from keras_ssl import distribute, networks, samplers, trainers, visualize

parser = argparse.ArgumentParser(
    description="Latent diffusion on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
generation.add_arguments(parser)
parser.set_defaults(widths=[64], attention_levels=[0], epochs=30)
add("--autoencoder-widths", type=int, nargs="+", default=[16, 32], help="one for each halving")
add("--latent-channels", type=int, default=4)
add("--autoencoder-epochs", type=int, default=6)
add("--decoder-epochs", type=int, default=2, help="of fine-tuning")
image_runs.add_run_arguments(parser, "runs/latent_diffusion")
arguments = parser.parse_args()


class Autoencoder(trainers.DistributedFit, keras.Model):
    """A functional model that trains under every strategy."""


strategy = image_runs.start(arguments)
output = arguments.output

train, test = image_runs.load_splits(arguments)
batches = generation.batches(arguments, train)
alone = batches.map(lambda x, y: x)
shape = (arguments.size, arguments.size, train.element_spec[0].shape[-1])

# Autoencoder: images from 0 to 255 to latents and back
with strategy.scope():
    widths, channels = arguments.autoencoder_widths, arguments.latent_channels
    rescale = keras.layers.Rescaling(1 / 127.5, offset=-1)
    back = keras.layers.Rescaling(127.5, offset=127.5)
    encoder = keras.Sequential(
        [keras.Input(shape), rescale, networks.conv_encoder(shape, widths, channels=channels)],
        name="latent_encoder",
    )
    latent_shape = encoder.output_shape[1:]
    decoder = keras.Sequential(
        [
            keras.Input(latent_shape),
            networks.conv_decoder(shape, widths, channels=channels, activation="tanh"),
            back,
        ],
        name="latent_decoder",
    )
    inputs = keras.Input(shape)
    autoencoder = Autoencoder(inputs, decoder(encoder(inputs)))
    autoencoder.compile(keras.optimizers.Adam(2e-3), "mean_absolute_error")
pairs = alone.map(lambda x: (tf.cast(x, "float32"), tf.cast(x, "float32")))
autoencoder.fit(pairs, epochs=arguments.autoencoder_epochs)

# Method: take away noise of latents
with strategy.scope():
    trainer = trainers.LatentDiffusion(
        generation.make_unet(arguments, latent_shape),
        encoder,
        decoder,
        samplers.NoiseSchedule(arguments.schedule),
        arguments.prediction,
        num_classes=arguments.classes,
        min_snr_gamma=5.0,
        ema_momentum=arguments.ema,
    )
    trainer.compile(generation.optimizer(arguments, len(batches) * arguments.epochs))
history = trainer.fit(
    batches, epochs=arguments.epochs, callbacks=[generation.sample_grids(arguments)]
)


def reconstructed(images: np.ndarray) -> np.ndarray:
    """Return what the autoencoder makes of images."""
    return np.asarray(trainer.from_space(trainer.to_space(images)))


images, labels = next(iter(image_runs.center_crops(arguments, test)))
images, labels = np.asarray(images[:8], "float32"), np.asarray(labels[:8])
before = reconstructed(images)
trainer.fine_tune_decoder(alone, epochs=arguments.decoder_epochs)

# Product: pictures, and a table
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    trainer.save(output / "trainer.keras")
    visualize.plot_history(history, path=output / "curves.png")
    made = {"reconstructed": before, "after fine-tuning": reconstructed(images)}
    visualize.plot_reconstructions(images, made, path=output / "reconstructions.png")
    generation.draw(arguments, trainer, images, labels)

    classifier, accuracy = generation.train_classifier(arguments, train, test)
    rows = generation.measure_samplers(arguments, trainer, classifier)
    report = {
        "classifier_accuracy": accuracy,
        "latent_scale": float(trainer.latents.scale),
        "samplers": rows,
    }
    (output / "report.json").write_text(json.dumps(report, indent=2))
    print(image_runs.table(rows))
    print({key: value for key, value in report.items() if key != "samplers"})
    print(f"The trainer, pictures and report are in {output.resolve()}")
