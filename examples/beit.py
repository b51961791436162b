"""Train BEiT v2 on any TFDS image set: a teacher, a tokenizer of its features, then the encoder.

    python examples/beit.py

takes minutes on two CPU cores, on images that come with the package:

1. A teacher, by DINO. `--teacher encoder.keras` takes another one, such as a published model read
   by `keras_ssl.convert`.
2. A tokenizer, by VQKD: it gives each patch the number of a code, from which the teacher's features
   can be reconstructed.
3. BEiT v2: predict the codes of hidden patches.

The settings of the paper for ImageNet, on the GPUs of one machine:

    python examples/beit.py --dataset imagenet2012 --test-split validation --resize 256 --size 224 \
        --patch-size 16 --encoder base --teacher teacher.keras --codes 8192 --code-width 32 \
        --tokenizer-decoder 768 3 12 --tokenizer-epochs 100 --epochs 300 --batch-size 2048 \
        --learning-rate 1.9e-4 --drop-path 0.1 --shuffle-buffer 50000 --strategy mirrored \
        --precision mixed_bfloat16

Finished stages are kept in the output folder, and a stage that was killed goes on where it was when
the script is started again with the same arguments.
"""

import argparse
import json
import math
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
    losses,
    networks,
    optimizers,
    trainers,
    visualize,
)

parser = argparse.ArgumentParser(
    description="BEiT v2 on any TFDS image set.",
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
add("--drop-path", type=float, default=0.0, help="rate of stochastic depth")
add("--teacher", type=Path, help="file of a trained encoder; without it, one is trained first")
add("--teacher-epochs", type=int, default=15)
add("--codes", type=int, default=512, help="size of the codebook")
add("--code-width", type=int, default=16)
add("--tokenizer-decoder", type=int, nargs=3, default=[96, 1, 4], help="width, blocks and heads")
add("--tokenizer-epochs", type=int, default=10)
add("--mask-ratio", type=float, default=0.4)
add("--epochs", type=int, default=20, help="of BEiT v2")
add("--batch-size", type=int, default=256, help="over all replicas")
add("--learning-rate", type=float, default=1.5e-3, help="for a batch of 256; scaled linearly")
add("--weight-decay", type=float, default=0.05)
add("--strategy", choices=distribute.STRATEGIES, default="auto", help="which devices to use")
add("--replicas", type=int, help="split the CPU into this many devices, to try mirrored")
add("--precision", choices=["float32", "mixed_float16", "mixed_bfloat16"], default="float32")
add("--seed", type=int, default=0)
add("--output", type=Path, default=Path("runs/beit"), help="folder for all that is written")
arguments = parser.parse_args()

# first of all: workers wait for each other here, and TensorFlow is set up for them
strategy = distribute.strategy(arguments.strategy, arguments.replicas, seed=arguments.seed)
keras.config.set_dtype_policy(arguments.precision)
is_chief = distribute.is_chief(strategy)
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


def centers(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches of the centres of images, to measure with."""
    size = arguments.size
    return dataset.map(lambda x, y: (tf.image.resize_with_crop_or_pad(x, size, size), y)).batch(256)


def new_encoder(**kwargs: object) -> networks.VisionTransformer:
    """Return an encoder that has learned nothing."""
    names = arguments.encoder
    size = names[0] if len(names) == 1 else tuple(map(int, names))
    return networks.vit(
        size, shape, arguments.patch_size, drop_path_rate=arguments.drop_path, **kwargs
    )


def train_stage(name: str, trainer: trainers.SelfSupervisedModel, epochs: int) -> keras.Model:
    """Return the trained trainer of a stage, from its file if it has been trained before."""
    file = output / f"{name}.keras"
    if file.exists():
        with strategy.scope():
            return keras.saving.load_model(file)
    print(f"Stage: {name}")
    steps = len(batches) * epochs
    rate = optimizers.linear_scaling(arguments.learning_rate, arguments.batch_size)
    schedule = CosineDecay(0.0, steps - steps // 10, warmup_target=rate, warmup_steps=steps // 10)
    with strategy.scope():
        trainer.compile(
            keras.optimizers.AdamW(schedule, weight_decay=arguments.weight_decay, beta_2=0.98),
            exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
        )
    backup = output / f"backup_{name}"
    history = trainer.fit(batches, epochs=epochs, callbacks=[callbacks.BackupAndResume(backup)])
    if is_chief:
        visualize.plot_history(history, path=output / f"{name}.png")
        trainer.save(file)
        shutil.rmtree(backup)
    return trainer


if is_chief:
    output.mkdir(parents=True, exist_ok=True)
train, test = load_split(arguments.train_split), load_split(arguments.test_split)
batches = (
    train.map(lambda x, y: x)
    .shuffle(arguments.shuffle_buffer)
    .batch(arguments.batch_size, drop_remainder=True)
    .prefetch(tf.data.AUTOTUNE)
)
shape = (arguments.size, arguments.size, train.element_spec[0].shape[-1])
crop = augment.Pipeline(
    [
        augment.RandomResizedCrop(arguments.size, scale=(0.2, 1.0)),
        augment.RandomHorizontalFlip(),
    ]
)

# Stage 1: a teacher, whose features say what patches mean
if arguments.teacher is None:
    total = len(batches) * arguments.teacher_epochs
    with strategy.scope():
        dino = trainers.DINO(
            new_encoder(),
            layers.ProjectionHead((512, 64), activation="gelu", l2_normalize=True),
            layers.Prototypes(512),
            augment.SimCLRViews(arguments.size, scale=(0.3, 1.0), blur_probability=0.0),
            losses.DINOLoss(),
            momentum=optimizers.cosine_momentum(0.99, total),
        )
    teacher = train_stage("teacher", dino, arguments.teacher_epochs).encoder
else:
    with strategy.scope():
        teacher = keras.saving.load_model(arguments.teacher)

# Stage 2: a codebook, from whose codes the teacher's features can be reconstructed
with strategy.scope():
    width, depth, heads = arguments.tokenizer_decoder
    teacher_width = teacher(keras.ops.zeros((1, *shape)), return_intermediates=True)[
        "patch_tokens"
    ].shape[-1]
    vqkd = trainers.VQKD(
        new_encoder(),
        teacher,
        layers.ProjectionHead(
            (teacher_width, arguments.code_width), normalization=False, activation="tanh"
        ),
        layers.VectorQuantizer(arguments.codes, "cosine", momentum=0.99, commitment=1.0),
        layers.TokenDecoder(width, depth, heads, output_dim=teacher_width),
        augment=crop,
    )
vqkd = train_stage("tokenizer", vqkd, arguments.tokenizer_epochs)

# Stage 3: predict the codes of hidden patches
with strategy.scope():
    encoder = new_encoder(positions=None, relative_bias="shared", layer_scale=0.1)
    grid = encoder.grid((None, *shape))
    hidden = round(arguments.mask_ratio * math.prod(grid))
    small = encoder.blocks[0]
    beit = trainers.BEiTv2(
        encoder,
        vqkd.tokenizer,
        masking=layers.BlockMasking(grid, arguments.mask_ratio, min_tokens=min(16, hidden // 2)),
        augment=crop,
        decoder=keras.Sequential(
            [layers.TransformerEncoderBlock(small.num_heads, small.hidden_dim) for _ in range(2)]
        ),
    )
beit = train_stage("beit", beit, arguments.epochs)

# Product: the encoder, pictures, and what the features are worth
if is_chief:
    encoder = beit.encoder
    encoder.save(output / "encoder.keras")
    images = next(iter(centers(test)))[0]
    codes = vqkd.tokenize(images)
    visualize.plot_codes(images, codes, grid, arguments.codes, path=output / "codes.png")
    outputs = encoder.encode(encoder.embed(images[:6]), grid, return_attention_scores=True)
    scores = outputs["attention_scores"][-1][:, :, 0, encoder.extra_tokens :]
    visualize.plot_attention(images[:6], scores, grid, path=output / "attention.png")

    reports = {}
    for name, one in (("teacher", teacher), ("BEiT v2", encoder)):
        print(f"\n{name}")
        reports[name] = evaluate.representation_report(one, centers(train), centers(test))
        print(reports[name])
    (output / "report.json").write_text(json.dumps(reports, indent=2))
    print(f"Encoder, tokenizer, pictures and reports are in {output.resolve()}")
