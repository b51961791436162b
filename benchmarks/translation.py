"""Translation of verses from Spanish to English: `trainers.Seq2Seq`, and the same in PyTorch.

Data, vocabulary, network, training and decoding are those of `examples/translate.py`, whose
arguments this script takes too: an encoder and a decoder of 3 blocks of width 128, on the file of
verses that the head of that script describes. Whole chapters are held out, and translations of
their verses are scored by BLEU and chrF against the verses in English. Beside them stand two
floors: the Spanish verses as they are, and the English of the most similar training verse.

Both sides learn the same batches in the same order, with initial weights drawn from the same
distributions, with the same dropout, label smoothing, schedule and optimizer, and decode greedily;
ours by beam search, too. Random numbers are each library's own. Weights must have the same shapes.
Before training, or alone by `--check`, a narrow network without dropout is compared: with the same
weights, both sides must give the same logits, translations, and losses of some training steps.

`--steps` shortens training and the schedule with it; by default there are `--epochs`. Times are
those of the processor. Results are kept in a file of JSON, so that sides and seeds can be run one
by one; `--table` prints what the file holds. Seeds are averaged; a seed also chooses the chapters
that are held out.
"""

import argparse
import contextlib
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from measure import Peer, machine, print_machine, store

from keras_ssl import decoding, text, trainers

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))
import _translation as shared

AIM = 0.5
FIGURES = ("BLEU", "chrF")
SIDES = {"ours": "keras_ssl", "torch": "PyTorch"}
# what the peer is told of the network and of training
RECIPE = (
    *("seed", "steps", "width", "blocks", "heads", "dropout"),
    *("label_smoothing", "learning_rate", "warmup"),
)
# the network, training and decoding that are compared step by step
CHECKED = {"width": 32, "blocks": 2, "heads": 4, "dropout": 0.0, "steps": 10, "verses": 16}
COLUMNS = {
    "BLEU": ("BLEU", 2),
    "chrF": ("chrF", 2),
    "parameters": ("parameters", 0),
    "loss": ("loss of the last steps", 3),
    "training_minutes": ("CPU minutes of training", 1),
    "decoding_minutes": ("of decoding", 1),
}


class Data:
    """Pairs of verses: batches to learn, in a fixed order, and what is held out.

    Args:
        arguments: the command line; `steps` of `None` becomes the steps of all epochs.
        folder: for files, which the peer reads.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path):
        parts = shared.read_pairs(arguments)
        self.train = parts["train"]
        self.test = {side: some[: arguments.verses] for side, some in parts["test"].items()}
        sentences = [*self.train["source"], *self.train["target"]]
        self.tokenizer = text.Tokenizer.byte_pair(sentences, arguments.vocabulary)
        pairs = {side: self.tokenizer.encode(some) for side, some in self.train.items()}
        dataset = shared.training_batches(arguments, self.tokenizer, pairs)
        if arguments.steps is None:
            arguments.steps = arguments.epochs * len(dataset)
        self.batches = as_arrays(dataset.repeat().take(arguments.steps), arguments.length)
        digest = hashlib.sha256(b"".join(one.tobytes() for one in self.batches.values()))
        # tells runs on other batches apart
        self.name = digest.hexdigest()[:8]
        self.sources = self.tokenizer.encode(self.test["source"])
        framed = self.tokenizer(self.sources, arguments.length)
        sources = {"ids": framed["token_ids"], "sizes": framed["padding_mask"].sum(axis=1)}
        self.files = {}
        for name, arrays in (("batches", self.batches), ("sources", sources)):
            self.files[name] = str(folder / f"{name}.npz")
            np.savez(self.files[name], **arrays)

    def dataset(self, first: int, last: int) -> tf.data.Dataset:
        """The batches from `first` to before `last`."""

        def generate() -> Iterator[dict[str, Any]]:
            for number in range(first, last):
                width = self.batches["widths"][number]
                yield {
                    side: {
                        "token_ids": self.batches[side][number, :, :width],
                        "padding_mask": np.arange(width) < self.sizes(side, number)[:, None],
                    }
                    for side in ("source", "target")
                }

        shape = (self.batches["source"].shape[1], None)
        of_side = {
            "token_ids": tf.TensorSpec(shape, "int32"),
            "padding_mask": tf.TensorSpec(shape, "bool"),
        }
        found = tf.data.Dataset.from_generator(
            generate, output_signature={"source": of_side, "target": of_side}
        )
        return found.apply(tf.data.experimental.assert_cardinality(last - first))

    def sizes(self, side: str, number: int) -> np.ndarray:
        """How many tokens of each row of a batch are no padding."""
        return self.batches[f"{side}_sizes"][number]


def as_arrays(batches: tf.data.Dataset, length: int) -> dict[str, np.ndarray]:
    """Batches of pairs as arrays: ids, how many of each row are no padding, widths of batches."""
    found: dict[str, list[np.ndarray]] = {"widths": []}
    for batch in batches.as_numpy_iterator():
        width = batch["source"]["token_ids"].shape[1]
        found["widths"].append(np.array(width))
        for side, one in batch.items():
            padded = np.pad(one["token_ids"], ((0, 0), (0, length - width)))
            found.setdefault(side, []).append(padded)
            found.setdefault(f"{side}_sizes", []).append(one["padding_mask"].sum(axis=1))
    return {name: np.stack(some) for name, some in found.items()}


class Ours:
    """Our side: one training run on prepared batches, some steps at a time."""

    def __init__(self, data: Data, arguments: argparse.Namespace):
        keras.utils.set_random_seed(arguments.seed)
        self.data, self.arguments, self.fits = data, arguments, 0
        self.network = shared.make_network(arguments, data.tokenizer.vocabulary_size)
        self.trainer = trainers.Seq2Seq(self.network, label_smoothing=arguments.label_smoothing)
        optimizer = shared.make_optimizer(arguments, arguments.steps)
        self.trainer.compile(optimizer, jit_compile=arguments.xla)

    def shapes(self) -> list[list[int]]:
        """Shapes of the weights."""
        return [list(one.shape) for one in self.network.trainable_variables]

    def logits(self, number: int) -> np.ndarray:
        """Logits of the targets of a batch."""
        batch = next(iter(self.data.dataset(number, number + 1)))
        inputs = {f"encoder_{name}": one for name, one in batch["source"].items()}
        inputs |= {f"decoder_{name}": one[:, :-1] for name, one in batch["target"].items()}
        return self.network.logits(self.network(inputs, training=False)).numpy()

    def train(self, first: int, last: int) -> dict[str, float]:
        """Trains on the batches from `first` to before `last`; returns mean loss and seconds."""
        start = time.process_time()
        batches = self.data.dataset(first, last)
        history = self.trainer.fit(
            batches, initial_epoch=self.fits, epochs=self.fits + 1, verbose=0
        )
        self.fits += 1
        return {"loss": history.history["loss"][0], "seconds": time.process_time() - start}

    def translate(self, method: decoding.DecodingMethod) -> tuple[list[str], float]:
        """Translations of what is held out, and the seconds that they took."""
        start = time.process_time()
        sources = self.data.sources[: self.arguments.verses]
        found = shared.translate(
            self.arguments, self.network, self.data.tokenizer, sources, method, verbose=0
        )
        return found, time.process_time() - start


class Theirs:
    """The peer, asked as `Ours` is."""

    def __init__(self, peer: Peer, data: Data, arguments: argparse.Namespace):
        self.peer, self.data, self.arguments = peer, data, arguments
        self._shapes = peer.ask(
            "start",
            batches=data.files["batches"],
            vocabulary_size=data.tokenizer.vocabulary_size,
            **{name: getattr(arguments, name) for name in RECIPE},
        )

    def shapes(self) -> list[list[int]]:
        """Shapes of the weights, kernels transposed as ours are."""
        return self._shapes

    def load(self, network: keras.Model) -> None:
        """Takes the weights of our network."""
        arrays = [one.numpy() for one in network.trainable_variables]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "weights.npz")
            np.savez(path, *arrays)
            self.peer.ask("load", weights=str(path))

    def logits(self, number: int) -> np.ndarray:
        """Logits of the targets of a batch."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "logits.npy")
            self.peer.ask("logits", number=number, path=str(path))
            return np.load(path)

    def train(self, first: int, last: int) -> dict[str, float]:
        """Trains on the batches from `first` to before `last`; returns mean loss and seconds."""
        return self.peer.ask("train", first=first, last=last)

    def translate(self, method: decoding.DecodingMethod) -> tuple[list[str], float]:
        """Greedy translations of what is held out, and the seconds that they took."""
        tokenizer = self.data.tokenizer
        found = self.peer.ask(
            "translate",
            sources=self.data.files["sources"],
            count=self.arguments.verses,
            batch_size=self.arguments.batch_size,
            tokens=self.arguments.length,
            start=tokenizer.start_token_id,
            end=tokenizer.end_token_id,
            pad=tokenizer.pad_token_id,
        )
        texts = tokenizer.decode(np.array(found["token_ids"], "int32"))
        return [one.strip() for one in texts], found["seconds"]


def check_shapes(ours: Ours, theirs: Theirs) -> None:
    """Raises unless the weights of both sides have the same shapes, in the same order."""
    if ours.shapes() != theirs.shapes():
        raise RuntimeError(f"Not the same network: {ours.shapes()} and {theirs.shapes()}")


def check(peer: Peer, data: Data, arguments: argparse.Namespace) -> None:
    """Raises unless both sides compute the same with the same weights, of a narrow network."""
    arguments = argparse.Namespace(**vars(arguments) | CHECKED)
    arguments.steps = min(arguments.steps, len(data.batches["widths"]))
    ours, theirs = Ours(data, arguments), Theirs(peer, data, arguments)
    check_shapes(ours, theirs)
    theirs.load(ours.network)
    logits = [side.logits(0) for side in (ours, theirs)]
    # padding of a target predicts nothing
    counted = np.arange(logits[0].shape[1]) < data.sizes("target", 0)[:, None] - 1
    of_logits = float(np.abs(np.subtract(*logits))[counted].max())
    translations = [side.translate(decoding.Greedy())[0] for side in (ours, theirs)]
    same = sum(a == b for a, b in zip(*translations, strict=True))
    count, steps = len(translations[0]), range(arguments.steps)
    losses = [[side.train(n, n + 1)["loss"] for n in steps] for side in (ours, theirs)]
    of_losses = float(np.abs(np.subtract(*losses)).max())
    print(
        f"with the same weights, logits differ by at most {of_logits:.1e}, losses of {len(steps)} "
        f"training steps by {of_losses:.1e}; of {count} translations {same} are the same",
        flush=True,
    )
    if of_logits > 1e-4 or of_losses > 1e-4 or same < count:
        raise RuntimeError("Not the same network, training or decoding")


def translators(name: str, arguments: argparse.Namespace) -> dict[str, decoding.DecodingMethod]:
    """How a side decodes, by the names of its translations."""
    found = {f"{SIDES[name]}, greedy": decoding.Greedy()}
    if name == "ours":
        beams = decoding.BeamSearch(arguments.beams, arguments.length_penalty)
        found[f"{SIDES[name]}, {arguments.beams} beams"] = beams
    return found


def measure(
    data: Data, arguments: argparse.Namespace, peer: Peer | None
) -> dict[str, dict[str, float]]:
    """Trains the sides in turns; returns scores and times by the names of translations."""
    sides: dict[str, Ours | Theirs] = {"ours": Ours(data, arguments)}
    if peer is not None:
        sides["torch"] = Theirs(peer, data, arguments)
        check_shapes(sides["ours"], sides["torch"])
    if arguments.side == "torch":
        del sides["ours"]
    trained: dict[str, dict[str, float]] = {}
    for name, side in sides.items():
        parameters = sum(math.prod(shape) for shape in side.shapes())
        trained[name] = {"parameters": parameters, "training_minutes": 0.0}
    for first in range(0, arguments.steps, arguments.every):
        last = min(first + arguments.every, arguments.steps)
        for name, side in sides.items():
            found = side.train(first, last)
            trained[name]["loss"] = found["loss"]
            trained[name]["training_minutes"] += found["seconds"] / 60
            seconds = 60 * trained[name]["training_minutes"]
            print(
                f"step {last:6}  {SIDES[name]:10} loss {found['loss']:.4f} after {seconds:.0f} "
                "CPU seconds",
                flush=True,
            )
    references = data.test["target"]
    floors = shared.floors(data.train, data.test["source"])
    report = {name: shared.scores(some, references) for name, some in floors.items()}
    print(f"\n{'reference':20}{references[0]}")
    for name, side in sides.items():
        for kind, method in translators(name, arguments).items():
            translations, seconds = side.translate(method)
            print(f"{kind:20}{translations[0]}", flush=True)
            scores = shared.scores(translations, references)
            report[kind] = {**scores, **trained[name], "decoding_minutes": seconds / 60}
    return report


def rows(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Means over seeds of runs of the same settings, by the names of translations."""
    for seed in {run["seed"] for run in runs}:
        batches = {run["batches"] for run in runs if run["seed"] == seed}
        if len(batches) > 1:
            raise RuntimeError(f"Runs of seed {seed} learned other batches: {sorted(batches)}")
    table = {}
    for name in dict.fromkeys(run["translation"] for run in runs):
        seeds = [run for run in runs if run["translation"] == name]
        figures = [figure for figure in COLUMNS if figure in seeds[0]]
        means = {figure: fmean(run[figure] for run in seeds) for figure in figures}
        table[name] = means | {"seeds": len(seeds)}
    return dict(sorted(table.items(), key=lambda one: one[1]["BLEU"]))


def print_results(table: dict[str, dict[str, float]]) -> None:
    """Prints a Markdown table with one row for each translator."""
    titles = [title for title, _ in COLUMNS.values()]
    print(f"\n| translation | seeds | {' | '.join(titles)} |\n|---|{'---:|' * (len(titles) + 1)}")
    for name, row in table.items():
        cells = [
            f"{row[figure]:,.{digits}f}" if figure in row else ""
            for figure, (_, digits) in COLUMNS.items()
        ]
        print(f"| {' | '.join([name, str(row['seeds']), *cells])} |")
    print()


def print_aims(table: dict[str, dict[str, float]]) -> None:
    """Prints by how much ours is above each floor, and what it is of PyTorch's; both greedy."""
    ours = table.get("keras_ssl, greedy")
    if ours is None:
        return
    for name, row in table.items():
        is_floor = "training_minutes" not in row
        if not (is_floor or name == "PyTorch, greedy"):
            continue
        for figure in FIGURES:
            gain, least = ours[figure] - row[figure], 0.0 if is_floor else -AIM
            aim = "above 0" if is_floor else f"at least {least:g}"
            met = gain > least if is_floor else gain >= least
            print(
                f"{figure}, keras_ssl (greedy) minus {name}: {gain:+.2f} (aim: {aim}): "
                f"{'met' if met else 'MISSED'}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    shared.add_arguments(parser)
    # what follows says how to run, and is no setting of what is measured
    settings = sorted({*vars(parser.parse_args([])), "steps", "verses"} - {"pairs"})
    parser.add_argument("--steps", type=int, help="of training, in place of --epochs")
    parser.add_argument("--verses", type=int, default=1000, help="at most, to translate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", choices=[*SIDES, "both"], default="both")
    parser.add_argument("--xla", action="store_true", help="train ours under XLA")
    parser.add_argument("--every", type=int, default=200, help="steps between printed losses")
    parser.add_argument("--check", action="store_true", help="compare the sides, train nothing")
    parser.add_argument("--table", action="store_true", help="print the results, run nothing")
    parser.add_argument("--json", type=Path, default=Path("translation.json"), help="of results")
    arguments = parser.parse_args()

    if arguments.table:
        runs = json.loads(arguments.json.read_text())
    else:
        with contextlib.ExitStack() as stack:
            peer = None
            if arguments.check or arguments.side != "ours":
                passive = {"OMP_WAIT_POLICY": "PASSIVE"}
                peer = stack.enter_context(Peer("translation_torch.py", passive))
            print_machine(peer)
            if arguments.check:
                arguments.steps, arguments.verses = CHECKED["steps"], CHECKED["verses"]
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            data = Data(arguments, folder)
            print(
                f"\n{len(data.train['source']):,} pairs to learn in {arguments.steps:,} steps, "
                f"{len(data.sources):,} to translate",
                flush=True,
            )
            if peer is not None:
                check(peer, data, arguments)
            if arguments.check:
                return
            report = measure(data, arguments, peer)
        common = {
            "seed": arguments.seed,
            "settings": {name: getattr(arguments, name) for name in settings},
            "batches": data.name,
            "xla": arguments.xla,
            "machine": machine(),
        }
        for name, found in report.items():
            run = {"translation": name, **common, **found}
            runs = store(arguments.json, run, ("translation", "seed", "settings"))
    for one in {json.dumps(run["settings"]): run["settings"] for run in runs}.values():
        print(f"\n{one['steps']:,} steps, at most {one['verses']:,} verses to translate")
        table = rows([run for run in runs if run["settings"] == one])
        print_results(table)
        print_aims(table)


if __name__ == "__main__":
    main()
