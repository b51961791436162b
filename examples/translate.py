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
import shutil
from pathlib import Path

import _runs as runs
import _translation as shared
import numpy as np
from matplotlib.figure import Figure

from keras_ssl import callbacks, decoding, distribute, evaluate, text, trainers, visualize

parser = argparse.ArgumentParser(
    description="Translation by a transformer.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
shared.add_arguments(parser)
runs.add_run_arguments(parser, "runs/translate")
arguments = parser.parse_args()


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


strategy = runs.start(arguments)
output = arguments.output

# Data: pairs of token ids, by one vocabulary
strings = shared.read_pairs(arguments)
train, test = strings["train"], strings["test"]
tokenizer = text.Tokenizer.byte_pair([*train["source"], *train["target"]], arguments.vocabulary)
token_ids = {
    part: {side: tokenizer.encode(some) for side, some in pairs.items()}
    for part, pairs in strings.items()
}
print({f"{part} pairs": len(pairs["source"]) for part, pairs in strings.items()})
batches = shared.training_batches(arguments, tokenizer, token_ids["train"])
validation = shared.make_batches(arguments, tokenizer, token_ids["validation"], arguments.length)

# Method: each token of the target is predicted from the source and the tokens before it
with strategy.scope():
    network = shared.make_network(arguments, tokenizer.vocabulary_size)
    trainer = trainers.Seq2Seq(network, label_smoothing=arguments.label_smoothing)
    trainer.compile(shared.make_optimizer(arguments, arguments.epochs * len(batches)))
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
    methods = {
        "greedy": decoding.Greedy(),
        f"{arguments.beams} beams": decoding.BeamSearch(arguments.beams, arguments.length_penalty),
    }
    learned = {
        f"transformer, {name}": shared.translate(arguments, network, tokenizer, sources, method)
        for name, method in methods.items()
    }
    translations = {**shared.floors(train, test["source"]), **learned}
    rows = [
        {"translation": name, **shared.scores(found, references)}
        for name, found in translations.items()
    ]

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
