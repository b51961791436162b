"""What the examples of language models of characters share: arguments, data, training, a report."""

import argparse
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import _runs as runs
import _text_runs as text_runs
import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_ssl import callbacks, decoding, distribute, evaluate, text, trainers, visualize

METHODS = {
    "greedy": decoding.Greedy(),
    "temperature 1": decoding.Sampling(),
    "temperature 0.8": decoding.Sampling(temperature=0.8),
    "top 10": decoding.Sampling(top_k=10),
    "top 90 %": decoding.Sampling(top_p=0.9),
}


def add_arguments(
    parser: argparse.ArgumentParser,
    context: int,
    batch_size: int,
    learning_rate: float,
    iterations: int = 2000,
) -> None:
    """Add the arguments of text, training and writing."""
    add = parser.add_argument
    add("text", type=Path, nargs="?", help="file of text; by default, tiny Shakespeare")
    add("--data-dir", help="folder of prepared TFDS sets")
    add("--validation", type=float, default=0.1, help="share of the text, at its end")
    add("--context", type=int, default=context, help="characters that are learned from at once")
    add("--batch-size", type=int, default=batch_size, help="over all replicas")
    add("--iterations", type=int, default=iterations)
    add("--evaluate-every", type=int, default=250, help="iterations")
    add("--learning-rate", type=float, default=learning_rate)
    add("--last-learning-rate", type=float, default=learning_rate / 10)
    add("--warmup", type=int, default=100, help="iterations")
    add("--weight-decay", type=float, default=0.1)
    add("--prompt", help="what the model continues; by default, an end of line")
    add("--characters", type=int, default=500, help="how many to write")


class Data(NamedTuple):
    """A text, cut in two.

    Attributes:
        characters: the tokenizer.
        train: ids of the characters to learn from.
        validation: ids of those behind them.
        words: the words of the part to learn from.
        prompt: what a model continues.
    """

    characters: text.VocabularyTokenizer
    train: np.ndarray
    validation: np.ndarray
    words: set[str]
    prompt: str


def read(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Data:
    """Return the user's text, or tiny Shakespeare."""
    whole = _read_text(parser, arguments)
    characters = text.VocabularyTokenizer.characters([whole])
    tokens = characters.encode(whole)
    cut = round(len(tokens) * (1 - arguments.validation))
    if min(cut, len(tokens) - cut) < arguments.context + 1:
        parser.error(
            f"a text of {len(tokens):,} characters is too short for --context {arguments.context} "
            f"and --validation {arguments.validation}"
        )
    print(f"{cut:,} characters to learn from, {len(tokens) - cut:,} to validate with")
    prompt = arguments.prompt or ("\n" if "\n" in whole else whole[cut])
    if strange := sorted(set(prompt) - set(whole)):
        parser.error(f"--prompt has characters that the text has not: {strange}")
    return Data(characters, tokens[:cut], tokens[cut:], set(whole[:cut].split()), prompt)


def _read_text(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
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


def windows(data: Data, arguments: argparse.Namespace) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """Return random windows to learn from, and those that predict each last character once.

    A window has one character more than the context, which is only predicted.
    """
    length = arguments.context + 1
    train = text.token_windows(
        data.train, length, arguments.batch_size, random=True, seed=arguments.seed
    ).repeat()
    validation = text.token_windows(
        data.validation, length, batch_size=128, stride=arguments.context
    )
    return train, validation


def compile_trainer(
    trainer: trainers.CausalLM, arguments: argparse.Namespace, not_decayed: tuple[str, ...]
) -> None:
    """Compile a trainer with AdamW, whose rate rises and falls; some weights do not decay."""
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
        exclude_from_weight_decay=not_decayed,
    )


def fit(
    trainer: trainers.CausalLM,
    train: tf.data.Dataset,
    validation: tf.data.Dataset,
    arguments: argparse.Namespace,
) -> keras.callbacks.History:
    """Train a trainer, or go on with a run that was killed."""
    if distribute.is_chief(trainer.distribute_strategy):
        arguments.output.mkdir(parents=True, exist_ok=True)
        trainer.encoder.summary()
    steps = min(arguments.evaluate_every, arguments.iterations)
    return trainer.fit(
        train,
        steps_per_epoch=steps,
        epochs=math.ceil(arguments.iterations / steps),
        validation_data=validation,
        callbacks=[callbacks.BackupAndResume(arguments.output / "backup")],
    )


def report(
    trainer: trainers.CausalLM,
    history: keras.callbacks.History,
    data: Data,
    validation: tf.data.Dataset,
    write: Callable[[np.ndarray, decoding.DecodingMethod], tuple[list[int], float]],
    arguments: argparse.Namespace,
    name: str,
    **beside: float,
) -> None:
    """Write the model, curves, what it says, and how well it predicts; print the last two.

    Args:
        trainer: the trained one.
        history: what `fit` returned.
        data: the text.
        validation: windows of the text's end.
        write: function of a prompt and a method that returns what the model writes, and its mean
            nats per character.
        arguments: of the command line.
        name: of the model's file.
        **beside: losses of other models, to print beside this one's.
    """
    output = arguments.output
    text.TextModel(trainer.encoder, data.characters, arguments.context).save(
        output / f"{name}.keras"
    )
    visualize.plot_history(history, path=output / "curves.png")
    perplexity = evaluate.perplexity(trainer, validation, verbose=1)
    rows, samples = [], []
    for method_name, method in METHODS.items():
        token_ids, nats = write(data.characters.encode(data.prompt), method)
        sample = data.characters.decode(token_ids)
        words = sample.split()
        rows.append(
            {
                "method": method_name,
                "nats per character": round(nats, 3),
                "different words": f"{len(set(words)) / max(1, len(words)):.0%}",
                "words of the text": f"{np.mean([w in data.words for w in words] or [0]):.0%}",
            }
        )
        samples.append(f"## {method_name}\n\n{data.prompt}{sample}\n")
    (output / "samples.txt").write_text("\n".join(samples), encoding="utf-8")
    found = {
        "validation_loss": math.log(perplexity),
        "perplexity": perplexity,
        "bits_per_character": math.log2(perplexity),
        **beside,
        "samples": rows,
    }
    (output / "report.json").write_text(json.dumps(found, indent=2))
    shutil.rmtree(output / "backup")
    print("\n".join(samples))
    print(runs.table(rows))
    print(
        f"validation loss {found['validation_loss']:.4f} nats per character, perplexity "
        f"{perplexity:.3f}"
    )
    for title, loss in beside.items():
        print(f"beside it, {title.replace('_', ' ')}: {loss:.4f}")
    print(f"The model, samples, curves and report are in {output.resolve()}")
