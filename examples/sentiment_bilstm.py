"""Classify sentences by a bidirectional LSTM with attention, and see which words it looks at.

    python examples/sentiment_bilstm.py sst2

The folder has the files train.tsv, dev.tsv and test.tsv, with a sentence and its label in each
line, separated by a tab. SST-2, reviews of films that are good or bad, is a set of GLUE, and
TFDS has it as `glue/sst2`. The network reads the words in both directions and takes the mean of
what it has read, weighted by attention; beside it stands a linear classifier of which words occur.
It takes a few minutes on two cores.

It writes curves, a picture of the weights of the words of some test sentences, a report, and one
file with the model and its words. A run that was killed goes on when it is started again with the
same arguments.
"""

import argparse
import json
from pathlib import Path

import _runs as runs
import _text_runs as text_runs
import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from keras_ssl import distribute, layers, text, visualize

parser = argparse.ArgumentParser(
    description="A bidirectional LSTM with attention.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("data", type=Path, nargs="?", help="folder of train.tsv, dev.tsv and test.tsv")
add("--vocabulary", type=int, default=10_000, help="words, of which others are unknown")
add("--length", type=int, default=40, help="words of a sentence; longer ones are cut")
add("--width", type=int, default=100, help="of the words' embeddings")
add("--units", type=int, default=64, help="of each direction")
add("--cell", choices=["lstm", "gru", "minimal_gru", "rnn"], default="lstm")
add("--depth", type=int, default=1)
add("--dropout", type=float, default=0.5)
add("--batch-size", type=int, default=64, help="sentences, over all replicas")
add("--epochs", type=int, default=10)
add("--learning-rate", type=float, default=1e-3)
add("--shown", type=int, default=8, help="test sentences in the picture")
runs.add_run_arguments(parser, "runs/sentiment_bilstm")
arguments = parser.parse_args()


def plot_words(path: Path) -> None:
    """Draw the words of some test sentences, darker where the network looks."""
    texts, labels = sentences["test"]
    ids = tokenizer.pad(tokenizer.encode(texts[: arguments.shown]), arguments.length)["token_ids"]
    vectors, weights = encoder(
        embedding(ids), mask=embedding.compute_mask(ids), return_attention_scores=True
    )
    guessed = ops.convert_to_numpy(ops.argmax(classifier(vectors), axis=-1))
    lines = [
        [tokenizer.decode([one], skip_special_tokens=False) for one in row[row > 0]] for row in ids
    ]
    longest = max(len(" ".join(line)) for line in lines)
    figure = Figure(figsize=(0.1 * longest + 2, 0.4 * len(lines) + 0.2))  # inches of a character
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-20, longest + 2), ylim=(-len(lines) + 0.4, 0.6))
    axes.axis("off")
    style = {"family": "monospace", "fontsize": 11, "va": "center"}
    for row, (words, scores) in enumerate(zip(lines, ops.convert_to_numpy(weights), strict=True)):
        scores = scores[: len(words)]
        shares = (scores - scores.min()) / max(np.ptp(scores), 1e-6)
        axes.text(-19, -row, f"{labels[row]}, found {guessed[row]}", **style)
        x = 0
        for word, share in zip(words, shares, strict=True):
            axes.add_patch(Rectangle((x - 0.5, -row - 0.4), len(word) + 1, 0.8, alpha=0.7 * share))
            axes.text(x, -row, word, **style)
            x += len(word) + 1
    figure.savefig(path)


strategy = runs.start(arguments)
output = arguments.output

# Data: ids of words, 0 for padding
sentences = text_runs.read_sentences(parser, arguments.data)
tokenizer = text.VocabularyTokenizer.words(
    sentences["train"][0], arguments.vocabulary, standardize="lower"
)
batches = {
    part: text.batches(
        texts,
        tokenizer,
        arguments.length,
        arguments.batch_size,
        labels=labels,
        shuffle=part == "train",
        seed=arguments.seed,
    ).map(lambda x, y: (x["token_ids"], y))
    for part, (texts, labels) in sentences.items()
}

# Method: both directions, attention, classes
classes = int(sentences["train"][1].max()) + 1
with strategy.scope():
    embedding = keras.layers.Embedding(
        tokenizer.vocabulary_size, arguments.width, mask_zero=True, name="words"
    )
    encoder = layers.BidirectionalEncoder(
        arguments.units,
        arguments.cell,
        arguments.depth,
        dropout_rate=arguments.dropout,
        seed=arguments.seed,
    )
    classifier = keras.layers.Dense(classes, dtype="float32", name="classes")
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, classifier(encoder(embedding(inputs))))
    model.compile(
        keras.optimizers.Adam(arguments.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    model.summary()
history = model.fit(
    batches["train"],
    validation_data=batches["dev"],
    epochs=arguments.epochs,
    callbacks=[
        keras.callbacks.EarlyStopping(
            "val_accuracy", mode="max", patience=arguments.epochs, restore_best_weights=True
        ),
        keras.callbacks.BackupAndRestore(output / "backup"),
    ],
)

# Product: accuracy beside a bag of words, and where the network looks
if distribute.is_chief(strategy):
    text.TextModel(model, tokenizer, arguments.length).save(output / "sentiment.keras")
    visualize.plot_history(history, path=output / "curves.png")
    plot_words(output / "attention.png")
    bag = make_pipeline(TfidfVectorizer(token_pattern=r"\S+"), LogisticRegression(max_iter=1000))
    bag.fit(*sentences["train"])
    labels = sentences["test"][1]
    rows = [
        {
            "classifier": f"bidirectional {arguments.cell} with attention",
            "accuracy": f"{100 * model.evaluate(batches['test'], verbose=0)[1]:.1f} %",
        },
        {
            "classifier": "linear, of a bag of words",
            "accuracy": f"{100 * bag.score(*sentences['test']):.1f} %",
        },
        {
            "classifier": "the most frequent label",
            "accuracy": f"{100 * np.bincount(labels).max() / len(labels):.1f} %",
        },
    ]
    (output / "report.json").write_text(json.dumps(rows, indent=2))
    print(runs.table(rows))
    print(f"The model, pictures and report are in {output.resolve()}")
