"""Seconds of one training step of a diffusion model, and of the passes of its denoiser alone.

The U-Net of diffusion_step.py, a batch of images from 0 to 255, AdamW:

- `passes`: one compiled function with the forward and the backward pass of the denoiser, and of the
  squared error of its prediction, for noisy images and times that lie ready;
- `whole step`: `train_on_batch` of `trainers.Diffusion` on images. It also scales them, draws times
  and noise, adds the noise, updates the weights and moves their average;
- `whole step, 4,000 times`: the same with a schedule of four times as many steps.

Beside the seconds stand the bytes of variables, of which a schedule should hold few.
"""

import math
import time

import keras
import numpy as np
from diffusion_unet import image_shape, make_parser, make_unet
from keras import ops
from measure import interleave, medians, print_machine, print_table, timed
from passes import forward_and_backward

from keras_ssl import samplers, trainers

AIM = 1.1


def megabytes(model: keras.Model) -> float:
    """What the variables of a model take."""
    return sum(4 * math.prod(one.shape) for one in model.variables) / 1e6


def main() -> None:
    parser = make_parser(__doc__, repeats=7)
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of processors")
    arguments = parser.parse_args()
    print_machine()

    random = np.random.default_rng(0)
    shape = (arguments.batch, *image_shape(arguments))
    images = ops.convert_to_tensor(random.uniform(0, 255, shape), "float32")
    noisy, noise = (ops.convert_to_tensor(random.normal(size=shape), "float32") for _ in range(2))
    times = ops.convert_to_tensor(random.integers(0, 1000, arguments.batch), "float32")

    def make(steps: int) -> trainers.Diffusion:
        keras.utils.set_random_seed(0)
        schedule = samplers.NoiseSchedule("linear", steps=steps)
        trainer = trainers.Diffusion(make_unet(arguments), schedule)
        trainer.compile(keras.optimizers.AdamW(1e-4), jit_compile=arguments.xla)
        trainer.train_on_batch(images)
        return trainer

    trainer, longer = make(1_000), make(4_000)
    denoiser = trainer.denoiser

    def loss() -> object:
        return ops.mean(ops.square(denoiser({"x": noisy, "time": times}, training=True) - noise))

    clock = time.process_time if arguments.cpu_time else time.perf_counter
    contenders = {
        "passes": forward_and_backward(loss, denoiser.trainable_variables, arguments.xla),
        "whole step": lambda: trainer.train_on_batch(images),
        "whole step, 4,000 times": lambda: longer.train_on_batch(images),
    }
    contenders = {name: timed(one, clock=clock) for name, one in contenders.items()}
    middle = medians(interleave(contenders, repeats=arguments.repeats))
    unit = "CPU seconds" if arguments.cpu_time else "seconds"
    print(f"\none step, {arguments.batch} images, {denoiser.count_params()} parameters")
    print_table(middle, per="passes", unit=unit)
    ratio = middle["whole step"] / middle["passes"]
    met = "met" if ratio <= AIM else "MISSED"
    print(f"whole step / passes: {ratio:.2f} (aim: at most {AIM}): {met}")
    print(f"variables: {megabytes(trainer):.3f} MB, with 4,000 times {megabytes(longer):.3f} MB")


if __name__ == "__main__":
    main()
