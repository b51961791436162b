"""Learn which emoji belongs to which text, and find drawings by texts.

    python examples/clip_emoji.py emoji
    python examples/clip_emoji.py --prompt "a red fruit"

The folder is that of examples/caption_emoji.py: `emoji.tsv`, of which `name_en`, `tags_en` and
`group` are read, and a file such as `google.npz` of each vendor. CLIP learns from drawings of all
vendors but `--held-out`, and their names and tags. `--names-held-out` names are chosen at random,
of which it sees neither text nor drawing. Two tables tell, for the drawings of the vendor held out,

- how often a drawing is the first, or among the first five, that are found by its name, a name by
  its drawing, and another vendor's drawing of the same emoji by the drawing. Beside the last one
  stand the nearest drawings by raw pixels, thumbnails of 8x8, of the drawings as they are and of
  what CLIP sees: centered and brought to one size, since vendors leave other margins;
- how many fall into the right group of Unicode's eight, which CLIP knows by nothing but the names
  of the groups (zero-shot classification), beside chance and the share of the largest group.

With `--languages en de fr es` one text tower learns names in four languages (columns such as
`name_de`), and a third table tells how often a name finds its translation.

It takes minutes on two cores. It writes the trainer, the towers `image_tower.keras` and
`text_tower.keras`, which examples/search_images.py takes, texts with the drawings that they find,
curves and a report. With `--prompt` it draws a sheet of what a text finds with the towers in
`--output`. A run that was killed goes on when it is started again with the same arguments.
"""

import argparse
import json
import shutil
from pathlib import Path

import _emoji_pairs as shared
import _runs as runs
import keras
import numpy as np
from _emoji import check_vendor, drawings_of, read_emoji
from _text_runs import warm_up_and_cosine
from matplotlib.figure import Figure

from keras_ssl import callbacks, distribute, evaluate, optimizers, text, trainers, visualize

parser = argparse.ArgumentParser(
    description="CLIP on emoji and their names.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("data", type=Path, nargs="?", help="folder of emoji.tsv and one .npz of each vendor")
add("--prompt", nargs="+", help="texts to draw a sheet for, with what an earlier run has learned")
add("--held-out", default="twitter", help="vendor whose drawings are measured on")
add("--names-held-out", type=int, default=200, help="names to measure on")
add("--languages", nargs="+", default=["en"], help="endings of the columns of names")
add("--shown", type=int, default=8, help="drawings of a text in the picture")
shared.add_arguments(parser)
runs.add_run_arguments(parser, "runs/clip_emoji")
arguments = parser.parse_args()


def draw_found(texts: list[str], path: Path) -> None:
    """Draw the drawings by all vendors that texts find, the nearest first."""
    images, rows = drawings_of(emoji, list(emoji.images))
    small = emoji._replace(images=shared.small_drawings(emoji, arguments.size))
    vectors = image_tower.predict(
        drawings_of(small, list(emoji.images))[0], batch_size=512, verbose=0
    )
    index = evaluate.SearchIndex(vectors.shape[1])
    index.add(vectors)
    _, found = index.query(text_model.predict_texts(texts), arguments.shown)
    size = (1.1 * arguments.shown, 1.5 * len(texts))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(texts), arguments.shown, squeeze=False)
    for line, some, one in zip(grid, found, texts, strict=True):
        line[0].set_title(one, loc="left", fontsize=9, fontweight="bold")
        for axes, number in zip(line, some, strict=True):
            axes.imshow(images[number])
            axes.axis("off")
            name = emoji.columns["name_en"][rows[number]]
            axes.text(0.5, -0.02, name, fontsize=5, ha="center", va="top", transform=axes.transAxes)
    figure.savefig(path, dpi=150)


strategy = runs.start(arguments)
output = arguments.output
columns = ("tags_en", *(f"name_{one}" for one in {"en", *arguments.languages}))
emoji = read_emoji(parser, arguments.data, columns, arguments.flags)

if arguments.prompt:
    if not (output / "text_tower.keras").is_file():
        parser.error(f"--prompt needs what a run has learned; there is none in {output}")
    image_tower = keras.saving.load_model(output / "image_tower.keras")
    text_model = keras.saving.load_model(output / "text_tower.keras")
    draw_found(arguments.prompt, output / "prompt.png")
    print(f"The sheet is {(output / 'prompt.png').resolve()}")
    raise SystemExit

# Data: drawings of the other vendors, and texts of their emoji
check_vendor(parser, emoji, "--held-out", arguments.held_out)
count = len(emoji.columns["name_en"])
if not 1 < arguments.names_held_out < count // 2:
    parser.error(f"--names-held-out must be between 1 and half of {count} names")
order = np.random.default_rng(arguments.seed).permutation(count)
is_held_out = np.isin(np.arange(count), order[: arguments.names_held_out])
vendors = [one for one in emoji.images if one != arguments.held_out]
pairs, tokenizer = shared.make_pairs(emoji, vendors, is_held_out, arguments.languages, arguments)
batches = pairs.batches(arguments.batch_size, arguments.seed)
if not len(batches):
    parser.error(f"--batch-size must be at most {len(pairs.rows)}, the names to learn")
print({"names to learn": len(pairs.rows), "words": tokenizer.vocabulary_size})

# Method: the text of a drawing is told from those of the other drawings
with strategy.scope():
    encoder, text_encoder = shared.make_encoders(arguments, tokenizer.vocabulary_size)
    views = shared.make_views(arguments)
    trainer = trainers.CLIP(encoder, text_encoder, arguments.width, augment=views)
    steps = arguments.epochs * len(batches)
    rate = warm_up_and_cosine(arguments.learning_rate, steps, arguments.warmup)
    trainer.compile(
        keras.optimizers.AdamW(rate, weight_decay=arguments.weight_decay, global_clipnorm=1.0),
        exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
    )
if distribute.is_chief(strategy):
    output.mkdir(parents=True, exist_ok=True)
history = trainer.fit(
    batches,
    epochs=arguments.epochs,
    callbacks=[callbacks.BackupAndResume(output / "backup")],
)

# Product: what finds what
if distribute.is_chief(strategy):
    image_tower = trainer.tower("image")
    text_model = text.TextModel(trainer.tower("text"), tokenizer, arguments.length)
    trainer.save(output / "trainer.keras")
    image_tower.save(output / "image_tower.keras")
    text_model.save(output / "text_tower.keras")
    visualize.plot_history(history, path=output / "curves.png")

    small = shared.small_drawings(emoji, arguments.size)
    drawings = {
        one: image_tower.predict(some, batch_size=512, verbose=0) for one, some in small.items()
    }
    names = {
        one: text_model.predict_texts(emoji.columns[f"name_{one}"].tolist(), batch_size=512)
        for one in arguments.languages
    }
    parts = {"learned": pairs.rows, "held out": np.flatnonzero(is_held_out)}
    first = names[arguments.languages[0]]
    found = [
        {"names": part, **row}
        for part, rows in parts.items()
        for row in shared.measure(emoji, arguments.held_out, rows, drawings, first)
    ]
    own = drawings[arguments.held_out]
    groups = []
    if len(set(emoji.columns["group"])) > 1:
        own = drawings[arguments.held_out]
        groups = [
            {
                "names": part,
                **shared.zero_shot(emoji, arguments.held_out, rows, own, text_model.predict_texts),
            }
            for part, rows in parts.items()
        ]
    translated = [
        {"names": part, **row}
        for part, rows in parts.items()
        for row in shared.between_languages(names, rows)
    ]
    report = {"retrieval": found, "groups": groups, "languages": translated}
    (output / "report.json").write_text(json.dumps(report, indent=2))
    shown = parts["held out"][:: -(-len(parts["held out"]) // 10)]
    draw_found(emoji.columns["name_en"][shown].tolist(), output / "found.png")
    shutil.rmtree(output / "backup")
    for some in report.values():
        if some:
            print(runs.table([shared.rounded(row) for row in some]))
    print(f"The trainer, towers, pictures and report are in {output.resolve()}")
