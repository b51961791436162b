"""Train a vision transformer as a masked autoencoder on any TFDS image set, and look at it.

    python examples/mae.py

takes minutes on two CPU cores, on images that come with the package. The settings of the paper for
ImageNet (appendix A.1), on the GPUs of one machine:

    python examples/mae.py --dataset imagenet2012 --test-split validation --resize 256 --size 224 \
        --patch-size 16 --encoder base --decoder 512 8 16 --batch-size 4096 --epochs 800 \
        --learning-rate 1.5e-4 --warmup-epochs 40 --shuffle-buffer 50000 \
        --strategy mirrored --precision mixed_bfloat16

A run that was killed goes on when it is started again with the same arguments.
"""

import argparse
import json
import shutil
from pathlib import Path

import keras
import tensorflow as tf
from keras.optimizers.schedules import CosineDecay

from keras_ssl import (
    augment,
    callbacks,
    data,
    distribute,
    evaluate,
    layers,
    networks,
    optimizers,
    trainers,
    visualize,
)

parser = argparse.ArgumentParser(
    description="Masked autoencoder on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("--dataset", default="fashion_mnist_mini", help="embedded or TFDS name")
add("--data-dir", help="folder of prepared TFDS sets")
add("--train-split", default="train")
add("--test-split", default="test", help='"validation" for ImageNet')
add("--resize", type=int, help="size that images are brought to first; needed if they differ")
add("--size", type=int, default=28, help="height and width of a crop")
add("--shuffle-buffer", type=int, default=10_000, help="images")
add("--patch-size", type=int, default=4)
add("--encoder", nargs="+", default=["96", "4", "4"], help="size, or width, blocks and heads")
add("--decoder", type=int, nargs=3, default=[48, 2, 4], help="width, blocks and heads")
add("--mask-ratio", type=float, default=0.75)
add("--epochs", type=int, default=60)
add("--batch-size", type=int, default=256, help="over all replicas")
add("--learning-rate", type=float, default=1.5e-3, help="for a batch of 256; scaled linearly")
add("--warmup-epochs", type=float, default=5.0)
add("--weight-decay", type=float, default=0.05)
add("--strategy", choices=distribute.STRATEGIES, default="auto", help="which devices to use")
add("--replicas", type=int, help="split the CPU into this many devices, to try mirrored")
add("--precision", choices=["float32", "mixed_float16", "mixed_bfloat16"], default="float32")
add("--seed", type=int, default=0)
add("--output", type=Path, default=Path("runs/mae"), help="folder for all that is written")
arguments = parser.parse_args()

# first of all: workers wait for each other here, and TensorFlow is set up for them
strategy = distribute.strategy(arguments.strategy, arguments.replicas, seed=arguments.seed)
keras.config.set_dtype_policy(arguments.precision)
output = arguments.output


def load_split(split: str) -> tf.data.Dataset:
    """Return the images of a split and their labels, all of one size."""
    dataset = data.load_images(arguments.dataset, split, arguments.data_dir)
    if arguments.resize is None:
        return dataset
    resize = keras.layers.Resizing(
        arguments.resize, arguments.resize, crop_to_aspect_ratio=True, dtype="float32"
    )
    return dataset.map(
        lambda x, y: (tf.cast(tf.round(resize(x)), "uint8"), y), num_parallel_calls=tf.data.AUTOTUNE
    )


# Data: images without labels to learn from; labels only measure
train, test = load_split(arguments.train_split), load_split(arguments.test_split)
batches = (
    train.map(lambda x, y: x)
    .shuffle(arguments.shuffle_buffer)
    .batch(arguments.batch_size, drop_remainder=True)
    .prefetch(tf.data.AUTOTUNE)
)

# Method: predict the pixels of hidden patches from the others, which are all that the encoder sees
steps = len(batches) * arguments.epochs
warmup = min(round(arguments.warmup_epochs * len(batches)), steps // 2)
rate = optimizers.linear_scaling(arguments.learning_rate, arguments.batch_size)
channels = train.element_spec[0].shape[-1]
shape, patch = (arguments.size, arguments.size, channels), arguments.patch_size
size = arguments.encoder[0] if len(arguments.encoder) == 1 else tuple(map(int, arguments.encoder))
width, depth, heads = arguments.decoder
with strategy.scope():
    trainer = trainers.MAE(
        networks.vit(size, shape, patch, positions="sincos"),
        decoder=layers.TokenDecoder(width, depth, heads),
        masking=layers.RandomMasking(arguments.mask_ratio),
        augment=augment.Pipeline(
            [
                augment.RandomResizedCrop(arguments.size, scale=(0.2, 1.0)),
                augment.RandomHorizontalFlip(),
            ]
        ),
    )
    trainer.compile(
        keras.optimizers.AdamW(
            CosineDecay(0.0, steps - warmup, warmup_target=rate, warmup_steps=warmup),
            weight_decay=arguments.weight_decay,
            beta_2=0.95,
        ),
        exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
    )
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    trainer.encoder.summary()
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[callbacks.BackupAndResume(output / "backup")],
)

# Product: the encoder, pictures, and what the features are worth
if distribute.is_chief(strategy):
    encoder = trainer.encoder
    encoder.save(output / "encoder.keras")
    centers = test.map(
        lambda x, y: (tf.image.resize_with_crop_or_pad(x, arguments.size, arguments.size), y)
    )
    images, _ = next(iter(centers.batch(8)))
    visualize.plot_views(
        images,
        trainer.reconstruct(images),
        titles=["seen", "reconstructed"],
        path=output / "reconstructions.png",
    )
    outputs = encoder.encode(
        encoder.embed(images), encoder.grid(images.shape), return_attention_scores=True
    )
    scores = outputs["attention_scores"][-1][:, :, 0, encoder.extra_tokens :]
    visualize.plot_attention(
        images, scores, encoder.grid(images.shape), path=output / "attention.png"
    )
    visualize.plot_history(history, path=output / "curves.png")

    measured = train.map(
        lambda x, y: (tf.image.resize_with_crop_or_pad(x, arguments.size, arguments.size), y)
    )
    report = evaluate.representation_report(encoder, measured.batch(256), centers.batch(256))
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print(report)
    print(f"The encoder, pictures and report are in {output.resolve()}")
