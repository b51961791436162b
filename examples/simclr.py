"""Train an encoder with SimCLR on any TFDS image set, and measure what its features are worth.

    python examples/simclr.py --dataset cifar10 --size 32 --epochs 100

The settings of the paper for CIFAR-10 (appendix B.9), on the GPUs of one machine:

    python examples/simclr.py --dataset cifar10 --encoder resnet50 --stem cifar --size 32 \
        --batch-size 1024 --epochs 1000 --optimizer lars --learning-rate 1.0 --scaling linear \
        --weight-decay 1e-6 --temperature 0.5 --strength 0.5 --blur-probability 0 \
        --strategy mirrored --precision mixed_bfloat16

and for ImageNet (section 2 and appendix A, but that images are cut to squares of one size before
they are cut at random, which the paper does not do):

    python examples/simclr.py --dataset imagenet2012 --test-split validation \
        --encoder resnet50 --stem imagenet --resize 256 --size 224 --batch-size 4096 \
        --epochs 100 --optimizer lars --learning-rate 0.3 --scaling linear --weight-decay 1e-6 \
        --temperature 0.1 --shuffle-buffer 50000 --knn-images 20000 --strategy mirrored \
        --precision mixed_bfloat16

A run that was killed goes on with `--resume --output <its folder>`, at the step of its last backup,
with its settings, and ends as if it had not been killed.

On two workers of this machine, started again when one dies:

    python -m keras_ssl.distribute.launch --workers 2 --restarts 3 examples/simclr.py \
        --strategy multi_worker --resume if_any
"""

import argparse
import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import _image_runs as image_runs
import keras
from keras.optimizers import SGD, AdamW
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

ENCODERS = {
    "resnet18": networks.resnet18,
    "resnet34": networks.resnet34,
    "resnet50": networks.resnet50,
    "small": networks.small_resnet,
}
STEMS = {
    "cifar": networks.cifar_stem,
    "strided": networks.strided_stem,
    "imagenet": networks.imagenet_stem,
}
OPTIMIZERS = {
    "adamw": lambda rate, decay: AdamW(rate, weight_decay=decay),
    "lars": lambda rate, decay: optimizers.LARS(rate, weight_decay=decay),
    "sgd": lambda rate, decay: SGD(rate, momentum=0.9, nesterov=True, weight_decay=decay),
}
SCALING_RULES = {
    "none": lambda rate, batch_size: rate,
    "linear": optimizers.linear_scaling,
    "sqrt": optimizers.square_root_scaling,
}


def parse_arguments() -> argparse.Namespace:
    """The settings, from the command line or, with `--resume`, from the run's folder."""
    parser = argparse.ArgumentParser(
        description="SimCLR on any TFDS image set.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    image_runs.add_data_arguments(parser)

    add("--encoder", choices=ENCODERS, default="resnet18")
    add("--stem", choices=STEMS, default="cifar")
    add("--width", type=int, default=64, help="channels of the first stage")
    add("--projector", type=int, nargs="+", default=[2048, 128], help="widths of its layers")

    add("--crop-scale", type=float, nargs=2, default=[0.08, 1.0], help="least and greatest area")
    add("--strength", type=float, default=1.0, help="of the colour jitter")
    add("--blur-probability", type=float, default=0.5)
    add("--solarize-probability", type=float, default=0.0)

    add("--temperature", type=float, default=0.1)
    add("--epochs", type=int, default=100)
    add("--micro-batch-size", type=int, help="images a replica embeds at a time; saves memory")
    add("--chunk-size", type=int, help="side of the loss's tiles, as 2048; saves memory")
    add("--optimizer", choices=OPTIMIZERS, default="adamw")
    add("--learning-rate", type=float, default=2e-3, help="before the scaling rule")
    add("--scaling", choices=SCALING_RULES, default="none", help="of the rate with the batch")
    add("--warmup-epochs", type=float, default=10.0)
    add("--weight-decay", type=float, default=1e-4)

    add("--jit-compile", action="store_true", help="compile the training step with XLA")
    add("--steps-per-execution", type=int, default=1)

    add("--knn-every", type=int, default=5, help="epochs between k-NN measurements")
    add("--knn-images", type=int, default=10_000, help="of each split, for k-NN during training")
    add("--backup-steps", type=int, help="steps between backups, beside those of every epoch")
    add("--tensorboard", action="store_true")
    image_runs.add_run_arguments(parser, "runs/simclr")
    add(
        "--resume",
        nargs="?",
        const="must",
        choices=["must", "if_any"],
        help="go on with the killed run in --output; if_any: or start, if there is none",
    )

    arguments = parser.parse_args()
    if arguments.tensorboard and find_spec("tensorboard") is None:
        parser.error("--tensorboard: install it first, with `pip install tensorboard`")
    settings = arguments.output / "settings.json"
    if arguments.resume == "if_any" and not settings.exists():
        arguments.resume = None
    if arguments.resume:
        if not settings.exists():
            parser.error(f"--resume: there is no run in {arguments.output} ({settings} is missing)")
        if (arguments.output / "report.json").exists():
            parser.error(f"--resume: the run in {arguments.output} has finished")
        # what the run was started with; arguments given now win over it
        parser.set_defaults(**json.loads(settings.read_text()))
        return parser.parse_args()
    if (arguments.output / "backup").exists():
        parser.error(
            f"{arguments.output} holds a run that was killed: add --resume to go on with it, or "
            "name another folder with --output"
        )
    return arguments


def make_trainer(arguments: argparse.Namespace, channels: int, steps: int) -> trainers.SimCLR:
    """The compiled trainer."""
    trainer = trainers.SimCLR(
        encoder=ENCODERS[arguments.encoder](
            (None, None, channels), width=arguments.width, stem=STEMS[arguments.stem]
        ),
        projector=layers.ProjectionHead(arguments.projector),
        augment=augment.SimCLRViews(
            arguments.size,
            scale=arguments.crop_scale,
            strength=arguments.strength,
            blur_probability=arguments.blur_probability,
            solarize_probability=arguments.solarize_probability,
        ),
        loss=losses.NTXent(arguments.temperature, arguments.chunk_size),
    )
    peak = SCALING_RULES[arguments.scaling](arguments.learning_rate, arguments.batch_size)
    warmup = min(round(arguments.warmup_epochs * steps), arguments.epochs * steps // 2)
    schedule = CosineDecay(
        0.0, arguments.epochs * steps - warmup, warmup_target=peak, warmup_steps=warmup
    )
    trainer.compile(
        optimizer=OPTIMIZERS[arguments.optimizer](schedule, arguments.weight_decay),
        jit_compile=True if arguments.jit_compile else "auto",
        steps_per_execution=arguments.steps_per_execution,
        micro_batch_size=arguments.micro_batch_size,
    )
    return trainer


def prepare_folder(arguments: argparse.Namespace) -> None:
    """Make the run's folder and note its settings."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    if not arguments.resume:
        (arguments.output / "report.json").unlink(missing_ok=True)  # of a run that finished here
    settings = {key: value for key, value in vars(arguments).items() if key != "resume"}
    (arguments.output / "settings.json").write_text(json.dumps(settings, default=str, indent=2))


class Log(keras.callbacks.Callback):
    """One line an epoch, on disk at once; a resumed run appends."""

    chief_only = True

    def __init__(self, path: Path, append: bool):
        super().__init__()
        self.path, self.mode = path, "a" if append else "w"

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write what the epoch gave."""
        with self.path.open(self.mode) as file:
            file.write(json.dumps({"epoch": epoch, **logs}) + "\n")
        self.mode = "a"


def main() -> None:
    """Train, save, picture and measure."""
    arguments = parse_arguments()
    strategy = image_runs.start(arguments)
    output = arguments.output
    if distribute.is_chief(strategy):
        prepare_folder(arguments)

    train, test = image_runs.load_splits(arguments)
    batches = image_runs.unlabelled_batches(arguments, train)
    some = [split.take(arguments.knn_images).batch(256).cache() for split in (train, test)]
    channels = train.element_spec[0].shape[-1]
    with strategy.scope():
        trainer = make_trainer(arguments, channels, steps=len(batches))
    if distribute.is_chief(strategy):
        trainer.encoder.summary()

    watchers = [
        callbacks.CollapseMonitor(some[1]),
        callbacks.KNNCallback(*some, every=arguments.knn_every),
        Log(output / "log.jsonl", append=bool(arguments.resume)),
    ]
    if arguments.tensorboard:
        watchers.append(keras.callbacks.TensorBoard(output / "tensorboard"))
    # kept when training has ended, for a kill in what follows; deleted when all is done
    backup = output / "backup"
    watchers.append(callbacks.BackupAndResume(backup, every_steps=arguments.backup_steps))
    history = trainer.fit(batches, epochs=arguments.epochs, callbacks=watchers)
    if not distribute.is_chief(strategy):
        return  # what is left, the chief does alone

    trainer.encoder.save(output / "encoder.keras")
    images = next(iter(batches))[:8]
    views = trainer.augment(images, training=True)
    features, labels = evaluate.extract_features(trainer.encoder, some[1])
    names = data.class_names(arguments.dataset, arguments.data_dir)
    visualize.plot_views(images, views, path=output / "views.png")
    visualize.plot_embedding(features, labels, names, path=output / "embedding.png")
    visualize.plot_history(history, path=output / "curves.png")

    report = evaluate.representation_report(trainer.encoder, train.batch(256), test.batch(256))
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(backup)
    print(report)
    print(f"Encoder, pictures, report and log are in {output.resolve()}")


if __name__ == "__main__":
    main()
