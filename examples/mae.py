"""Train a vision transformer as a masked autoencoder on any TFDS image set, and look at it.

    python examples/mae.py

takes minutes on two CPU cores, on 28x28 images that come with the package. The defaults are made
for these: a small transformer and decoder, patches of 4x4 pixels, 60 epochs and a higher learning
rate. The settings of the paper for ImageNet (appendix A.1), on the GPUs of one machine:

    python examples/mae.py --dataset imagenet2012 --test-split validation --resize 256 --size 224 \
        --patch-size 16 --encoder base --decoder 512 8 16 --batch-size 4096 --epochs 800 \
        --learning-rate 1.5e-4 --warmup-epochs 40 --shuffle-buffer 50000 \
        --strategy mirrored --precision mixed_bfloat16

Unlike in the paper, images are cut to squares of one size before they are cropped at random. A run
that was killed goes on when it is started again with the same arguments.
"""

import argparse
import json
import shutil

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
    description="Masked autoencoder on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
image_runs.add_data_arguments(parser)
image_runs.add_vit_arguments(parser)
add("--decoder", type=int, nargs=3, default=[48, 2, 4], help="width, blocks and heads")
add("--mask-ratio", type=float, default=0.75)
add("--epochs", type=int, default=60)
add("--learning-rate", type=float, default=1.5e-3, help="for a batch of 256; scaled linearly")
add("--warmup-epochs", type=float, default=5.0)
add("--weight-decay", type=float, default=0.05)
image_runs.add_run_arguments(parser, "runs/mae")
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
output = arguments.output

# Data: images without labels to learn from; labels only measure
train, test = image_runs.load_splits(arguments)
batches = image_runs.unlabelled_batches(arguments, train)
channels = train.element_spec[0].shape[-1]

# Method: predict the pixels of hidden patches from the others, which are all that the encoder sees
steps = len(batches) * arguments.epochs
warmup = min(round(arguments.warmup_epochs * len(batches)), steps // 2)
rate = optimizers.linear_scaling(arguments.learning_rate, arguments.batch_size)
width, depth, heads = arguments.decoder
with strategy.scope():
    trainer = trainers.MAE(
        image_runs.make_vit(arguments, channels, positions="sincos"),
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
    whole_train, whole_test = (image_runs.center_crops(arguments, one) for one in (train, test))
    images = next(iter(whole_test))[0][:8]
    visualize.plot_views(
        images,
        trainer.reconstruct(images),
        titles=["seen", "reconstructed"],
        path=output / "reconstructions.png",
    )
    image_runs.plot_class_attention(encoder, images, output / "attention.png")
    visualize.plot_history(history, path=output / "curves.png")

    report = evaluate.representation_report(encoder, whole_train, whole_test)
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print(report)
    print(f"The encoder, pictures and report are in {output.resolve()}")
