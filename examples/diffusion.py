"""Train a diffusion model or a flow on any TFDS image set, and look at what it makes.

    python examples/diffusion.py

takes minutes on two CPU cores, on 28x28 images that come with the package: a small U-Net, told the
class, with guidance. `--method flow` trains by flow matching. About the settings of the paper for
CIFAR-10, on the GPUs of one machine:

    python examples/diffusion.py --dataset cifar10 --size 32 --widths 128 256 256 256 --blocks 2 \
        --attention-levels 1 --schedule linear --prediction epsilon --epochs 2000 --ema 0.9999 \
        --learning-rate 2e-4 --warmup-steps 5000 --steps 50 --strategy mirrored

It writes grids of samples along training, one column for each class; strips from noise to image;
images that are changed to the next class from some noise on; and images whose lower half is filled
in. A table says how often a classifier agrees with the asked class. A run that was killed goes on
when it is started again with the same arguments.
"""

import argparse
import json
import shutil

import _generation as generation
import _image_runs as image_runs
import numpy as np

from keras_ssl import callbacks, distribute, samplers, trainers, visualize

parser = argparse.ArgumentParser(
    description="Diffusion or flow matching on any TFDS image set.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
generation.add_arguments(parser)
parser.add_argument("--method", choices=["diffusion", "flow"], default="diffusion")
image_runs.add_run_arguments(parser, "runs/diffusion")
arguments = parser.parse_args()

strategy = image_runs.start(arguments)
output = arguments.output

# Data: images and their labels, which the denoiser is told, but for a tenth of them
train, test = image_runs.load_splits(arguments)
batches = generation.batches(arguments, train)
shape = (arguments.size, arguments.size, train.element_spec[0].shape[-1])

# Method: take away noise of all levels
with strategy.scope():
    denoiser = generation.make_unet(arguments, shape)
    common = {"num_classes": arguments.classes, "ema_momentum": arguments.ema}
    if arguments.method == "flow":
        trainer = trainers.FlowMatching(denoiser, **common)
    else:
        schedule = samplers.NoiseSchedule(arguments.schedule)
        trainer = trainers.Diffusion(
            denoiser, schedule, arguments.prediction, min_snr_gamma=5.0, **common
        )
    trainer.compile(generation.optimizer(arguments, len(batches) * arguments.epochs))
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    denoiser.summary()
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[
        callbacks.BackupAndResume(output / "backup"),
        generation.sample_grids(arguments),
    ],
)

# Product: pictures, and a table
if distribute.is_chief(strategy):
    trainer.save(output / "trainer.keras")
    visualize.plot_history(history, path=output / "curves.png")
    images, labels = next(iter(image_runs.center_crops(arguments, test)))
    images, labels = np.asarray(images[:8], "float32"), np.asarray(labels[:8])
    generation.draw(arguments, trainer, images, labels)

    classifier, accuracy = generation.train_classifier(arguments, train, test)
    rows = generation.measure_samplers(arguments, trainer, classifier)
    report = {"classifier_accuracy": accuracy, "samplers": rows}
    if arguments.method == "diffusion":
        bound = trainer.log_likelihood(images, label=labels)
        report["bits_per_dimension"] = -float(bound.mean())
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print(image_runs.table(rows))
    print({key: value for key, value in report.items() if key != "samplers"})
    print(f"The trainer, pictures and report are in {output.resolve()}")
