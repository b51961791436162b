"""CLIP on emoji: `trainers.CLIP`, and the same towers trained by open_clip's loss in PyTorch.

Data, towers, training and measures are those of `examples/clip_emoji.py`, whose arguments this
script takes too, on the emoji that the head of `examples/caption_emoji.py` describes. Tasks:

- `vendors`: the drawings of each vendor are held out in turn. Recall at 1 and 5 of drawings by
  names, of names by drawings, and of other vendors' drawings by drawings, the last beside raw
  pixels; and the accuracy of eight groups by their names, beside chance and the largest group.
- `names`: 200 names are held out with the drawings by all vendors. Recall among those, means over
  vendors. Chance is 1 in 200.
- `languages`: the same, with names in English, German, French and Spanish and one text tower; and
  retrieval of names by names in other languages.

Both sides learn the same batches of the same augmented drawings in the same order, from the same
initial weights, with the same schedule and optimizer; only dropout is each library's own. `--check`
compares losses of some steps without dropout, which must be equal. Times are those of the
processor. Results are kept in a file of JSON, so that sides, seeds and vendors can be run one by
one; `--table` prints what the file holds. A seed also chooses the names that are held out.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from measure import Peer, machine, print_machine, store

from keras_ssl import optimizers, text, trainers

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))
import _emoji_pairs as shared
from _emoji import Emoji, read_emoji
from _text_runs import warm_up_and_cosine

SIDES = {"ours": "keras_ssl", "torch": "open_clip's loss"}
LANGUAGES = ["en", "de", "fr", "es"]
AIM = 1.0
KEY = ("task", "side", "seed", "held_out", "settings")
# what the peer is told of the towers
RECIPE = ("seed", "size", "widths", "channels", "length", "text", "dropout", "width")
RECALL = ("recall at 1", "recall at 5")


class Data:
    """What both sides learn, as files that the peer reads.

    Args:
        arguments: the command line.
        emoji: all emoji.
        held_out: a vendor, or `None`.
        folder: for files.
    """

    def __init__(
        self, arguments: argparse.Namespace, emoji: Emoji, held_out: str | None, folder: Path
    ):
        self.emoji, self.folder = emoji, folder
        keras.utils.set_random_seed(arguments.seed)
        count = len(emoji.columns["name_en"])
        self.is_held_out = np.zeros(count, bool)
        if arguments.task != "vendors":
            order = np.random.default_rng(arguments.seed).permutation(count)
            self.is_held_out[order[: arguments.names_held_out]] = True
        self.languages = LANGUAGES if arguments.task == "languages" else LANGUAGES[:1]
        vendors = [one for one in emoji.images if one != held_out]
        pairs, self.tokenizer = shared.make_pairs(
            emoji, vendors, self.is_held_out, self.languages, arguments
        )
        self.rows = pairs.rows
        epoch = pairs.batches(arguments.batch_size, arguments.seed)
        self.steps = arguments.steps or arguments.epochs * len(epoch)
        views = shared.make_views(arguments)
        arrays = None
        for number, batch in enumerate(epoch.repeat().take(self.steps)):
            image = np.asarray(views(batch["image"], training=True)).round().astype("uint8")
            one = {"image": image, **{name: some.numpy() for name, some in batch["text"].items()}}
            if arrays is None:
                arrays = {
                    name: np.lib.format.open_memmap(
                        folder / f"{name}.npy", "w+", some.dtype, (self.steps, *some.shape)
                    )
                    for name, some in one.items()
                }
            for name, some in one.items():
                arrays[name][number] = some
        self.arrays = arrays
        schedule = warm_up_and_cosine(arguments.learning_rate, self.steps, arguments.warmup)
        self.rates = np.array([float(schedule(step)) for step in range(self.steps)])
        np.save(folder / "rates.npy", self.rates)

    def dataset(self, first: int, last: int) -> tf.data.Dataset:
        """The batches from `first` to before `last`."""
        # TensorFlow keeps the function for good, and with it whatever it holds
        paths = {name: self.folder / f"{name}.npy" for name in self.arrays}

        def generate() -> Iterator[dict[str, Any]]:
            arrays = {name: np.load(path, mmap_mode="r") for name, path in paths.items()}
            for number in range(first, last):
                some = {name: np.array(one[number]) for name, one in arrays.items()}
                yield {"image": some.pop("image"), "text": some}

        specs = {name: tf.TensorSpec(one.shape[1:], one.dtype) for name, one in self.arrays.items()}
        signature = {"image": specs.pop("image"), "text": specs}
        found = tf.data.Dataset.from_generator(generate, output_signature=signature)
        return found.apply(tf.data.experimental.assert_cardinality(last - first))


class Ours:
    """Our side: one training run on prepared batches."""

    def __init__(self, data: Data, arguments: argparse.Namespace):
        keras.utils.set_random_seed(arguments.seed)
        self.data = data
        encoders = shared.make_encoders(arguments, data.tokenizer.vocabulary_size)
        self.trainer = trainers.CLIP(*encoders, arguments.width)
        rate = warm_up_and_cosine(arguments.learning_rate, data.steps, arguments.warmup)
        self.trainer.compile(
            keras.optimizers.AdamW(rate, weight_decay=arguments.weight_decay, global_clipnorm=1.0),
            exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
        )
        example = next(iter(data.dataset(0, 1)))
        self.trainer.build(keras.tree.map_structure(lambda one: tuple(one.shape), example))

    def weights(self) -> list[np.ndarray]:
        """All weights, those of towers first."""
        image, texts = (self.trainer.tower(name).weights for name in ("image", "text"))
        return [np.asarray(one) for one in (*image, *texts, self.trainer.logit_scale.log_scale)]

    def train(self, first: int, last: int) -> dict[str, Any]:
        """Trains on the batches from `first` to before `last`; returns losses and CPU seconds."""
        losses = []
        each = keras.callbacks.LambdaCallback(
            on_train_batch_begin=lambda batch, logs: self.trainer.reset_metrics(),
            on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"])),
        )
        start = time.process_time()
        self.trainer.fit(self.data.dataset(first, last), callbacks=[each], verbose=0)
        return {"losses": losses, "seconds": time.process_time() - start}

    def embed(self, tower: str, inputs: Any) -> np.ndarray:
        """Vectors of images or texts."""
        return self.trainer.tower(tower).predict(inputs, batch_size=512, verbose=0)


class Theirs:
    """The other side, which starts from our weights."""

    def __init__(self, peer: Peer, data: Data, arguments: argparse.Namespace, ours: Ours):
        self.peer, self.data = peer, data
        weights = data.folder / "weights.npz"
        np.savez(weights, **{f"w{n:03}": one for n, one in enumerate(ours.weights())})
        peer.ask(
            "start",
            batches=str(data.folder),
            weights=str(weights),
            vocabulary_size=data.tokenizer.vocabulary_size,
            weight_decay=arguments.weight_decay,
            **{name: getattr(arguments, name) for name in RECIPE},
        )

    def train(self, first: int, last: int) -> dict[str, Any]:
        """Trains on the batches from `first` to before `last`; returns losses and CPU seconds."""
        return self.peer.ask("train", first=first, last=last)

    def embed(self, tower: str, inputs: Any) -> np.ndarray:
        """Vectors of images or texts."""
        paths = {name: str(self.data.folder / f"{name}.{tower}.npz") for name in ("in", "out")}
        np.savez(paths["in"], **({"image": inputs} if tower == "image" else inputs))
        paths["out"] = paths["out"].replace(".npz", ".npy")
        self.peer.ask("embed", tower=tower, inputs=paths["in"], output=paths["out"])
        return np.load(paths["out"])


def embedder(side: Ours | Theirs, tokenizer: text.Tokenizer, length: int) -> Callable:
    """A function from texts to their vectors."""
    return lambda texts: side.embed("text", shared.tokens_of(tokenizer, texts, length))


def measure(
    side: Ours | Theirs, data: Data, arguments: argparse.Namespace, held_out: str | None
) -> dict[str, Any]:
    """What a side finds, of what was held out."""
    emoji = data.emoji
    embed_texts = embedder(side, data.tokenizer, arguments.length)
    small = shared.small_drawings(emoji, arguments.size)
    drawings = {one: side.embed("image", images) for one, images in small.items()}
    names = {one: embed_texts(emoji.columns[f"name_{one}"].tolist()) for one in data.languages}
    rows = data.rows if arguments.task == "vendors" else np.flatnonzero(data.is_held_out)
    found = {
        "retrieval": {
            vendor: shared.measure(emoji, vendor, rows, drawings, names["en"])
            for vendor in ([held_out] if held_out else drawings)
        },
        "groups": {
            vendor: shared.zero_shot(emoji, vendor, rows, drawings[vendor], embed_texts)
            for vendor in ([held_out] if held_out else drawings)
        },
    }
    if arguments.task == "languages":
        parts = {"learned": data.rows, "held out": rows}
        found["languages"] = {
            part: shared.between_languages(names, some) for part, some in parts.items()
        }
    return found


def check(peer: Peer, arguments: argparse.Namespace, emoji: Emoji) -> None:
    """Raises unless both sides compute the same losses with the same weights."""
    arguments = argparse.Namespace(**vars(arguments) | {"dropout": 0.0, "steps": 10})
    arguments.task = "vendors"
    with tempfile.TemporaryDirectory() as folder:
        data = Data(arguments, emoji, next(iter(emoji.images)), Path(folder))
        ours = Ours(data, arguments)
        theirs = Theirs(peer, data, arguments, ours)
        images = data.arrays["image"][0]
        of_vectors = np.abs(theirs.embed("image", images) - ours.embed("image", images)).max()
        losses = [side.train(0, data.steps)["losses"] for side in (ours, theirs)]
    of_losses = np.abs(np.subtract(*losses)).max()
    print(
        f"with the same weights, vectors of images differ by at most {of_vectors:.1e}, losses of "
        f"{data.steps} training steps by {of_losses:.1e}",
        flush=True,
    )
    if of_vectors > 1e-4 or of_losses > 1e-3:
        raise RuntimeError("Not the same towers or training")


def run(arguments: argparse.Namespace, emoji: Emoji, held_out: str | None, name: str) -> dict:
    """Trains one side, and measures it."""
    with tempfile.TemporaryDirectory() as folder:
        data = Data(arguments, emoji, held_out, Path(folder))
        side = ours = Ours(data, arguments)
        if name == "torch":
            with Peer("clip_torch.py") as peer:
                side = Theirs(peer, data, arguments, ours)
                trained = side.train(0, data.steps)
                found = measure(side, data, arguments, held_out)
        else:
            trained = side.train(0, data.steps)
            found = measure(side, data, arguments, held_out)
    settings = {key: getattr(arguments, key) for key in SETTINGS}
    return {
        "task": arguments.task,
        "side": name,
        "seed": arguments.seed,
        "held_out": held_out,
        "settings": settings,
        "steps": data.steps,
        "loss": fmean(trained["losses"][-20:]),
        "minutes": trained["seconds"] / 60,
        "machine": machine(),
        **found,
    }


def mean_rows(tables: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One table whose numbers are the means of those of tables of the same rows."""
    return [
        {
            key: fmean(row[key] for row in some) if isinstance(one, float) else one
            for key, one in some[0].items()
        }
        for some in zip(*tables, strict=True)
    ]


def print_table(rows: list[dict[str, Any]]) -> None:
    """Prints rows as a table of Markdown."""
    rows = [shared.rounded(row) for row in rows]
    print(f"\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(str(one) for one in row.values())} |")


def print_results(runs: list[dict[str, Any]]) -> None:
    """Prints the means over seeds of all runs, and how far both sides are apart."""
    means: dict[tuple, dict[str, float]] = {}
    for task in dict.fromkeys(one["task"] for one in runs):
        for side in SIDES:
            own = [one for one in runs if (one["task"], one["side"]) == (task, side)]
            if not own:
                continue
            vendors = {key: None for one in own for key in one["retrieval"]}
            seeds = sorted({one["seed"] for one in own})
            minutes = fmean(one["minutes"] for one in own)
            print(f"\n## {task}, {SIDES[side]}: seeds {seeds}, {minutes:.2f} CPU minutes a run")
            table, groups = [], []
            for vendor in vendors:
                some = [one for one in own if vendor in one["retrieval"]]
                rows = mean_rows([one["retrieval"][vendor] for one in some])
                table += [{"drawings by": vendor, **row} for row in rows]
                (group,) = mean_rows([[one["groups"][vendor]] for one in some])
                groups.append({"drawings by": vendor, "seeds": len(some), **group})
                for row in rows:
                    means[(task, vendor, row["search"], side)] = row
            print_table(table)
            print_table(groups)
            for part in own[0].get("languages", {}):
                rows = mean_rows([one["languages"][part] for one in own])
                print_table([{"names": part, **row} for row in rows])
    pairs = [
        (key[:3], row, means[(*key[:3], "torch")])
        for key, row in means.items()
        if key[3] == "ours" and (*key[:3], "torch") in means
    ]
    for task in dict.fromkeys(key[0] for key, _, _ in pairs):
        for search in ("by", "drawing of"):
            some = [(a, b) for key, a, b in pairs if key[0] == task and search in key[2]]
            apart = {k: fmean(a[k] - b[k] for a, b in some) for k in RECALL}
            shown = ", ".join(f"{k} {one:+.2f}" for k, one in apart.items())
            what = "names and drawings" if search == "by" else "drawings of two vendors"
            print(f"\n{task}, {what}: ours minus the peer, points: {shown} (aim: -{AIM})")


def read_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--task", choices=["vendors", "names", "languages"], default="vendors")
    add("--held-out", nargs="+", help="vendors of the task `vendors`; all by default")
    add("--names-held-out", type=int, default=200)
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    add("--steps", type=int, help="train for so many instead of `--epochs`")
    add("--json", type=Path, default=Path("clip_emoji.json"), help="file of results")
    add("--check", action="store_true", help="only compare both sides step by step")
    add("--table", action="store_true", help="only print what the file holds")
    shared.add_arguments(parser)
    arguments = parser.parse_args()
    arguments.seed, arguments.data = 0, None
    arguments.parser = parser
    return arguments


# what tells runs apart that are not of the same setting
SETTINGS = (
    *("size", "words", "length", "widths", "channels", "text", "width", "dropout", "crop"),
    *("color", "gray", "batch_size", "epochs", "steps", "learning_rate", "warmup"),
    *("weight_decay", "flags"),
)


def main() -> None:
    """Runs what the command line asks for."""
    arguments = read_arguments()
    if arguments.table:
        print_results(json.loads(arguments.json.read_text()))
        return
    columns = ("tags_en", *(f"name_{one}" for one in LANGUAGES))
    emoji = read_emoji(arguments.parser, None, columns, arguments.flags)
    with Peer("clip_torch.py") as peer:
        print_machine(peer)
        print(f"{'open_clip_torch':28}{peer.ask('loss_version')}", flush=True)
        check(peer, arguments, emoji)
    if arguments.check:
        return
    held_out = [None] if arguments.task != "vendors" else arguments.held_out or list(emoji.images)
    runs = []
    for seed in arguments.seeds:
        arguments.seed = seed
        for vendor in held_out:
            for side in arguments.sides:
                found = run(arguments, emoji, vendor, side)
                runs = store(arguments.json, found, KEY)
                print(
                    f"seed {seed}, {vendor or 'names'} held out, {SIDES[side]}: loss "
                    f"{found['loss']:.3f} after {found['minutes']:.2f} CPU minutes",
                    flush=True,
                )
    print_results([one for one in runs if one["task"] == arguments.task])


if __name__ == "__main__":
    main()
