"""Seconds of one training step of a diffusion U-Net: ours and diffusers'.

`networks.diffusion_unet` and `diffusers.UNet2DModel` with the same layers and number of weights:
forward, backward and update by AdamW of the mean squared error, on a batch that lies ready in
memory. PyTorch runs in its default layout and with channels last; the figure is our step divided
by the faster of both. `--remat` adds our step with activations computed again, `--xla` our step
under `jit_compile=True`.
"""

import argparse
from collections.abc import Callable

import keras
import numpy as np
from diffusion_unet import compare, image_shape, make_parser, make_unet, start_peer
from measure import print_machine, timed

AIM = 1.0


def set_up(
    arguments: argparse.Namespace, remat: bool = False, xla: bool = False
) -> tuple[Callable[[], float], int]:
    """Our function that times some steps, and the number of trainable parameters."""
    keras.utils.set_random_seed(0)
    model = make_unet(arguments, remat)
    model.compile(keras.optimizers.AdamW(1e-4), "mean_squared_error", jit_compile=xla)
    random = np.random.default_rng(0)
    images, noise = random.normal(size=(2, arguments.batch, *image_shape(arguments)))
    times = random.integers(0, 1000, arguments.batch)
    inputs = {
        "x": keras.ops.convert_to_tensor(images, "float32"),
        "time": keras.ops.convert_to_tensor(times, "float32"),
    }
    noise = keras.ops.convert_to_tensor(noise, "float32")

    # returns numbers, so its work is done
    seconds = timed(lambda: model.train_on_batch(inputs, noise), arguments.steps)
    seconds()
    return seconds, model.count_params()


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = make_parser(__doc__, repeats=9)
    parser.add_argument("--steps", type=int, default=1, help="steps in each measurement")
    parser.add_argument("--remat", action="store_true")
    arguments = parser.parse_args()

    with start_peer("diffusion_step_diffusers.py") as peer:
        print_machine(peer)
        first, parameters = set_up(arguments)
        ours = {"keras_ssl": first}
        if arguments.remat:
            ours["keras_ssl, remat"], _ = set_up(arguments, remat=True)
        if arguments.xla:
            ours["keras_ssl, XLA"], _ = set_up(arguments, xla=True)
        print(f"\none step, {arguments.batch} images, {parameters} parameters")
        compare(peer, arguments, ours, parameters, AIM, steps=arguments.steps)


if __name__ == "__main__":
    main()
