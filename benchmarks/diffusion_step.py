"""Seconds of one training step of a diffusion U-Net: ours and diffusers'.

`networks.diffusion_unet` and `diffusers.UNet2DModel` with the same layers and number of weights:
forward, backward and update by AdamW of the mean squared error, on a batch that lies ready in
memory. PyTorch runs in its default layout and with channels last; the figure is our step divided
by the faster of both. `--remat` adds our step with activations computed again, `--xla` our step
under `jit_compile=True`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from measure import Peer, interleave, machine, medians, print_machine, print_table

from keras_ssl import networks

AIM = 1.0


def set_up(
    arguments: argparse.Namespace, remat: bool = False, xla: bool = False
) -> tuple[Callable[[], float], int]:
    """Our function that times some steps, and the number of trainable parameters."""
    keras.utils.set_random_seed(0)
    shape = (arguments.size, arguments.size, arguments.channels)
    model = networks.diffusion_unet(
        shape,
        tuple(arguments.widths),
        arguments.blocks,
        tuple(arguments.attention_levels),
        arguments.head_dim,
        groups=arguments.groups,
        remat=remat,
    )
    model.compile(keras.optimizers.AdamW(1e-4), "mean_squared_error", jit_compile=xla)
    random = np.random.default_rng(0)
    images, noise = random.normal(size=(2, arguments.batch, *shape))
    times = random.integers(0, 1000, arguments.batch)
    inputs = {
        "x": keras.ops.convert_to_tensor(images, "float32"),
        "time": keras.ops.convert_to_tensor(times, "float32"),
    }
    noise = keras.ops.convert_to_tensor(noise, "float32")

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(arguments.steps):
            model.train_on_batch(inputs, noise)  # returns numbers, so its work is done
        return (time.perf_counter() - start) / arguments.steps

    seconds()
    return seconds, model.count_params()


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=28, help="height and width of the images")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--attention-levels", type=int, nargs="*", default=[2])
    parser.add_argument("--head-dim", type=int, default=32)
    parser.add_argument("--groups", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--steps", type=int, default=1, help="steps in each measurement")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--remat", action="store_true")
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    names = ("size", "channels", "widths", "blocks", "attention_levels", "head_dim", "groups")
    network = {name: getattr(arguments, name) for name in (*names, "batch")}

    with Peer("diffusion_step_diffusers.py") as peer:
        print_machine(peer)
        ours, parameters = set_up(arguments)
        contenders = {"keras_ssl": ours}
        if arguments.remat:
            contenders["keras_ssl, remat"], _ = set_up(arguments, remat=True)
        if arguments.xla:
            contenders["keras_ssl, XLA"], _ = set_up(arguments, xla=True)
        theirs = {"diffusers": False, "diffusers, channels last": True}
        for name, channels_last in theirs.items():
            count = peer.ask("set_up", channels_last=channels_last, **network)
            if count != parameters:
                raise RuntimeError(f"Not the same network: {parameters} and {count} parameters")
            contenders[name] = lambda channels_last=channels_last: peer.ask(
                "seconds", steps=arguments.steps, channels_last=channels_last
            )
        measured = interleave(contenders, repeats=arguments.repeats, warmup=2)
    print(f"\none step, {arguments.batch} images, {parameters} parameters")
    best = min(theirs, key=medians(measured).get)
    print_table(medians(measured), per=best)
    paired = statistics.median(
        a / b for a, b in zip(measured["keras_ssl"], measured[best], strict=True)
    )
    fastest = min(measured["keras_ssl"]) / min(measured[best])
    print(
        f"keras_ssl / {best}: {paired:.2f}, the median of rounds, {fastest:.2f} of the fastest "
        f"steps (aim: at most {AIM})"
    )
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "seconds": measured}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
