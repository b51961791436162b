"""What the example of CLIP on emoji and its benchmark share: texts, pairs, towers and measures."""

import argparse
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from _emoji import Emoji, framed, resized, tags_of

from keras_ssl import augment, evaluate, networks, text

VARIANTS = 24  # texts of an emoji
THUMBNAIL = 8  # height and width of the raw pixels that are compared
_K = (1, 5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of pairs, towers and training."""
    add = parser.add_argument
    add("--flags", action="store_true", help="keep the group `flags`, whose drawings look alike")
    add("--size", type=int, default=32, help="height and width that drawings are brought to")
    add("--words", type=int, default=2000, help="size of the vocabulary")
    add("--length", type=int, default=16, help="tokens of a text")
    add("--widths", type=int, nargs="+", default=[32, 64, 128], help="channels; each halves")
    add("--channels", type=int, default=64, help="of the last feature map")
    add("--text", nargs=3, type=int, default=[64, 2, 2], help="width, blocks and heads")
    add("--width", type=int, default=128, help="of the shared space")
    add("--dropout", type=float, default=0.0, help="of the text tower")
    add("--crop", type=float, default=0.7, help="smallest share of a drawing that a crop shows")
    add("--color", type=float, default=0.2, help="strength of the change of colors")
    add("--gray", type=float, default=0.0, help="probability that a drawing loses its colors")
    add("--batch-size", type=int, default=256, help="pairs, over all replicas")
    add("--epochs", type=int, default=150)
    add("--learning-rate", type=float, default=1e-3)
    add("--warmup", type=int, default=50, help="steps")
    add("--weight-decay", type=float, default=0.2)


class Pairs(NamedTuple):
    """Drawings and texts of emoji.

    Args:
        drawings: uint8 `(vendors, emoji, height, width, 3)`.
        drawn_by: numbers of the vendors that have drawn an emoji, each equally often, `(emoji, m)`.
        texts: `"token_ids"` and `"padding_mask"` of the texts of each emoji, `(emoji, variants,
            length)`.
        rows: the emoji to learn from.
    """

    drawings: np.ndarray
    drawn_by: np.ndarray
    texts: dict[str, np.ndarray]
    rows: np.ndarray

    def batches(self, batch_size: int, seed: int) -> tf.data.Dataset:
        """Return an epoch of batches: each emoji once, by a random vendor and with a random text.

        No batch holds two drawings of one emoji, which belong together.
        """

        def draw(rows: tf.Tensor) -> dict[str, Any]:
            def choose(most: int, salt: int) -> tf.Tensor:
                shape = tf.shape(rows)
                return tf.random.uniform(shape, maxval=most, dtype="int32", seed=seed + salt)

            column = choose(self.drawn_by.shape[1], 1)
            vendors = tf.gather(tf.gather(self.drawn_by, rows), column, batch_dims=1)
            variants = choose(self.texts["token_ids"].shape[1], 2)
            return {
                "image": tf.gather_nd(self.drawings, tf.stack([vendors, rows], axis=1)),
                "text": {
                    name: tf.gather(tf.gather(some, rows), variants, batch_dims=1)
                    for name, some in self.texts.items()
                },
            }

        found = tf.data.Dataset.from_tensor_slices(self.rows.astype("int32"))
        found = found.shuffle(len(self.rows), seed=seed).batch(batch_size, drop_remainder=True)
        return found.map(draw).prefetch(2)


def texts_of(emoji: Emoji, languages: list[str], random: np.random.Generator) -> list[list[str]]:
    """Return the texts of each emoji: its names, and its English name with some of its tags."""
    found = []
    names = zip(*(emoji.columns[f"name_{one}"] for one in languages), strict=True)
    for own, tags in zip(names, tags_of(emoji), strict=True):
        some = [own[number % len(own)] for number in range(VARIANTS)]
        if "en" in languages:
            name = own[languages.index("en")]
            for number in range(languages.index("en"), VARIANTS // 2, len(languages)):
                some[number] = with_tags(name, random.permutation(tags).tolist())
        found.append(some)
    return found


def with_tags(name: str, tags: list[str]) -> str:
    """Return a text of a name and its tags."""
    return ", ".join([name, *tags])


def make_pairs(
    emoji: Emoji,
    vendors: list[str],
    is_held_out: np.ndarray,
    languages: list[str],
    arguments: argparse.Namespace,
) -> tuple[Pairs, text.Tokenizer]:
    """Return pairs of drawings by some vendors and texts, and the tokenizer of the texts.

    Args:
        emoji: all emoji.
        vendors: those whose drawings are learned from.
        is_held_out: whether an emoji is left out, `(emoji,)`.
        languages: of the names, the endings of columns.
        arguments: of the command line.
    """
    present = np.stack([emoji.present[one] for one in vendors], axis=1)
    rows = np.flatnonzero(present.any(axis=1) & ~is_held_out)
    times = np.lcm.reduce(np.arange(1, len(vendors) + 1))
    drawn_by = np.stack([np.resize(np.flatnonzero([*one] or [0]), times) for one in present])
    drawings = small_drawings(emoji, arguments.size)
    drawings = np.stack([drawings[one] for one in vendors])
    texts = texts_of(emoji, languages, np.random.default_rng(arguments.seed))
    tokenizer = text.Tokenizer.word_piece(
        [one for row in rows for one in texts[row]], arguments.words
    )
    tokens = tokens_of(tokenizer, [one for some in texts for one in some], arguments.length)
    tokens = {name: one.reshape(len(texts), VARIANTS, -1) for name, one in tokens.items()}
    return Pairs(drawings, drawn_by.astype("int32"), tokens, rows), tokenizer


def small_drawings(emoji: Emoji, size: int) -> dict[str, np.ndarray]:
    """Return the drawings of each vendor as the image tower takes them: framed, and of a size."""
    return {name: resized(one, size) for name, one in framed(emoji).images.items()}


def tokens_of(tokenizer: text.Tokenizer, texts: list[str], length: int) -> dict[str, np.ndarray]:
    """Return texts as the text tower takes them."""
    return tokenizer(texts, length, segment_ids=False)


def make_views(arguments: argparse.Namespace) -> augment.FusedPipeline:
    """Return the layer that changes drawings at random; names say left and right, so no flips."""
    steps = [
        augment.RandomResizedCrop(arguments.size, scale=(arguments.crop, 1.0), ratio=(0.8, 1.25)),
        augment.ColorJitter(*[arguments.color] * 3, hue=arguments.color / 4),
        augment.Grayscale(arguments.gray),
    ]
    return augment.FusedPipeline(steps)


def make_encoders(
    arguments: argparse.Namespace, vocabulary_size: int
) -> tuple[keras.Model, keras.Model]:
    """Return an encoder of drawings and one of texts."""
    shape = (arguments.size, arguments.size, 3)
    images = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            networks.conv_encoder(shape, arguments.widths, channels=arguments.channels),
            keras.layers.Flatten(),
        ],
        name="image_encoder",
    )
    texts = networks.text_transformer(
        arguments.text,
        vocabulary_size,
        max_length=arguments.length,
        dropout_rate=arguments.dropout,
        seed=arguments.seed,
    )
    return images, texts


def retrieval(
    first: np.ndarray, second: np.ndarray, ids: np.ndarray | None = None
) -> dict[str, dict[int, float]]:
    """Return the recall at 1 and 5 of both directions, in percent."""
    found = evaluate.retrieval_metrics(first, second, ids, ids, k=_K)
    return {
        direction: {k: 100 * one[f"recall_at_{k}"] for k in _K} for direction, one in found.items()
    }


def pixel_retrieval(queries: np.ndarray, known: np.ndarray) -> dict[int, float]:
    """Return how often the drawing of the same row is among those of the nearest pixels."""
    queries, known = (resized(one, THUMBNAIL).reshape(len(one), -1) for one in (queries, known))
    index = evaluate.SearchIndex(known.shape[1], metric="l2")
    index.add(known.astype("float32"))
    _, found = index.query(queries.astype("float32"), min(max(_K), len(known)))
    right = found == np.arange(len(queries))[:, None]
    return {k: 100 * float(np.mean(right[:, :k].any(axis=1))) for k in _K}


def measure(
    emoji: Emoji,
    vendor: str,
    rows: np.ndarray,
    drawings: dict[str, np.ndarray],
    names: np.ndarray,
) -> list[dict[str, Any]]:
    """Return how well the drawings of a vendor are found, and raw pixels beside it.

    Args:
        emoji: all emoji, as vendors have drawn them.
        vendor: whose drawings are found by their names, name their emoji, and find those of others.
        rows: the emoji to measure on.
        drawings: vectors of the drawings of each vendor, `(emoji, width)`.
        names: vectors of the names, `(emoji, width)`.
    """
    table = []

    def add(what: str, both: np.ndarray, recall: dict[int, float], other: str = "") -> None:
        row = {"search": what, "among": len(both), **{f"recall at {k}": recall[k] for k in _K}}
        for name, some in {"raw pixels": emoji, "framed": in_frames}.items():
            pixels = dict.fromkeys(_K)
            if other:
                pixels = pixel_retrieval(some.images[vendor][both], some.images[other][both])
            row |= {f"{name} at {k}": pixels[k] for k in _K}
        table.append(row)

    in_frames = framed(emoji)
    own = rows[emoji.present[vendor][rows]]
    found = retrieval(drawings[vendor][own], names[own])
    add("drawing by name", own, found["second_to_first"])
    add("name by drawing", own, found["first_to_second"])
    for other in drawings:
        if other != vendor:
            both = own[emoji.present[other][own]]
            found = retrieval(drawings[vendor][both], drawings[other][both])
            add(f"drawing of {other}", both, found["first_to_second"], other)
    return table


def between_languages(names: dict[str, np.ndarray], rows: np.ndarray) -> list[dict[str, Any]]:
    """Return how often a name finds the one in another language, for each pair of languages.

    Args:
        names: vectors of the names in each language, `(emoji, width)`.
        rows: the emoji to measure on.
    """
    table = []
    for one, other in itertools.combinations(names, 2):
        found = retrieval(names[one][rows], names[other][rows])
        for (asked, answer), direction in zip(((one, other), (other, one)), found, strict=True):
            recall = {f"recall at {k}": found[direction][k] for k in _K}
            table.append({"from": asked, "to": answer, "among": len(rows), **recall})
    return table


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a table with its numbers as they are printed, and nothing for `None`."""
    shown = {name: f"{one:.1f}" for name, one in row.items() if isinstance(one, float)}
    return {name: shown.get(name, "" if one is None else one) for name, one in row.items()}


def zero_shot(
    emoji: Emoji,
    vendor: str,
    rows: np.ndarray,
    drawings: np.ndarray,
    embed_texts: Callable[[list[str]], np.ndarray],
) -> dict[str, float]:
    """Return the accuracy of groups by their names, with chance and the largest group, in percent.

    Args:
        emoji: all emoji.
        vendor: whose drawings are classified.
        rows: the emoji to measure on.
        drawings: vectors of that vendor's drawings, `(emoji, width)`.
        embed_texts: function from texts to their vectors.
    """
    names = [one.replace("-", " ") for one in emoji.columns["group"]]
    groups, labels = np.unique(names, return_inverse=True)
    own = rows[emoji.present[vendor][rows]]
    classifier = evaluate.zero_shot_classifier(
        evaluate.raw_pixels, embed_texts, groups.tolist(), templates=["{}"]
    )
    accuracy = classifier.accuracy(evaluate.raw_pixels, (drawings[own], labels[own]))
    return {
        "zero-shot accuracy": 100 * accuracy,
        "chance": 100 / len(groups),
        "largest group": 100 * np.bincount(labels[own]).max() / len(own),
    }
