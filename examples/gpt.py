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
import json
import math
import os
import shutil
from pathlib import Path

import _runs as runs
import _text_runs as text_runs
import keras
import numpy as np
import tensorflow_datasets as tfds

from keras_ssl import callbacks, decoding, distribute, evaluate, networks, text, trainers, visualize

parser = argparse.ArgumentParser(
    description="A language model of characters.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("text", type=Path, nargs="?", help="file of text; by default, tiny Shakespeare")
add("--data-dir", help="folder of prepared TFDS sets")
add("--validation", type=float, default=0.1, help="share of the text, at its end")
add("--blocks", type=int, default=4)
add("--heads", type=int, default=4)
add("--width", type=int, default=128)
add("--context", type=int, default=64, help="characters that a prediction sees at most")
add("--dropout", type=float, default=0.0)
add("--batch-size", type=int, default=12, help="over all replicas")
add("--iterations", type=int, default=2000)
add("--evaluate-every", type=int, default=250, help="iterations")
add("--learning-rate", type=float, default=1e-3)
add("--last-learning-rate", type=float, default=1e-4)
add("--warmup", type=int, default=100, help="iterations")
add("--weight-decay", type=float, default=0.1)
add("--prompt", help="what the model continues; by default, an end of line")
add("--characters", type=int, default=500, help="how many to write")
runs.add_run_arguments(parser, "runs/gpt")
arguments = parser.parse_args()


def read_text() -> str:
    """Return the text of the user's file, or tiny Shakespeare."""
    if arguments.text is not None:
        if not arguments.text.is_file():
            parser.error(f"there is no file {arguments.text}")
        return arguments.text.read_text(encoding="utf-8")
    folder = arguments.data_dir or os.environ.get("KERAS_SSL_DATA_DIR")
    if folder is not None and (Path(folder) / "tfds").is_dir():
        folder = Path(folder) / "tfds"
    # together they are the text as it was, before TFDS cut it into 90, 5 and 5 percent
    parts = tfds.load("tiny_shakespeare", data_dir=folder, split=["train", "validation", "test"])
    return "".join(row["text"].decode() for part in parts for row in tfds.as_numpy(part))


def write(model: keras.Model, prompt: np.ndarray, method: decoding.DecodingMethod) -> dict:
    """Return what a model writes, and how likely it was to the model.

    There are no positions behind the context. Whenever it is full, the model goes on from its last
    half, which makes calls of one shape, so that all but the first are compiled once.
    """
    half = arguments.context // 2
    written, nats = list(prompt), 0.0
    while len(written) < len(prompt) + arguments.characters:
        seen = written[-half:]
        found = decoding.decode(
            model,
            [seen],
            length=arguments.context,
            method=method,
            seed=arguments.seed + len(written),
        )
        written += found.token_ids[0, len(seen) :].tolist()
        nats -= float(found.log_probabilities[0])
    made = len(written) - len(prompt)
    return {"token_ids": written[len(prompt) :][: arguments.characters], "nats": nats / made}


strategy = runs.start(arguments)
output = arguments.output

# Data: windows of one character more than the context, which is only predicted
whole = read_text()
characters = text.VocabularyTokenizer.characters([whole])
tokens = characters.encode(whole)
cut = round(len(tokens) * (1 - arguments.validation))
length = arguments.context + 1
if min(cut, len(tokens) - cut) < length:
    parser.error(
        f"a text of {len(tokens):,} characters is too short for --context {arguments.context} and "
        f"--validation {arguments.validation}"
    )
print(f"{cut:,} characters to learn from, {len(tokens) - cut:,} to validate with")
train = text.token_windows(
    tokens[:cut], length, arguments.batch_size, random=True, seed=arguments.seed
).repeat()
validation = text.token_windows(
    tokens[cut:], length, batch_size=128, stride=arguments.context
)  # predicts each character once

prompt = arguments.prompt or ("\n" if "\n" in whole else whole[cut])
if strange := sorted(set(prompt) - set(whole)):
    parser.error(f"--prompt has characters that the text has not: {strange}")

# Method: each character is predicted from those before it
with strategy.scope():
    network = networks.gpt2(
        (arguments.width, arguments.blocks, arguments.heads),
        characters.vocabulary_size,
        max_length=arguments.context,
        dropout_rate=arguments.dropout,
        attention_dropout_rate=arguments.dropout,
        use_bias=False,
        seed=arguments.seed,
    )
    trainer = trainers.CausalLM(network)
    rate = text_runs.warm_up_and_cosine(
        arguments.learning_rate,
        arguments.iterations,
        arguments.warmup,
        arguments.last_learning_rate,
    )
    trainer.compile(
        keras.optimizers.AdamW(
            rate, weight_decay=arguments.weight_decay, beta_2=0.99, global_clipnorm=1.0
        ),
        exclude_from_weight_decay=("gamma", "beta"),
    )
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    network.summary()
steps = min(arguments.evaluate_every, arguments.iterations)
history = trainer.fit(
    train,
    steps_per_epoch=steps,
    epochs=math.ceil(arguments.iterations / steps),
    validation_data=validation,
    callbacks=[callbacks.BackupAndResume(output / "backup")],
)

# Product: text
if distribute.is_chief(strategy):
    text.TextModel(network, characters, arguments.context).save(output / "gpt.keras")
    visualize.plot_history(history, path=output / "curves.png")
    perplexity = evaluate.perplexity(trainer, validation, verbose=1)

    methods = {
        "greedy": decoding.Greedy(),
        "temperature 1": decoding.Sampling(),
        "temperature 0.8": decoding.Sampling(temperature=0.8),
        "top 10": decoding.Sampling(top_k=10),
        "top 90 %": decoding.Sampling(top_p=0.9),
    }
    known = set(whole[:cut].split())
    rows, samples = [], []
    for name, method in methods.items():
        found = write(network, characters.encode(prompt), method)
        sample = characters.decode(found["token_ids"])
        words = sample.split()
        rows.append(
            {
                "method": name,
                "nats a character": round(found["nats"], 3),
                "different words": f"{len(set(words)) / max(1, len(words)):.0%}",
                "words of the text": f"{np.mean([w in known for w in words] or [0]):.0%}",
            }
        )
        samples.append(f"## {name}\n\n{prompt}{sample}\n")
    (output / "samples.txt").write_text("\n".join(samples), encoding="utf-8")
    report = {
        "validation_loss": math.log(perplexity),
        "perplexity": perplexity,
        "bits_per_character": math.log2(perplexity),
        "samples": rows,
    }
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print("\n".join(samples))
    print(runs.table(rows))
    print(
        f"validation loss {report['validation_loss']:.4f} nats a character, perplexity "
        f"{perplexity:.3f}"
    )
    print(f"The model, samples, curves and report are in {output.resolve()}")
