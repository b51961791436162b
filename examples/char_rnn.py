"""Train an LSTM on the characters of a text of your own, and let it write.

    python examples/char_rnn.py text.txt
    python examples/char_rnn.py

Without a file, the text is tiny Shakespeare from TFDS, which is downloaded unless it is there. By
default it is one layer of 256 units that learns from 50 windows of 100 characters in each of 1,250
steps; minutes on two cores. Larger, on a GPU:

    python examples/char_rnn.py --width 512 --depth 3 --dropout 0.5 --iterations 10000

It prints the loss over the whole validation split, the last tenth of the text, beside that of a
bigram model, which knows the last character alone; that of a GPT is what `examples/gpt.py` prints.
It writes what the model says by several methods of decoding, curves, the gates over a line, and one
file with the model and its characters. A run that was killed goes on when it is started again with
the same arguments.
"""

import argparse

import _characters as shared
import _runs as runs
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from keras_ssl import decoding, distribute, networks, trainers

parser = argparse.ArgumentParser(
    description="A recurrent language model of characters.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
shared.add_arguments(parser, context=100, batch_size=50, learning_rate=4e-3, iterations=1250)
add("--cell", choices=["lstm", "gru", "minimal_gru", "rnn"], default="lstm")
add("--depth", type=int, default=1, help="recurrent layers")
add("--width", type=int, default=256)
add("--dropout", type=float, default=0.1)
runs.add_run_arguments(parser, "runs/char_rnn")
arguments = parser.parse_args()


def bigram_loss(data: shared.Data) -> float:
    """Return the nats per character of a model that knows the character before alone.

    It counts pairs of characters in the text to learn from, and adds one to each count.
    """
    size = data.characters.vocabulary_size
    counts = np.ones((size, size))
    np.add.at(counts, (data.train[:-1], data.train[1:]), 1)
    probabilities = counts / counts.sum(axis=1, keepdims=True)
    return -float(np.mean(np.log(probabilities[data.validation[:-1], data.validation[1:]])))


def write(prompt: np.ndarray, method: decoding.DecodingMethod) -> tuple[list[int], float]:
    """Return what the model writes, and how likely it was to the model."""
    found = decoding.decode(
        network, [prompt], arguments.characters, method=method, seed=arguments.seed
    )
    nats = -float(found.log_probabilities[0]) / arguments.characters
    return found.token_ids[0, len(prompt) :].tolist(), nats


def plot_gates(data: shared.Data, units: int = 40) -> None:
    """Draw the gates of some units of the first layer over a piece of the validation text."""
    line = data.validation[: min(80, arguments.context)]
    gates = network.blocks[0].gates(network.token_embedding(line[None]))
    figure = Figure(figsize=(14, 3 * len(gates)), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(len(gates)), gates.items(), strict=True):
        image = axes.imshow(ops.convert_to_numpy(values)[0, :, :units].T, aspect="auto")
        axes.set(ylabel="unit", title=name)
        axes.set_xticks(range(len(line)), [repr(data.characters.decode([c]))[1:-1] for c in line])
        figure.colorbar(image, ax=axes)
    figure.savefig(arguments.output / "gates.png")


strategy = runs.start(arguments)

# Data: windows of one character more than the context, which is only predicted
data = shared.read(parser, arguments)
train, validation = shared.windows(data, arguments)

# Method: each character is predicted from those before it
with strategy.scope():
    network = networks.RecurrentLM(
        data.characters.vocabulary_size,
        arguments.width,
        arguments.depth,
        cell=arguments.cell,
        dropout_rate=arguments.dropout,
        seed=arguments.seed,
    )
    trainer = trainers.CausalLM(network)
    shared.compile_trainer(trainer, arguments, not_decayed=("bias",))
history = shared.fit(trainer, train, validation, arguments)

# Product: text
if distribute.is_chief(strategy):
    if arguments.cell != "rnn":
        plot_gates(data)
    loss = bigram_loss(data)
    shared.report(
        trainer,
        history,
        data,
        validation,
        write,
        arguments,
        "char_rnn",
        loss_of_a_bigram_model=loss,
    )
