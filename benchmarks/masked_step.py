"""Seconds of one training step of iBOT and DINOv2, and of the passes that it cannot do without.

A vision transformer of 6 blocks of width 192 with patches of 4x4; 2 global crops of 32x32 and local
ones of 16x16; 30% of the patches of a masked view are hidden, and half of the global views are
masked; AdamW, float32. For each method:

- `passes`: one compiled function with the forward and backward passes of encoder, heads and losses,
  and the forward passes of the teacher, for given views and masks. Only the hidden patches of
  masked views go through the head.
- `step on views`: `train_on_batch` on ready views. It also draws the masks, puts the patches that
  were chosen in other views through the head, updates the weights and moves the teacher.
- `whole step`: `train_on_batch` on images, from which it makes the views first.

Patches have their own head in DINOv2, and share that of the class token in iBOT. mae_step.py
measures MAE.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from measure import interleave, machine, medians, print_machine, print_table, timed
from passes import forward_and_backward

from keras_ssl import augment, layers, networks, trainers
from keras_ssl.trainers._hidden_patches import hide, take_tokens
from keras_ssl.trainers.masked._masked_self_distillation import MaskedSelfDistillation

AIM = 1.1
METHODS = {"iBOT": trainers.iBOT, "DINOv2": trainers.DINOv2}


def make(
    method: str, arguments: argparse.Namespace, views: keras.layers.Layer | None
) -> MaskedSelfDistillation:
    """A trainer with new networks, compiled."""
    keras.utils.set_random_seed(0)
    size, patch = arguments.size, arguments.patch

    def head() -> tuple[keras.layers.Layer, layers.Prototypes]:
        projector = layers.ProjectionHead(
            arguments.projector, normalization=False, activation="gelu", l2_normalize=True
        )
        return projector, layers.Prototypes(arguments.prototypes)

    projector, prototypes = head()
    of_patches = {}
    if method == "DINOv2":
        of_patches = dict(zip(("patch_projector", "patch_prototypes"), head(), strict=True))
    trainer = METHODS[method](
        networks.vit((arguments.width, arguments.depth, arguments.heads), (size, size, 3), patch),
        projector,
        prototypes,
        views,
        layers.BlockMasking((size // patch,) * 2, ratio=0.3, min_tokens=4),
        **of_patches,
    )
    trainer.compile(keras.optimizers.AdamW(1e-3), jit_compile=arguments.jit_compile)
    return trainer


def passes(trainer: MaskedSelfDistillation, views: Sequence[tf.Tensor]) -> Callable[[], tf.Tensor]:
    """The loss of a step, written out for views whose masks are drawn now."""
    encoder, teacher = trainer.encoder, trainer.teacher_encoder
    whole, small = ops.concatenate(views[:2]), ops.concatenate(views[2:])
    grid = encoder.grid(whole.shape)
    is_hidden, _, hidden = hide(trainer.masking, encoder.embed(whole))
    masked_views = np.arange(1, len(whole), 2)
    is_masked = np.isin(np.arange(len(whole)), masked_views)
    is_hidden = ops.logical_and(is_hidden, is_masked[:, None])
    hidden = ops.take(hidden, masked_views, axis=0)

    def head(z: tf.Tensor, name: str, of_teacher: bool) -> tf.Tensor:
        start = "teacher_" if of_teacher else ""
        projector = getattr(trainer, f"{start}{name}projector")
        prototypes = getattr(trainer, f"{start}{name}prototypes")
        embeddings = projector(ops.reshape(z, (-1, z.shape[-1])), training=True)
        return prototypes(ops.reshape(embeddings, (*z.shape[:-1], -1)))

    def loss() -> tf.Tensor:
        tokens = trainer.mask_token([encoder.embed(whole), is_hidden])
        masked = encoder.encode(tokens, grid, training=True)
        targets = teacher.encode(teacher.embed(whole), grid, training=True)
        features = [masked["features"], encoder(small, training=True)]
        student = head(ops.concatenate(features), "", of_teacher=False)
        scores = head(targets["features"], "", of_teacher=True)
        scores = trainer.center(ops.stop_gradient(scores), training=True)
        total = trainer.loss_function(ops.split(scores, 2), ops.split(student, len(views)))
        name = "" if trainer.has_shared_head else "patch_"
        student, scores = (
            head(
                take_tokens(ops.take(outputs["patch_tokens"], masked_views, axis=0), hidden),
                name,
                of_teacher,
            )
            for outputs, of_teacher in ((masked, False), (targets, True))
        )
        scores = trainer.patch_center(ops.stop_gradient(scores), training=True)
        total += np.mean(is_masked) * trainer.patch_loss(scores, student)
        if isinstance(trainer, trainers.DINOv2):
            total += sum(0.1 * trainer.ko_leo(one) for one in ops.split(features[0], 2))
        return total

    return loss


def contenders_of(
    method: str, arguments: argparse.Namespace, images: tf.Tensor
) -> dict[str, Callable[[], object]]:
    """What is timed for a method."""
    make_views = augment.MultiCropViews(
        arguments.size, arguments.local_size, arguments.local_count, value_range=(0, 255)
    )
    views = tuple(make_views(images))
    on_views = make(method, arguments, None)
    on_views.train_on_batch(views)
    on_images = make(method, arguments, make_views)
    bare = forward_and_backward(
        passes(on_views, views), on_views.trainable_variables, arguments.jit_compile
    )
    return {
        f"{method}: passes": bare,
        f"{method}: step on views": lambda: on_views.train_on_batch(views),
        f"{method}: whole step": lambda: on_images.train_on_batch(images),
    }


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--depth", type=int, default=6, help="blocks of the encoder")
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--size", type=int, default=32, help="height and width of global crops")
    parser.add_argument("--local-size", type=int, default=16)
    parser.add_argument("--local-count", type=int, default=4)
    parser.add_argument("--patch", type=int, default=4)
    parser.add_argument("--projector", type=int, nargs="+", default=[512, 512, 128])
    parser.add_argument("--prototypes", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--jit-compile", action="store_true", help="compile all of it with XLA")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of processors")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    shape = (arguments.batch_size, arguments.size, arguments.size, 3)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, shape, "uint8"))
    print_machine()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    measured: dict[str, list[float]] = {}
    for method in arguments.methods:
        contenders = contenders_of(method, arguments, images)
        contenders = {name: timed(one, clock=clock) for name, one in contenders.items()}
        measured |= interleave(contenders, repeats=arguments.repeats)

    middle = medians(measured)
    print(
        f"\none step, {arguments.batch_size} images, 2 crops of {arguments.size} and "
        f"{arguments.local_count} of {arguments.local_size} pixels a side"
    )
    unit = "CPU seconds" if arguments.cpu_time else "seconds"
    print_table(middle, per=f"{arguments.methods[0]}: passes", unit=unit)
    for method in arguments.methods:
        for name in ("step on views", "whole step"):
            ratio = middle[f"{method}: {name}"] / middle[f"{method}: passes"]
            met = "met" if ratio <= AIM else "MISSED"
            print(f"{method}: {name} / passes: {ratio:.2f} (aim: at most {AIM}): {met}")
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "seconds": measured}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
