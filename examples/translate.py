"""Learn to translate from a file of pairs of sentences, and compare with two simple translators.

    python examples/translate.py pairs.tsv --source spanish --target english --groups book chapter

The file has one pair per line in tab-separated columns, plain or compressed by gzip; the first
line names the columns. `--groups` names columns whose equal entries belong together, such as those
of a chapter: whole groups are held out, since neighbouring sentences help each other. Without
`--groups`, pairs are held out one by one. Pairs of many languages are offered by Tatoeba and OPUS.
Without a file, it is `bible/verses.tsv.gz` in the folder that `KERAS_SSL_DATA_DIR` names: 30,000
verses of the Bible with the columns above, for which the settings are meant.

A transformer of encoder and decoder learns with one byte-pair vocabulary for both languages, which
is trained on the training pairs. Its translations of held-out sentences by greedy decoding and beam
search are compared by BLEU and chrF with the sentences themselves, left as they are, and with the
translation of the most similar training sentence. It needs `pip install 'keras-ssl[text]'`.

It writes translations, curves, what the decoder attends to, and one file with model and vocabulary.
A run that was killed goes on when it is started again with the same arguments. The settings of
the paper, on the GPUs of one machine and with a far larger file:

    python examples/translate.py pairs.tsv --blocks 6 --heads 8 --width 512 --vocabulary 37000 \
        --length 128 --batch-size 1024 --epochs 20 --learning-rate 7e-4 --warmup 4000 \
        --strategy mirrored --precision mixed_bfloat16
"""

import argparse
import json
import os
import shutil
from pathlib import Path

import _runs as runs
import _text_runs as text_runs
import keras
import numpy as np
import sacrebleu
import tensorflow as tf
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import TfidfVectorizer

from keras_ssl import callbacks, decoding, distribute, evaluate, networks, text, trainers, visualize

parser = argparse.ArgumentParser(
    description="Translation by a transformer.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("pairs", type=Path, nargs="?", help="file of pairs; see the head of this script")
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
runs.add_run_arguments(parser, "runs/translate")
arguments = parser.parse_args()


def read_pairs() -> dict[str, dict[str, list[str]]]:
    """Return the sentences of the parts `"train"`, `"validation"` and `"test"`."""
    path, group_names = arguments.pairs, arguments.groups
    if path is None and (folder := os.environ.get("KERAS_SSL_DATA_DIR")):
        path, group_names = Path(folder) / "bible" / "verses.tsv.gz", ["book", "chapter"]
    if path is None or not path.is_file():
        parser.error(
            f"there is no file of pairs {path or ''}; `--help` and the head say what to do"
        )
    head, *rows = text_runs.read_columns(path) or [[]]
    if wrong := [n for n, row in enumerate(rows, start=2) if len(row) != len(head)]:
        parser.error(f"line {wrong[0]} of {path} has not as many columns as the first one")
    wanted = [arguments.source, arguments.target, *group_names]
    if missing := [name for name in wanted if name not in head]:
        parser.error(f"{path} has the columns {head}, and not {missing}")
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
        parser.error(f"{path} has too few groups to hold out {first} and {second}: {len(groups)}")
    flat = {name: [pair for group in part for pair in group] for name, part in parts.items()}
    return {
        name: {"source": [pair[0] for pair in part], "target": [pair[1] for pair in part]}
        for name, part in flat.items()
    }


def training_batches(pairs: dict[str, list[np.ndarray]]) -> tf.data.Dataset:
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
        parts.append(make_batches(some, bound, shuffle=True, drop_remainder=True))
        shortest = bound
    if not parts:
        parser.error(f"--batch-size {arguments.batch_size} is larger than the training set")
    counts = [len(part) for part in parts]
    mixed = tf.data.Dataset.sample_from_datasets(
        parts, np.array(counts) / sum(counts), seed=arguments.seed, stop_on_empty_dataset=False
    )
    return mixed.apply(tf.data.experimental.assert_cardinality(sum(counts)))


def make_batches(pairs: dict[str, list], length: int, **kwargs: bool) -> tf.data.Dataset:
    """Return batches of pairs of token ids."""
    return text.parallel_batches(
        pairs, tokenizer, length, arguments.batch_size, seed=arguments.seed, **kwargs
    )


def translate(sources: list[np.ndarray], method: decoding.DecodingMethod) -> list[str]:
    """Return translations of sentences, which are decoded with others of about their length."""
    order = np.argsort([len(one) for one in sources])
    start, end = tokenizer.start_token_id, tokenizer.end_token_id
    found, size = {}, arguments.batch_size
    bar = keras.utils.Progbar(len(order), unit_name="sentence")
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


def nearest_targets(train: dict[str, list[str]], sources: list[str]) -> list[str]:
    """Return the targets of those training sentences whose words are most like those of sources."""
    vectorizer = TfidfVectorizer()
    known = vectorizer.fit_transform(train["source"])
    nearest = (vectorizer.transform(sources) @ known.T).argmax(axis=1)
    return [train["target"][number] for number in np.asarray(nearest).reshape(-1)]


def plot_context_scores(sources: list[np.ndarray], translations: list[str], path: Path) -> None:
    """Draw which tokens of the source each token of a translation attends to, block by block."""
    figure = Figure(figsize=(4 * arguments.blocks, 4 * len(sources)), layout="constrained")
    grid = figure.subplots(len(sources), arguments.blocks, squeeze=False)
    for axes_of_row, source, translation in zip(grid, sources, translations, strict=True):
        inputs = tokenizer([source], len(source) + 2)
        targets = tokenizer.encode([translation])
        decoder_inputs = tokenizer(targets, len(targets[0]) + 2)["token_ids"]
        context = network.encode(inputs)["tokens"]
        outputs = network.decode(decoder_inputs[:, :-1], context, return_attention_scores=True)
        columns, rows = (
            [tokenizer.decode([one]).strip() or "·" for one in ids[0]]
            for ids in (inputs["token_ids"], decoder_inputs[:, 1:])  # what each position predicts
        )
        for number, (axes, scores) in enumerate(
            zip(axes_of_row, outputs["context_scores"], strict=True), start=1
        ):
            axes.imshow(np.mean(scores[0], axis=0), cmap="Blues", vmin=0, aspect="auto")
            axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
            axes.set_yticks(range(len(rows)), rows, fontsize=7)
            axes.set_title(f"decoder block {number}, mean of the heads", fontsize=9)
    figure.savefig(path, dpi=150)


def measure(name: str, translations: list[str], references: list[str]) -> dict:
    """Return a row of the table."""
    return {
        "translation": name,
        "BLEU": round(sacrebleu.corpus_bleu(translations, [references]).score, 2),
        "chrF": round(sacrebleu.corpus_chrf(translations, [references]).score, 2),
    }


strategy = runs.start(arguments)
output = arguments.output

# Data: pairs of token ids, by one vocabulary
strings = read_pairs()
train, test = strings["train"], strings["test"]
tokenizer = text.Tokenizer.byte_pair([*train["source"], *train["target"]], arguments.vocabulary)
token_ids = {
    part: {side: tokenizer.encode(some) for side, some in pairs.items()}
    for part, pairs in strings.items()
}
print({f"{part} pairs": len(pairs["source"]) for part, pairs in strings.items()})
batches = training_batches(token_ids["train"])
validation = make_batches(token_ids["validation"], arguments.length)

# Method: each token of the target is predicted from the source and the tokens before it
with strategy.scope():
    network = networks.transformer(
        (arguments.width, arguments.blocks, arguments.heads),
        tokenizer.vocabulary_size,
        dropout_rate=arguments.dropout,
        attention_dropout_rate=0.0,
        seed=arguments.seed,
    )
    trainer = trainers.Seq2Seq(network, label_smoothing=arguments.label_smoothing)
    rate = text_runs.warm_up_and_cosine(
        arguments.learning_rate, arguments.epochs * len(batches), arguments.warmup
    )
    trainer.compile(keras.optimizers.Adam(rate, beta_2=0.98, global_clipnorm=1.0))
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    network.summary()
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    validation_data=validation,
    callbacks=[callbacks.BackupAndResume(output / "backup")],
)

# Product: translations of what was held out
if distribute.is_chief(strategy):
    text.TextModel(network, tokenizer, arguments.length).save(output / "translator.keras")
    visualize.plot_history(history, path=output / "curves.png")
    sources, references = token_ids["test"]["source"], test["target"]
    beam = decoding.BeamSearch(arguments.beams, arguments.length_penalty)
    translations = {
        "the source, copied": test["source"],
        "of the nearest training sentence": nearest_targets(train, test["source"]),
        "transformer, greedy": translate(sources, decoding.Greedy()),
        f"transformer, {arguments.beams} beams": translate(sources, beam),
    }
    rows = [measure(name, found, references) for name, found in translations.items()]

    final = list(translations.values())[-1]
    # short ones, whose tokens are legible
    shown = [n for n in np.argsort([len(one) for one in sources]) if len(final[n].split()) > 4]
    shown = shown[len(shown) // 8 :][:3]
    if shown:
        plot_context_scores(
            [sources[n] for n in shown], [final[n] for n in shown], output / "attention.png"
        )
    lines = zip(test["source"], references, final, strict=True)
    (output / "translations.txt").write_text(
        "\n".join(f"source:      {a}\nreference:   {b}\ntranslation: {c}\n" for a, b, c in lines),
        encoding="utf-8",
    )
    report = {"perplexity": evaluate.perplexity(trainer, validation), "translations": rows}
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shutil.rmtree(output / "backup")
    print(runs.table(rows))
    print(f"The model, translations, pictures and report are in {output.resolve()}")
