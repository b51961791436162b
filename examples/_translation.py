"""What the example of translation and its benchmark share: data, network, decoding and scores."""

import argparse
import os
from pathlib import Path

import _text_runs as text_runs
import keras
import numpy as np
import sacrebleu
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer

from keras_ssl import decoding, networks, text

Pairs = dict[str, list]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the data, the network, training and decoding."""
    add = parser.add_argument
    add("pairs", type=Path, nargs="?", help="file of pairs; see the head of translate.py")
    add("--source", default="spanish", help="column to translate from")
    add("--target", default="english", help="column to translate to")
    add("--groups", nargs="*", default=[], help="columns of what is held out together")
    add("--validation", type=float, default=0.0125, help="share of the groups, for the loss")
    add("--test", type=float, default=0.025, help="share of the groups, to translate")
    add("--vocabulary", type=int, default=6000, help="tokens of both languages")
    add("--length", type=int, default=64, help="tokens of a sentence; longer ones are cut")
    add("--blocks", type=int, default=3, help="of the encoder, and of the decoder")
    add("--heads", type=int, default=4)
    add("--width", type=int, default=128)
    add("--dropout", type=float, default=0.1)
    add("--label-smoothing", type=float, default=0.1)
    add("--batch-size", type=int, default=32, help="pairs, over all replicas")
    add("--epochs", type=int, default=5)
    add("--learning-rate", type=float, default=2e-3)
    add("--warmup", type=int, default=400, help="steps")
    add("--beams", type=int, default=4)
    add("--length-penalty", type=float, default=0.6)


def read_pairs(arguments: argparse.Namespace) -> dict[str, Pairs]:
    """Return the sentences of the parts `"train"`, `"validation"` and `"test"`."""
    path, group_names = arguments.pairs, arguments.groups
    if path is None and (folder := os.environ.get("KERAS_SSL_DATA_DIR")):
        path, group_names = Path(folder) / "bible" / "verses.tsv.gz", ["book", "chapter"]
    if path is None or not path.is_file():
        raise SystemExit(
            f"there is no file of pairs {path or ''}; `--help` and the head of translate.py say "
            "what to do"
        )
    head, *rows = text_runs.read_columns(path) or [[]]
    if wrong := [n for n, row in enumerate(rows, start=2) if len(row) != len(head)]:
        raise SystemExit(
            f"line {wrong[0]} of {path} does not have as many columns as its first line"
        )
    wanted = [arguments.source, arguments.target, *group_names]
    if missing := [name for name in wanted if name not in head]:
        raise SystemExit(f"{path} lacks the columns {missing}; it has {head}")
    columns = [head.index(name) for name in wanted]
    groups: dict[tuple, list] = {}
    for number, row in enumerate(rows):
        source, target, *group = (row[column] for column in columns)
        groups.setdefault(tuple(group) or (number,), []).append((source, target))
    order = np.random.default_rng(arguments.seed).permutation(len(groups))
    shuffled = [list(groups.values())[number] for number in order]
    first, second = (
        max(1, round(share * len(groups))) for share in (arguments.validation, arguments.test)
    )
    parts = {
        "validation": shuffled[:first],
        "test": shuffled[first : first + second],
        "train": shuffled[first + second :],
    }
    if not all(parts.values()):
        raise SystemExit(
            f"{path} has too few groups to hold out {first} and {second}: {len(groups)}"
        )
    flat = {name: [pair for group in part for pair in group] for name, part in parts.items()}
    return {
        name: {"source": [pair[0] for pair in part], "target": [pair[1] for pair in part]}
        for name, part in flat.items()
    }


def training_batches(
    arguments: argparse.Namespace, tokenizer: text.Tokenizer, pairs: Pairs
) -> tf.data.Dataset:
    """Return shuffled batches of pairs of about one length, so that there is little padding."""
    frame = tokenizer.frame_of().size
    sizes = frame + np.max([[len(one) for one in side] for side in pairs.values()], axis=0)
    sizes = np.minimum(sizes, arguments.length)
    parts, shortest = [], 0
    for bound in (arguments.length * quarter // 4 for quarter in (1, 2, 3, 4)):
        chosen = np.flatnonzero((sizes > shortest) & (sizes <= bound))
        if len(chosen) < arguments.batch_size:
            continue  # they go with the longer ones
        some = {name: [side[number] for number in chosen] for name, side in pairs.items()}
        order = {"shuffle": True, "drop_remainder": True}
        parts.append(make_batches(arguments, tokenizer, some, bound, **order))
        shortest = bound
    if not parts:
        raise SystemExit(f"--batch-size {arguments.batch_size} is larger than the training set")
    counts = [len(part) for part in parts]
    mixed = tf.data.Dataset.sample_from_datasets(
        parts, np.array(counts) / sum(counts), seed=arguments.seed, stop_on_empty_dataset=False
    )
    return mixed.apply(tf.data.experimental.assert_cardinality(sum(counts)))


def make_batches(
    arguments: argparse.Namespace,
    tokenizer: text.Tokenizer,
    pairs: Pairs,
    length: int,
    **kwargs: bool,
) -> tf.data.Dataset:
    """Return batches of pairs of token ids."""
    return text.parallel_batches(
        pairs, tokenizer, length, arguments.batch_size, seed=arguments.seed, **kwargs
    )


def make_network(arguments: argparse.Namespace, vocabulary_size: int) -> networks.Transformer:
    """Return a transformer of encoder and decoder with one vocabulary."""
    return networks.transformer(
        (arguments.width, arguments.blocks, arguments.heads),
        vocabulary_size,
        dropout_rate=arguments.dropout,
        attention_dropout_rate=0.0,
        seed=arguments.seed,
    )


def make_optimizer(arguments: argparse.Namespace, steps: int) -> keras.optimizers.Optimizer:
    """Return Adam with a warm-up and a cosine schedule over all steps."""
    rate = text_runs.warm_up_and_cosine(arguments.learning_rate, steps, arguments.warmup)
    return keras.optimizers.Adam(rate, beta_2=0.98, global_clipnorm=1.0)


def translate(
    arguments: argparse.Namespace,
    network: networks.Transformer,
    tokenizer: text.Tokenizer,
    sources: list[np.ndarray],
    method: decoding.DecodingMethod,
    verbose: int = 1,
) -> list[str]:
    """Return translations of sentences, which are decoded with others of about their length."""
    order = np.argsort([len(one) for one in sources])
    start, end = tokenizer.start_token_id, tokenizer.end_token_id
    found, size = {}, arguments.batch_size
    bar = keras.utils.Progbar(len(order), unit_name="sentence", verbose=verbose)
    for first in range(0, len(order), size):
        some = order[first : first + size]
        decoded = decoding.decode(
            network,
            [[start]] * len(some),
            arguments.length,
            method=method,
            end_token=end,
            pad_token=tokenizer.pad_token_id,
            context=tokenizer([sources[number] for number in some], arguments.length),
        )
        found |= dict(zip(some.tolist(), tokenizer.decode(decoded.token_ids), strict=True))
        bar.add(len(some))
    return [found[number].strip() for number in range(len(order))]


def nearest_targets(train: Pairs, sources: list[str]) -> list[str]:
    """Return the targets of those training sentences whose words are most like those of sources."""
    vectorizer = TfidfVectorizer()
    known = vectorizer.fit_transform(train["source"])
    nearest = (vectorizer.transform(sources) @ known.T).argmax(axis=1)
    return [train["target"][number] for number in np.asarray(nearest).reshape(-1)]


def floors(train: Pairs, sources: list[str]) -> dict[str, list[str]]:
    """Return what two simple translators make of sources, by name."""
    return {
        "the source, copied": sources,
        "of the nearest training sentence": nearest_targets(train, sources),
    }


def scores(translations: list[str], references: list[str]) -> dict[str, float]:
    """Return BLEU and chrF, in percent."""
    return {
        "BLEU": round(sacrebleu.corpus_bleu(translations, [references]).score, 2),
        "chrF": round(sacrebleu.corpus_chrf(translations, [references]).score, 2),
    }
