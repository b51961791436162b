"""Seconds that a diffusion model takes to make a batch of images: ours and diffusers'.

`trainers.Diffusion.sample` with `samplers.DDIM`, one compiled loop, and diffusers' `DDIMScheduler`
with its `UNet2DModel`, in the loop that its users write. Both begin with noise that they draw, take
the same steps of the same schedule with predictions clipped, and end with images as an array. The
networks have the same layers and number of weights, untrained. PyTorch runs in its default layout
and with channels last; the figure is our time divided by the faster of both. `--xla` adds ours
under `jit_compile=True`.
"""

import argparse
from collections.abc import Callable

import keras
from diffusion_unet import compare, image_shape, make_parser, make_unet, start_peer
from measure import print_machine, timed

from keras_ssl import samplers, trainers

AIM = 1.0


def set_up(arguments: argparse.Namespace, xla: bool = False) -> tuple[Callable[[], float], int]:
    """Our function that times the making of a batch, and the number of parameters."""
    keras.utils.set_random_seed(0)
    denoiser = make_unet(arguments)
    trainer = trainers.Diffusion(denoiser)
    trainer.compile("adam", jit_compile=xla)
    trainer.build((None, *image_shape(arguments)))
    n, sampler = arguments.batch, samplers.DDIM()
    return (
        timed(lambda: trainer.sample(n, arguments.steps, sampler=sampler, seed=0, batch_size=n)),
        denoiser.count_params(),
    )


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = make_parser(__doc__, repeats=5)
    parser.add_argument("--steps", type=int, default=50, help="steps from noise to images")
    arguments = parser.parse_args()

    with start_peer("diffusion_sampling_diffusers.py") as peer:
        print_machine(peer)
        first, parameters = set_up(arguments)
        ours = {"keras_ssl": first}
        if arguments.xla:
            ours["keras_ssl, XLA"], _ = set_up(arguments, xla=True)
        print(f"\n{arguments.batch} images in {arguments.steps} steps, {parameters} parameters")
        compare(peer, arguments, ours, parameters, AIM, steps=arguments.steps)


if __name__ == "__main__":
    main()
