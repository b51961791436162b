"""Seconds of one training step of an LSTM and a GRU: ours, Keras', and PyTorch's fused ones.

A batch of 128 sequences of 128 steps through one layer of 256 units, all outputs, mean squared
error, stochastic gradient descent; forward, backward and update on a batch that lies ready in
memory.

- `keras_ssl`: `layers.RecurrentLayer` of `layers.LSTMCell` and `layers.GRUCell`;
- `Keras`: `keras.layers.LSTM` and `keras.layers.GRU`;
- `torch`: `nn.LSTM` and `nn.GRU`.

`--cpu-time` counts seconds of the processor, for machines on which other programs run.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from measure import (
    Peer,
    interleave,
    machine,
    medians,
    print_machine,
    print_ratio,
    print_table,
    timed,
)

from keras_ssl import layers

AIM = 1.0
OURS = {"LSTM": layers.LSTMCell, "GRU": layers.GRUCell}
THEIRS = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}


def set_up(layer: keras.layers.Layer, arguments: argparse.Namespace) -> Callable[[], float]:
    """Our function that times some steps."""
    inputs = keras.Input((arguments.time, arguments.width))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=False)
    shape = (arguments.batch, arguments.time, arguments.width)
    random = np.random.default_rng(0)
    x, y = (keras.ops.convert_to_tensor(random.normal(size=shape), "float32") for _ in range(2))
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    seconds = timed(lambda: model.train_on_batch(x, y), arguments.steps, clock)
    seconds()
    return seconds


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--time", type=int, default=128, help="steps of a sequence")
    parser.add_argument("--batch", type=int, default=128, help="sequences")
    parser.add_argument("--steps", type=int, default=1, help="training steps in each measurement")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of the processor")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args()

    report = {"machine": machine(), "settings": vars(arguments)}
    with Peer("rnn_step_torch.py") as peer:
        print_machine(peer)
        for name, cell in OURS.items():
            keras.utils.set_random_seed(0)
            options = {"return_sequences": True}
            contenders = {
                "keras_ssl": set_up(
                    layers.RecurrentLayer(cell(arguments.width), **options), arguments
                ),
                "Keras": set_up(THEIRS[name](arguments.width, **options), arguments),
            }
            sizes = {key: getattr(arguments, key) for key in ("width", "time", "batch")}
            peer.ask("set_up", name=name, **sizes)
            contenders["torch"] = lambda name=name: peer.ask(
                "seconds", name=name, steps=arguments.steps, cpu_time=arguments.cpu_time
            )
            measured = interleave(contenders, repeats=arguments.repeats, warmup=2)
            print(f"\none step of {name}, {sizes}")
            print_table(medians(measured), per="torch")
            print_ratio(measured, "keras_ssl", "torch", AIM)
            report[name] = measured
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
