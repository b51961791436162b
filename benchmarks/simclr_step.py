"""Seconds of one SimCLR training step: ours, and the same network in PyTorch.

ResNet-18 with a 3x3 stem, a projector with one hidden layer, NT-Xent, SGD with momentum, float32;
forward, backward and update on views that lie ready in memory.

- `keras_ssl`: `trainers.SimCLR.train_on_batch`.
- `torch`: torchvision's residual blocks, as `torch.nn` makes them.
- `torch, channels last`: the same with network and views in `torch.channels_last`.

More rows on request: `--keras-normalization` is our step with `keras.layers.BatchNormalization` in
the encoder; `--bfloat16` our step under Keras' `mixed_bfloat16` policy, and PyTorch's, channels
last, under `torch.autocast`.
"""

import argparse
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import keras
import numpy as np
from measure import Peer, interleave, machine, medians, print_machine, print_table, timed

from keras_ssl.layers import ProjectionHead
from keras_ssl.losses import NTXent
from keras_ssl.networks import resnet18
from keras_ssl.trainers import SimCLR

AIM = 1.1


def set_up(arguments: argparse.Namespace) -> tuple[Callable[[], float], int]:
    """Our function that times some steps, and the number of trainable parameters."""
    keras.utils.set_random_seed(0)
    size, width = arguments.size, arguments.width
    trainer = SimCLR(
        encoder=resnet18((size, size, 3), width=width, include_rescaling=False),
        projector=ProjectionHead((8 * width, 128)),
        loss=NTXent(temperature=0.1),
    )
    trainer.compile(optimizer=keras.optimizers.SGD(0.05, momentum=0.9))
    views = np.random.default_rng(0).uniform(-1, 1, (2, arguments.pairs, size, size, 3))
    views = tuple(keras.ops.convert_to_tensor(view, "float32") for view in views)
    trainer.train_on_batch(views)

    seconds = timed(lambda: trainer.train_on_batch(views), arguments.steps)
    return seconds, sum(int(np.prod(w.shape)) for w in trainer.trainable_weights)


def keras_normalization(**arguments: object) -> keras.layers.Layer:
    """Keras' own layer with the settings of ours."""
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **arguments)


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--pairs", type=int, default=128, help="images in a batch; half its views")
    parser.add_argument("--size", type=int, default=32, help="height and width of the views")
    parser.add_argument("--steps", type=int, default=2, help="steps in each measurement")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--keras-normalization", action="store_true")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    ours, parameters = set_up(arguments)
    contenders = {"keras_ssl": ours}
    if arguments.keras_normalization:
        with mock.patch(
            "keras_ssl.networks.vision._residual.SyncBatchNormalization", keras_normalization
        ):
            contenders["keras normalization"], _ = set_up(arguments)
    if arguments.bfloat16:
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
        contenders["keras_ssl, bfloat16"], _ = set_up(arguments)
    peers = {
        "torch": {"channels_last": False, "bfloat16": False},
        "torch, channels last": {"channels_last": True, "bfloat16": False},
    }
    if arguments.bfloat16:
        peers["torch, bfloat16"] = {"channels_last": True, "bfloat16": True}
    with contextlib.ExitStack() as stack:
        for name, settings in peers.items():
            peer = stack.enter_context(Peer("simclr_step_torch.py"))
            theirs = peer.ask(
                "set_up",
                width=arguments.width,
                pairs=arguments.pairs,
                size=arguments.size,
                **settings,
            )
            if theirs != parameters:
                raise RuntimeError(f"Not the same network: {parameters} and {theirs} parameters")
            contenders[name] = lambda peer=peer: peer.ask("seconds", steps=arguments.steps)
        print_machine(peer)
        measured = interleave(contenders, repeats=arguments.repeats)

    middle = medians(measured)
    print(f"\none step, {2 * arguments.pairs} views, {parameters} trainable parameters")
    print_table(middle, per="torch")
    fastest = min(middle["torch"], middle["torch, channels last"])
    print(f"keras_ssl / the faster torch: {middle['keras_ssl'] / fastest:.2f} (aim: at most {AIM})")
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "seconds": measured}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
