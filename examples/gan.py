"""Train a GAN on any TFDS image set, and draw images from it.

    python examples/gan.py

takes minutes on two CPU cores, on 28x28 images that come with the package: the networks of DCGAN,
the non-saturating objective, and an averaged generator. It writes the generator, samples after each
of `--pictures` parts of training, curves, and a table. Labels, all of Fashion-MNIST on several
devices, the Wasserstein objective:

    python examples/gan.py --conditional
    python examples/gan.py --dataset fashion_mnist --epochs 40 --strategy mirrored
    python examples/gan.py --objective wasserstein --normalization none --gradient-penalty 10 \
        --discriminator-steps 5
"""

import argparse
import json

import _image_runs as image_runs
import keras
import numpy as np

from keras_ssl import callbacks, distribute, evaluate, losses, networks, trainers, visualize

OBJECTIVES = {
    "hinge": losses.HingeGAN,
    "least-squares": losses.LeastSquaresGAN,
    "minimax": losses.MinimaxGAN,
    "non-saturating": losses.NonSaturatingGAN,
    "wasserstein": losses.WassersteinGAN,
}

parser = argparse.ArgumentParser(
    description="GAN on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
image_runs.add_data_arguments(parser)
add("--width", type=int, default=16, help="channels of the first and last convolutions")
add("--latent", type=int, default=64, help="random numbers that an image is made of")
add("--objective", choices=OBJECTIVES, default="non-saturating")
add("--normalization", choices=["batch", "spectral", "none"], default="batch")
add("--gradient-penalty", type=float, default=0.0)
add("--discriminator-steps", type=int, default=1)
add("--conditional", action="store_true", help="generate images of classes")
add("--classes", type=int, default=10)
add("--epochs", type=int, default=40)
add("--learning-rate", type=float, default=4e-4)
add("--momentum", type=float, default=0.995, help="of the averages of the generator's weights")
add("--pictures", type=int, default=4, help="grids of samples along training")
image_runs.add_run_arguments(parser, "runs/gan")
parser.set_defaults(batch_size=128)
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
output = arguments.output

# Data: images between -1 and 1, with their labels
train, test = (
    one.map(lambda x, y: (keras.ops.cast(x, "float32") / 127.5 - 1, y))
    for one in image_runs.load_splits(arguments)
)
batches = train.shuffle(arguments.shuffle_buffer).batch(arguments.batch_size, drop_remainder=True)
shape, classes = tuple(train.element_spec[0].shape), arguments.classes
num_classes = classes if arguments.conditional else None

with strategy.scope():
    trainer = trainers.GAN(
        networks.dcgan_generator(shape, arguments.latent, arguments.width, num_classes=num_classes),
        networks.dcgan_discriminator(
            shape,
            arguments.width,
            num_classes=num_classes,
            normalization=arguments.normalization == "batch",
            spectral_normalization=arguments.normalization == "spectral",
        ),
        arguments.latent,
        loss=OBJECTIVES[arguments.objective](),
        gradient_penalty=arguments.gradient_penalty,
        discriminator_steps=arguments.discriminator_steps,
        ema_momentum=arguments.momentum,
        num_classes=num_classes,
        feature_layer="features",
        seed=arguments.seed,
    )
    trainer.compile(
        {
            name: keras.optimizers.Adam(arguments.learning_rate, beta_1=0.5)
            for name in ("generator", "discriminator")
        }
    )

history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[
        callbacks.SampleGrid(
            output / "epochs",
            every=max(1, arguments.epochs // arguments.pictures),
            value_range=(-1, 1),
            label=np.arange(64) % 8 % classes if arguments.conditional else None,
        )
    ],
)

# Product: the generator, pictures, and a table
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    trainer.teacher_generator.save(output / "generator.keras")
    visualize.plot_history(history, path=output / "curves.png")
    examples = np.concatenate([x for x, _ in test.batch(256).take(8)])
    many = np.asarray(trainer.sample(len(examples), seed=1))
    report = {
        "losses": {name: values[-1] for name, values in history.history.items()},
        # of the pixels of real and of generated images, relative to the former
        "difference of means": float(np.abs(many.mean(0) - examples.mean(0)).mean()),
        "ratio of deviations": float(many.std(0).mean() / examples.std(0).mean()),
        "classifiers": evaluate.representation_report(
            trainer.encoder, train.batch(256), test.batch(256)
        )["encoder"],
    }
    (output / "report.json").write_text(json.dumps(report, indent=2))
    for name, value in report.items():
        print(f"{name}: {value}")
    print(f"The generator, pictures and the table are in {output.resolve()}")
