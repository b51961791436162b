"""Train a vision transformer by iBOT, or DINOv2, on any TFDS image set, and look at its attention.

    python examples/ibot.py

takes minutes on two CPU cores, on 28x28 images that come with the package. The defaults are made
for these: a small transformer and head, patches of 4x4 pixels, 2 local crops, 10 epochs, a lower
momentum and no blur. The settings of the paper for ImageNet and ViT-S, on the GPUs of one machine:

    python examples/ibot.py --dataset imagenet2012 --test-split validation --resize 256 --size 224 \
        --local-size 96 --local-count 10 --global-scale 0.25 1 --local-scale 0.05 0.25 --blur \
        --patch-size 16 --encoder small --drop-path 0.1 --projector 2048 2048 256 \
        --prototypes 8192 --epochs 800 --batch-size 1024 --learning-rate 5e-4 --warmup-epochs 10 \
        --temperature-epochs 30 --momentum 0.996 --clip-norm 3 --shuffle-buffer 50000 \
        --strategy mirrored --precision mixed_bfloat16

Unlike in the paper, images are cut to squares of one size before they are cropped at random, and
the share of masked patches is fixed.

`--method dinov2` adds KoLeo, a separate head for patches, and Sinkhorn centring. A run that was
killed goes on when it is started again with the same arguments.
"""

import argparse
import json
import math
import shutil

import _image_runs as image_runs
import keras
from keras.optimizers.schedules import CosineDecay, PolynomialDecay

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
    description="iBOT and DINOv2 on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("--method", choices=["ibot", "dinov2"], default="ibot")
image_runs.add_data_arguments(parser)
image_runs.add_vit_arguments(parser)
add("--local-size", type=int, default=16, help="height and width of a local crop")
add("--local-count", type=int, default=2)
add("--global-scale", type=float, nargs=2, default=[0.3, 1.0], help="least and greatest area")
add("--local-scale", type=float, nargs=2, default=[0.05, 0.4], help="least and greatest area")
add("--blur", action="store_true", help="blur views, as the paper does")
add("--registers", type=int, default=0)
add("--drop-path", type=float, default=0.0, help="rate of stochastic depth of the student")
add("--projector", type=int, nargs="+", default=[512, 64], help="widths of its layers")
add("--prototypes", type=int, default=512)
add("--mask-ratio", type=float, default=0.3)
add("--momentum", type=float, default=0.99, help="of the teacher at the start; 1 at the end")
add("--epochs", type=int, default=10)
add("--learning-rate", type=float, default=1.5e-3, help="for a batch of 256; scaled linearly")
add("--warmup-epochs", type=float, default=1.0)
add("--temperature-epochs", type=float, default=5.0, help="warm-up of the teacher's temperature")
add("--clip-norm", type=float, help="greatest norm of the gradient of each variable")
add("--weight-decay", type=float, nargs=2, default=[0.04, 0.4], help="at the start and the end")
image_runs.add_run_arguments(parser, "runs/ibot")
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
output = arguments.output

# Data: images without labels to learn from; labels only measure
train, test = image_runs.load_splits(arguments)
batches = image_runs.unlabelled_batches(arguments, train)
channels = train.element_spec[0].shape[-1]
steps = len(batches) * arguments.epochs
rate = optimizers.linear_scaling(arguments.learning_rate, arguments.batch_size)

# Method: from views with hidden patches, predict what a teacher makes of them whole
with strategy.scope():
    encoder = image_runs.make_vit(
        arguments,
        channels,
        registers=arguments.registers,
        layer_scale=1.0,
        drop_path_rate=arguments.drop_path,
    )
    grid = encoder.grid((None, arguments.size, arguments.size, channels))
    hidden = round(arguments.mask_ratio * math.prod(grid))
    method = {"ibot": trainers.iBOT, "dinov2": trainers.DINOv2}[arguments.method]

    def head() -> layers.ProjectionHead:
        """Return a projector."""
        return layers.ProjectionHead(
            arguments.projector, normalization=False, activation="gelu", l2_normalize=True
        )

    of_patches = {}
    if arguments.method == "dinov2":
        of_patches = {
            "patch_projector": head(),
            "patch_prototypes": layers.Prototypes(arguments.prototypes),
        }
    trainer = method(
        encoder,
        head(),
        layers.Prototypes(arguments.prototypes),
        augment.MultiCropViews(
            arguments.size,
            arguments.local_size,
            arguments.local_count,
            global_scale=arguments.global_scale,
            local_scale=arguments.local_scale,
            blur_probability=(1.0, 0.1, 0.5) if arguments.blur else (0.0, 0.0, 0.0),
        ),
        layers.BlockMasking(grid, arguments.mask_ratio, min_tokens=min(16, hidden // 2)),
        teacher_temperature=PolynomialDecay(
            0.04, max(1, round(arguments.temperature_epochs * len(batches))), 0.07
        ),
        momentum=optimizers.cosine_momentum(arguments.momentum, steps),
        freeze_steps=len(batches),
        **of_patches,
    )
    warmup = min(round(arguments.warmup_epochs * len(batches)), steps // 2)
    first_decay, last_decay = arguments.weight_decay
    trainer.compile(
        keras.optimizers.AdamW(
            CosineDecay(0.0, steps - warmup, warmup_target=rate, warmup_steps=warmup),
            clipnorm=arguments.clip_norm,
        ),
        weight_decay=CosineDecay(first_decay, steps, alpha=last_decay / first_decay),
        exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
    )
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    encoder.summary()
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[
        callbacks.CollapseMonitor(image_runs.center_crops(arguments, test.take(1000))),
        callbacks.BackupAndResume(output / "backup"),
    ],
)

# Product: the teacher's encoder as in the paper, pictures, and what the features are worth
if distribute.is_chief(strategy):
    encoder = trainer.teacher_encoder
    encoder.save(output / "encoder.keras")
    whole_train, whole_test = (image_runs.center_crops(arguments, one) for one in (train, test))
    images = next(iter(whole_test))[0][:8]
    views = trainer.augment(images, training=True)
    visualize.plot_views(images, views, path=output / "views.png")
    image_runs.plot_masks(encoder, trainer.masking, images, output / "masks.png")
    image_runs.plot_class_attention(encoder, images, output / "attention.png")
    visualize.plot_history(history, path=output / "curves.png")

    report = evaluate.representation_report(encoder, whole_train, whole_test)
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print(report)
    print(f"The encoder, pictures and report are in {output.resolve()}")
