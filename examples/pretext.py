"""Train an encoder on a pretext task, on any TFDS image set, and measure what it learned.

    python examples/pretext.py --method rotation
    python examples/pretext.py --method position
    python examples/pretext.py --method jigsaw
    python examples/pretext.py --method inpainting
    python examples/pretext.py --method colorization --dataset cifar10 --size 32

takes minutes on two CPU cores, on 28x28 images that come with the package; colorization needs a set
of colour images. The defaults are made for these: a small residual network, patches of 7x7 pixels,
20 epochs. With larger images, on the GPUs of one machine:

    python examples/pretext.py --method jigsaw --dataset imagenet2012 --test-split validation \
        --resize 256 --size 225 --patch-size 64 --permutations 1000 --head 4096 --width 128 \
        --epochs 90 --batch-size 256 --shuffle-buffer 50000 --strategy mirrored \
        --precision mixed_bfloat16

A run that was killed goes on when it is started again with the same arguments.
"""

import argparse
import json
import shutil

import _image_runs as image_runs
import keras
from keras.optimizers.schedules import CosineDecay

from keras_ssl import augment, callbacks, distribute, evaluate, networks, trainers, visualize

parser = argparse.ArgumentParser(
    description="A pretext task on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
METHODS = ("rotation", "position", "jigsaw", "inpainting", "colorization")
add("--method", choices=METHODS, default="rotation")
image_runs.add_data_arguments(parser)
add("--width", type=int, default=32, help="of the first of three stages of the encoder")
add("--patch-size", type=int, default=7, help="of position and jigsaw")
add("--gap", type=int, default=2, help="pixels between the patches of position")
add("--jitter", type=int, default=1, help="pixels by which the neighbour of position is moved")
add("--permutations", type=int, default=100, help="of jigsaw")
add("--head", type=int, default=512, help="width of the hidden layer of position and jigsaw")
add("--block-size", type=int, default=14, help="side of the block of inpainting")
add("--crop-scale", type=float, default=0.6, help="least area of a random crop")
add("--epochs", type=int, default=20)
add("--learning-rate", type=float, default=2e-3)
image_runs.add_run_arguments(parser, "runs/pretext")
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
output = arguments.output

# Data: images without labels to learn from; labels only measure
train, test = image_runs.load_splits(arguments)
batches = image_runs.unlabelled_batches(arguments, train)
channels = train.element_spec[0].shape[-1]


def encoder(colors: int = channels) -> keras.Model:
    """Return an encoder of patches and of whole images."""
    return networks.small_resnet((None, None, colors), arguments.width)


def feature_maps() -> keras.Model:
    """Return an encoder of lightness, without its pooling."""
    whole = encoder(colors=1)
    return keras.Model(whole.inputs, whole.layers[-1].input)


def block_decoder() -> keras.Model:
    """Return a decoder from features to a block of an image."""
    side = arguments.block_size
    start = -(-side // 4)
    return keras.Sequential(
        [
            keras.layers.Dense(start * start * arguments.width, "relu"),
            keras.layers.Reshape((start, start, arguments.width)),
            keras.layers.Conv2DTranspose(arguments.width, 4, 2, padding="same", activation="relu"),
            keras.layers.Conv2DTranspose(arguments.width, 4, 2, padding="same", activation="relu"),
            keras.layers.CenterCrop(side, side),
            keras.layers.Conv2D(channels, 3, padding="same", dtype="float32"),
            keras.layers.Rescaling(127.5, offset=127.5, dtype="float32"),
        ]
    )


def block_discriminator() -> keras.Model:
    """Return a discriminator of blocks."""
    return keras.Sequential(
        [
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(arguments.width, 4, 2, padding="same", activation="leaky_relu"),
            keras.layers.Conv2D(2 * arguments.width, 4, 2, padding="same", activation="leaky_relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )


def make_trainer(view: keras.layers.Layer) -> trainers.SelfSupervisedModel:
    """Return the trainer of the method."""
    patches = {"patch_size": arguments.patch_size, "augment": view}
    match arguments.method:
        case "rotation":
            return trainers.RotationPrediction(encoder(), view)
        case "position":
            head = keras.layers.Dense(arguments.head, "relu")
            places = {"gap": arguments.gap, "jitter": arguments.jitter}
            return trainers.RelativePatchPosition(encoder(), **patches, **places, head=head)
        case "jigsaw":
            head = keras.layers.Dense(arguments.head, "relu")
            count = arguments.permutations
            return trainers.JigsawPuzzle(encoder(), **patches, permutation_count=count, head=head)
        case "inpainting":
            # pixels are up to 255: the error is that of pixels from 0 to 1
            weights = {"reconstruction_weight": 0.999 / 255**2, "adversary_weight": 0.001}
            networks_of_blocks = (block_decoder(), block_discriminator(), arguments.block_size)
            return trainers.ContextEncoder(encoder(), *networks_of_blocks, augment=view, **weights)
        case "colorization":
            return trainers.Colorization(feature_maps(), view)


# Method: a task whose labels come from the images themselves
rate = CosineDecay(arguments.learning_rate, len(batches) * arguments.epochs)
with strategy.scope():
    crop = augment.RandomResizedCrop(arguments.size, scale=(arguments.crop_scale, 1.0))
    trainer = make_trainer(augment.Pipeline([crop, augment.RandomHorizontalFlip()]))
    optimizers = {name: keras.optimizers.AdamW(rate) for name in trainer.optimizer_names}
    trainer.compile(optimizers)
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[callbacks.BackupAndResume(output / "backup")],
)

# Product: the encoder, pictures, and what the features are worth
if distribute.is_chief(strategy):
    trainer.encoder.save(output / "encoder.keras")
    whole_train, whole_test = (image_runs.center_crops(arguments, one) for one in (train, test))
    images = next(iter(whole_test))[0][:8]
    match arguments.method:
        case "rotation":
            views = keras.ops.unstack(trainer.rotate(images), axis=1)
        case "position" | "jigsaw":
            views = keras.ops.unstack(trainer.draw_patches(images)[0], axis=1)
        case "inpainting":
            views = trainer.inpaint(images)
        case "colorization":
            gray = keras.ops.repeat(trainer.lightness(images), 3, axis=-1)
            views = (gray, trainer.colorize(images))
    visualize.plot_views(images, views, path=output / "task.png")
    visualize.plot_history(history, path=output / "curves.png")

    # the encoder of colorization sees lightness, which the trainer makes of images
    measured = trainer if arguments.method == "colorization" else trainer.encoder
    report = evaluate.representation_report(measured, whole_train, whole_test)
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print(report)
    print(f"The encoder, pictures and report are in {output.resolve()}")
