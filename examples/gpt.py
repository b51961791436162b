"""Train a small GPT on the characters of a text of your own, and let it write.

    python examples/gpt.py text.txt
    python examples/gpt.py

Without a file, the text is tiny Shakespeare from TFDS, which is downloaded unless it is there. The
settings are those that nanoGPT publishes for a CPU: 4 blocks of 4 heads and width 128, a context of
64 characters, 2,000 steps of 12 windows; minutes on two cores. nanoGPT's settings for one GPU are

    python examples/gpt.py --blocks 6 --heads 6 --width 384 --context 256 --batch-size 64 \
        --iterations 5000 --dropout 0.2 --precision mixed_bfloat16

It prints the loss over the whole validation split, the last tenth of the text, and writes what the
model says by several methods of decoding, curves, and one file with the model and its characters. A
run that was killed goes on when it is started again with the same arguments.
"""

import argparse

import _characters as shared
import _runs as runs
import numpy as np

from keras_ssl import decoding, distribute, networks, trainers

parser = argparse.ArgumentParser(
    description="A language model of characters.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
shared.add_arguments(parser, context=64, batch_size=12, learning_rate=1e-3)
add("--blocks", type=int, default=4)
add("--heads", type=int, default=4)
add("--width", type=int, default=128)
add("--dropout", type=float, default=0.0)
runs.add_run_arguments(parser, "runs/gpt")
arguments = parser.parse_args()


def write(prompt: np.ndarray, method: decoding.DecodingMethod) -> tuple[list[int], float]:
    """Return what the model writes, and how likely it was to the model.

    There are no positions behind the context. Whenever it is full, the model goes on from its last
    half, which makes calls of one shape, so that all but the first are compiled once.
    """
    half = arguments.context // 2
    written, nats = list(prompt), 0.0
    while len(written) < len(prompt) + arguments.characters:
        seen = written[-half:]
        found = decoding.decode(
            network,
            [seen],
            length=arguments.context,
            method=method,
            seed=arguments.seed + len(written),
        )
        written += found.token_ids[0, len(seen) :].tolist()
        nats -= float(found.log_probabilities[0])
    made = len(written) - len(prompt)
    return written[len(prompt) :][: arguments.characters], nats / made


strategy = runs.start(arguments)

# Data: windows of one character more than the context, which is only predicted
data = shared.read(parser, arguments)
train, validation = shared.windows(data, arguments)

# Method: each character is predicted from those before it
with strategy.scope():
    network = networks.gpt2(
        (arguments.width, arguments.blocks, arguments.heads),
        data.characters.vocabulary_size,
        max_length=arguments.context,
        dropout_rate=arguments.dropout,
        attention_dropout_rate=arguments.dropout,
        use_bias=False,
        seed=arguments.seed,
    )
    trainer = trainers.CausalLM(network)
    shared.compile_trainer(trainer, arguments, not_decayed=("gamma", "beta"))
history = shared.fit(trainer, train, validation, arguments)

# Product: text
if distribute.is_chief(strategy):
    shared.report(trainer, history, data, validation, write, arguments, "gpt")
