"""What the benchmarks of the diffusion U-Net share: arguments, our network, the comparison."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from measure import Peer, interleave, machine, medians, print_ratio, print_table

from keras_ssl import networks

NETWORK = ("size", "channels", "widths", "blocks", "attention_levels", "head_dim", "groups")
THEIRS = {"diffusers": False, "diffusers, channels last": True}


def start_peer(script: str) -> Peer:
    """The peer, whose threads sleep while they wait: the cores are ours when it is our turn."""
    return Peer(script, {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"})


def make_parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """A parser of the arguments of the network, of the measurements and of their file."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("--size", type=int, default=28, help="height and width of the images")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--attention-levels", type=int, nargs="*", default=[2])
    parser.add_argument("--head-dim", type=int, default=32)
    parser.add_argument("--groups", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--xla", action="store_true")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    return parser


def image_shape(arguments: argparse.Namespace) -> tuple[int, int, int]:
    """Height, width and channels of the images."""
    return arguments.size, arguments.size, arguments.channels


def make_unet(arguments: argparse.Namespace, remat: bool = False) -> keras.Model:
    """Our network."""
    return networks.diffusion_unet(
        image_shape(arguments),
        tuple(arguments.widths),
        arguments.blocks,
        tuple(arguments.attention_levels),
        arguments.head_dim,
        groups=arguments.groups,
        remat=remat,
    )


def compare(
    peer: Peer,
    arguments: argparse.Namespace,
    ours: dict[str, Callable[[], float]],
    parameters: int,
    aim: float,
    **work: Any,
) -> None:
    """Measures ours and diffusers' in turns, prints the table, and writes JSON where asked.

    Args:
        peer: what answers "set_up" and "seconds".
        arguments: those of `make_parser`.
        ours: our functions that time some work, by name; the first is compared.
        parameters: number of trainable parameters of our network.
        aim: the most time that ours may take, relative to the faster layout of PyTorch.
        **work: arguments of "seconds", how much work to time.

    Raises:
        RuntimeError: if the networks differ in their number of parameters.
    """
    network = {name: getattr(arguments, name) for name in (*NETWORK, "batch")}
    contenders = dict(ours)
    for name, channels_last in THEIRS.items():
        count = peer.ask("set_up", channels_last=channels_last, **network)
        if count != parameters:
            raise RuntimeError(f"Not the same network: {parameters} and {count} parameters")
        contenders[name] = lambda channels_last=channels_last: peer.ask(
            "seconds", channels_last=channels_last, **work
        )
    measured = interleave(contenders, repeats=arguments.repeats, warmup=2)
    middle = medians(measured)
    best = min(THEIRS, key=middle.get)
    print_table(middle, per=best)
    print_ratio(measured, next(iter(ours)), best, aim)
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "seconds": measured}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))
