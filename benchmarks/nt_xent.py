"""Memory and seconds of NT-Xent and its gradient: ours in tiles, and Lightly's.

1. `losses.NTXent(chunk_size=...)` on more and more embeddings, as a plain graph and compiled by
   XLA. The time should grow with the square of their number and the memory with the number.
2. At one size: tiles of other sizes, and the stored matrix.
3. Lightly's `NTXentLoss` beside ours on the same number of pairs.

Every measurement is made in a fresh process; memory is the largest resident set during the call
minus the one before it. For ours that is the first call, which traces and compiles too; seconds
are those of later calls.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measure import Peer, interleave, machine, print_machine
from peers.peak_memory import seconds_and_memory

AIM_GIGABYTES = 1.5  # 65,536 embeddings
AIM_MEMORY, AIM_TIME = 1 / 8, 1.0  # of Lightly's

_step: Callable[[], Any] | None = None


def set_up(pairs: int, settings: dict[str, Any], chunk_size: int | None, compiled: bool) -> None:
    """Makes embeddings and loss in this process; a small one wakes TensorFlow's threads."""
    global _step
    import tensorflow as tf

    from keras_ssl.losses import NTXent

    loss = NTXent(settings["temperature"], chunk_size)

    def step(z1: tf.Tensor, z2: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            value = loss(z1, z2)
        return value, tape.gradient(value, [z1, z2])

    step = tf.function(step, jit_compile=compiled)

    def views(count: int) -> list[tf.Tensor]:
        return [tf.random.stateless_normal((count, settings["dim"]), (0, i)) for i in range(2)]

    step(*views(64))
    large = views(pairs)
    _step = lambda: [x.numpy() for x in step(*large)[1]]  # noqa: E731


def measure() -> dict[str, float]:
    """Seconds and gigabytes of a loss and its gradient."""
    return seconds_and_memory(_step)


class Ours:
    """Our loss in a fresh process of its own."""

    def __init__(
        self, pairs: int, settings: dict[str, Any], chunk_size: int | None, compiled: bool
    ):
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        self._process.submit(set_up, pairs, settings, chunk_size, compiled).result()
        self.gigabytes = self.measure()["gigabytes"]

    def measure(self) -> dict[str, float]:
        return self._process.submit(measure).result()

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.shutdown()


def row(name: str, pairs: int, repeats: int, *arguments: Any) -> dict[str, Any]:
    """Measures ours, prints and returns a row."""
    with Ours(pairs, *arguments) as ours:
        seconds = [ours.measure()["seconds"] for _ in range(repeats)]
    middle = statistics.median(seconds)
    each = 1e9 * middle / (2 * pairs) ** 2
    print(f"{name:28}{2 * pairs:>9,}{middle:10.3g}{each:14.2f}{ours.gigabytes:10.3f}", flush=True)
    return {"name": name, "pairs": pairs, "seconds": seconds, "gigabytes": ours.gigabytes}


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--embeddings", type=int, nargs="+", default=[4096, 8192, 16384, 32768, 65536]
    )
    parser.add_argument("--chunk-size", type=int, default=2048)
    parser.add_argument("--other-chunk-sizes", type=int, nargs="*", default=[512, 1024, 4096])
    parser.add_argument("--pairs", type=int, default=8192, help="beside Lightly and other tiles")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()
    settings = {"dim": arguments.dim, "temperature": arguments.temperature}
    modes = {"plain graph": False, "XLA": True}
    rows = []

    with Peer("nt_xent_lightly.py") as peer:
        print_machine(peer)
        print(f"\nbeside Lightly, {arguments.pairs:,} pairs")
        peer.ask("set_up", pairs=arguments.pairs, **settings)
        with Ours(arguments.pairs, settings, arguments.chunk_size, False) as ours:
            # the first call of both is for memory; Lightly's needs no tracing
            theirs = peer.ask("measure")["gigabytes"]
            seconds = interleave(
                {
                    "lightly": lambda: peer.ask("measure")["seconds"],
                    "keras_ssl": lambda: ours.measure()["seconds"],
                },
                repeats=arguments.repeats,
            )
    memory = {"lightly": theirs, "keras_ssl": ours.gigabytes}
    for name, values in seconds.items():
        print(f"{name:28}{statistics.median(values):10.3g} s{memory[name]:10.3f} GB")
    ratio = statistics.median(seconds["keras_ssl"]) / statistics.median(seconds["lightly"])
    print(f"time: {ratio:.3f} of Lightly's (aim: at most {AIM_TIME:g})")
    print(f"memory: {ours.gigabytes / theirs:.4f} of Lightly's (aim: at most {AIM_MEMORY:g})")

    header = f"\n{'':28}{'embed.':>9}{'seconds':>10}{'ns a value':>14}{'GB more':>10}"
    print(header)
    for mode, compiled in modes.items():
        for chunk_size in (*arguments.other_chunk_sizes, None):
            name = f"{mode}, {chunk_size or 'stored'}"
            rows.append(row(name, arguments.pairs, 3, settings, chunk_size, compiled))
    print(f"{header}\n(aim: under {AIM_GIGABYTES} GB at 65,536)")
    for mode, compiled in modes.items():
        for count in arguments.embeddings:
            repeats = arguments.repeats if count < 2**15 else 1
            name = f"{mode}, {arguments.chunk_size}"
            rows.append(row(name, count // 2, repeats, settings, arguments.chunk_size, compiled))
    if arguments.json:
        report = {
            "machine": machine(),
            "settings": vars(arguments),
            "beside lightly": {"seconds": seconds, "gigabytes": memory},
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
