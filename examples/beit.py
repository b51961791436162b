"""Train BEiT v2 on any TFDS image set: a teacher, a tokenizer of its features, then the encoder.

    python examples/beit.py

takes minutes on two CPU cores, on 28x28 images that come with the package. The defaults are made
for these: small networks, patches of 4x4 pixels, 512 codes and few epochs. The stages are:

1. A teacher, by MAE, which is the fastest to train. `--teacher encoder.keras` takes another one,
   such as a published model read by `keras_ssl.convert`.
2. A tokenizer, by VQKD: it gives each patch the number of a code, from which the teacher's features
   can be reconstructed.
3. BEiT v2: predict the codes of hidden patches.

The settings of the paper for ImageNet, on the GPUs of one machine:

    python examples/beit.py --dataset imagenet2012 --test-split validation --resize 256 --size 224 \
        --patch-size 16 --encoder base --teacher teacher.keras --codes 8192 --code-width 32 \
        --tokenizer-decoder 768 3 12 --tokenizer-epochs 100 --epochs 300 --batch-size 2048 \
        --learning-rate 1.9e-4 --drop-path 0.1 --shuffle-buffer 50000 --strategy mirrored \
        --precision mixed_bfloat16

Unlike in the paper, the tokenizer has the encoder's learning rate and weight decay, and images are
cut to squares of one size before they are cropped at random.

Finished stages are kept in the output folder, and a stage that was killed goes on where it was when
the script is started again with the same arguments.
"""

import argparse
import json
import math
import shutil
from functools import partial
from pathlib import Path

import _image_runs as image_runs
import keras
from keras.optimizers.schedules import CosineDecay

from keras_ssl import (
    augment,
    callbacks,
    distribute,
    evaluate,
    layers,
    optimizers,
    trainers,
    visualize,
)

parser = argparse.ArgumentParser(
    description="BEiT v2 on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
image_runs.add_data_arguments(parser)
image_runs.add_vit_arguments(parser)
add("--drop-path", type=float, default=0.0, help="rate of stochastic depth")
add("--teacher", type=Path, help="file of a trained encoder; without it, one is trained first")
add("--teacher-epochs", type=int, default=15)
add("--codes", type=int, default=512, help="size of the codebook")
add("--code-width", type=int, default=16)
add("--tokenizer-decoder", type=int, nargs=3, default=[96, 1, 4], help="width, blocks and heads")
add("--tokenizer-epochs", type=int, default=6)
add("--mask-ratio", type=float, default=0.4)
add("--epochs", type=int, default=8, help="of BEiT v2")
add("--learning-rate", type=float, default=1.5e-3, help="for a batch of 256; scaled linearly")
add("--weight-decay", type=float, default=0.05)
image_runs.add_run_arguments(parser, "runs/beit")
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
is_chief = distribute.is_chief(strategy)
output = arguments.output


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
train, test = image_runs.load_splits(arguments)
batches = image_runs.unlabelled_batches(arguments, train)
channels = train.element_spec[0].shape[-1]
shape = (arguments.size, arguments.size, channels)
new_encoder = partial(image_runs.make_vit, arguments, channels, drop_path_rate=arguments.drop_path)
crop = augment.Pipeline(
    [
        augment.RandomResizedCrop(arguments.size, scale=(0.2, 1.0)),
        augment.RandomHorizontalFlip(),
    ]
)

# Stage 1: a teacher, whose features say what patches mean
if arguments.teacher is None:
    with strategy.scope():
        encoder = new_encoder(positions="sincos")
        half = encoder.compute_output_shape((None, *shape))[-1] // 2
        decoder = layers.TokenDecoder(half, depth=2, num_heads=encoder.blocks[0].num_heads)
        mae = trainers.MAE(encoder, decoder, layers.RandomMasking(0.75), crop)
    teacher = train_stage("teacher", mae, arguments.teacher_epochs).encoder
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
    whole_train, whole_test = (image_runs.center_crops(arguments, one) for one in (train, test))
    images = next(iter(whole_test))[0]
    codes = vqkd.tokenize(images)
    visualize.plot_codes(images, codes, grid, arguments.codes, path=output / "codes.png")
    image_runs.plot_masks(encoder, beit.masking, images[:8], output / "masks.png")
    image_runs.plot_class_attention(encoder, images[:6], output / "attention.png")

    reports = {}
    for name, one in (("teacher", teacher), ("BEiT v2", encoder)):
        print(f"\n{name}")
        reports[name] = evaluate.representation_report(one, whole_train, whole_test)
        print(reports[name])
    (output / "report.json").write_text(json.dumps(reports, indent=2))
    print(f"Encoder, tokenizer, pictures and reports are in {output.resolve()}")
