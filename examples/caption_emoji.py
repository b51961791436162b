"""Learn to name emoji from the drawings of some vendors, and name those of another vendor.

    python examples/caption_emoji.py emoji

The folder has `emoji.tsv`, tab-separated columns with a first line of names, of which `name_en` and
`group` are read; and for each vendor a file such as `google.npz`, whose `images` are uint8
(emoji, height, width, 3), and whose `present` says which of the rows of `emoji.tsv` it has drawn.
Without a folder, it is `emoji` in the folder that `KERAS_SSL_DATA_DIR` names.

Convolutions make a map of features of a drawing, and an LSTM with attention to its places writes
the name word by word. It learns from all vendors but `--held-out`, whose drawings of the same emoji
it is measured on. Beside it stands the name of the drawing to learn from whose pixels are nearest,
of all pixels and of thumbnails of 8x8. Names are compared in lower case and without punctuation:

- exact match is the share of drawings whose name is found;
- word match is the mean over drawings of the F1 score of the words that are found, twice the
  number of words in common over the number of words of both names.

Drawings are cropped and their colors changed at random, but they are not flipped, since the names
of many emoji say left or right. It takes minutes on two cores. It writes the found names, drawings
with their names, a curve, a report, and one file with the model and its words. A run that was
killed goes on when it is started again with the same arguments.
"""

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path

import _runs as runs
import _text_runs as text_runs
import keras
import numpy as np
import tensorflow as tf
from _emoji import check_vendor, drawings_of, nearest, read_emoji, resized
from matplotlib.figure import Figure

from keras_ssl import augment, callbacks, decoding, distribute, networks, text, trainers, visualize

parser = argparse.ArgumentParser(
    description="Names of emoji from their drawings.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("data", type=Path, nargs="?", help="folder of emoji.tsv and one .npz of each vendor")
add("--held-out", default="twitter", help="vendor whose drawings are named")
add("--names", default="name_en", help="column of the names")
add("--flags", action="store_true", help="keep the group `flags`, whose drawings look alike")
add("--size", type=int, default=32, help="height and width that drawings are brought to")
add("--widths", type=int, nargs="+", default=[32, 64, 128], help="channels; each halves the size")
add("--width", type=int, default=192, help="of words, and units of the decoder")
add("--cell", choices=["lstm", "gru", "minimal_gru", "rnn"], default="lstm")
add("--attention", choices=["additive", "multiplicative", "none"], default="additive")
add("--dropout", type=float, default=0.3)
add("--crop", type=float, default=0.6, help="smallest share of a drawing that a crop shows")
add("--color", type=float, default=0.3, help="strength of the change of colors")
add("--label-smoothing", type=float, default=0.1)
add("--batch-size", type=int, default=64, help="drawings, over all replicas")
add("--epochs", type=int, default=40)
add("--learning-rate", type=float, default=2e-3)
add("--warmup", type=int, default=100, help="steps")
add("--beams", type=int, default=4)
add("--shown", type=int, default=24, help="drawings in the picture")
runs.add_run_arguments(parser, "runs/caption_emoji")
arguments = parser.parse_args()


def word_match(found: str, name: str) -> float:
    """Return the F1 score of the words that were found."""
    both = Counter(found.split()), Counter(name.split())
    common = (both[0] & both[1]).total()
    return 2 * common / max(both[0].total() + both[1].total(), 1)


def scores(found: list[str], names: list[str]) -> dict[str, str]:
    """Return how often names are found, and the mean match of their words, in percent."""
    pairs = list(zip(found, names, strict=True))
    exact, words = np.mean([(one == name, word_match(one, name)) for one, name in pairs], axis=0)
    return {"exact match": f"{100 * exact:.1f} %", "word match": f"{100 * words:.1f} %"}


def plot_captions(images: np.ndarray, found: list[str], names: list[str], path: Path) -> None:
    """Draw images with what was found, and below it the name where that is another one."""
    columns = min(6, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.4 * columns, 1.7 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, one, name in zip(grid, images, found, names, strict=False):
        axes.imshow(image)
        label = one if one == name else f"{one or 'nothing'}\n({name})"
        axes.set_title(label, fontsize=7, color="green" if one == name else "firebrick")
    figure.savefig(path, dpi=150)


strategy = runs.start(arguments)
output = arguments.output

# Data: drawings of the other vendors and token ids of their names
emoji = read_emoji(parser, arguments.data, (arguments.names,), arguments.flags)
check_vendor(parser, emoji, "--held-out", arguments.held_out)
all_names = emoji.columns[arguments.names]
known, rows = drawings_of(emoji, [one for one in emoji.images if one != arguments.held_out])
known_names = all_names[rows]
tokenizer = text.VocabularyTokenizer.words(known_names.tolist())
length = max(len(one) for one in tokenizer.encode(known_names.tolist())) + 2  # start and end
images, rows = drawings_of(emoji, [arguments.held_out])
names = all_names[rows]
is_known = np.isin(names, known_names)
images, names = images[is_known], tokenizer.decode(tokenizer.encode(names[is_known].tolist()))
print({"to learn from": len(known), "to name": len(images), "words": tokenizer.vocabulary_size})
data = {
    "source": resized(known, arguments.size),
    "target": tokenizer(known_names.tolist(), length, segment_ids=False),
}
batches = (
    tf.data.Dataset.from_tensor_slices(data)
    .shuffle(len(known), seed=arguments.seed)
    .batch(arguments.batch_size, drop_remainder=True)
    .prefetch(tf.data.AUTOTUNE)
)

# Method: each word is predicted from the drawing and the words before it
with strategy.scope():
    views = augment.FusedPipeline(
        [
            augment.RandomResizedCrop(
                arguments.size, scale=(arguments.crop, 1.0), ratio=(0.8, 1.25)
            ),
            augment.ColorJitter(*[arguments.color] * 3, hue=arguments.color / 4),
        ]
    )
    inputs = keras.Input((arguments.size, arguments.size, 3))
    convolutions = networks.conv_encoder(
        inputs.shape[1:], arguments.widths, channels=arguments.widths[-1]
    )
    network = networks.ImageCaptioner(
        keras.Model(inputs, convolutions(keras.layers.Rescaling(1 / 127.5, -1)(inputs))),
        tokenizer.vocabulary_size,
        arguments.width,
        cell=arguments.cell,
        attention=None if arguments.attention == "none" else arguments.attention,
        dropout_rate=arguments.dropout,
        seed=arguments.seed,
    )
    trainer = trainers.Seq2Seq(
        network, arguments.label_smoothing, augment=augment.OnKey("source", views)
    )
    steps = arguments.epochs * len(batches)
    rate = text_runs.warm_up_and_cosine(arguments.learning_rate, steps, arguments.warmup)
    trainer.compile(keras.optimizers.AdamW(rate, weight_decay=1e-3, global_clipnorm=1.0))
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
    network.summary()
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[callbacks.BackupAndResume(output / "backup")],
)

# Product: names of the held-out vendor's drawings
if distribute.is_chief(strategy):
    model = text.TextModel(network, tokenizer, length)
    model.save(output / "captioner.keras")
    visualize.plot_history(history, path=output / "curves.png")
    small = resized(images, arguments.size)
    methods = {
        "greedy": decoding.Greedy(),
        f"{arguments.beams} beams": decoding.BeamSearch(arguments.beams),
    }
    found = {
        f"captioner, {name}": model.caption_images(small, method=method, batch_size=256)
        for name, method in methods.items()
    }
    sizes = {"all pixels": None, "8x8 pixels": 8}
    for name, size in sizes.items():
        pair = (one if size is None else resized(one, size) for one in (known, images))
        chosen = known_names[nearest(*pair)].tolist()
        found[f"nearest drawing, {name}"] = tokenizer.decode(tokenizer.encode(chosen))
    rows = [{"name": name, **scores(some, names)} for name, some in found.items()]
    (output / "report.json").write_text(json.dumps(rows, indent=2))
    table = [["name", *found], *zip(names, *found.values(), strict=True)]
    (output / "captions.tsv").write_text(
        "".join("\t".join(line) + "\n" for line in table), encoding="utf-8"
    )
    shown = np.random.default_rng(arguments.seed).permutation(len(images))[: arguments.shown]
    first = next(iter(found.values()))
    plot_captions(
        images[shown],
        [first[one] for one in shown],
        [names[one] for one in shown],
        output / "captions.png",
    )
    shutil.rmtree(output / "backup")
    print(runs.table(rows))
    print(f"The model, names, pictures and report are in {output.resolve()}")
