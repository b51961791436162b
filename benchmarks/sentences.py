"""What pretraining is worth to a small BERT: accuracy on SST-2, and embeddings of sentences.

    python benchmarks/sentences.py FOLDER

FOLDER (by default that of `KERAS_SSL_DATA_DIR`) holds

- `sst2/train.tsv`, `dev.tsv` and `test.tsv`: a sentence and its label, 0 or 1, in each line;
- `words/corpus.txt.gz`, lower-cased words, one text per line, and `words/sources.tsv`, which of its
  lines are of which source;
- `bible/verses.tsv.gz`: columns `book` and `english`, one verse per line.

`masked_lm`: the network learns by `trainers.MaskedLM` to fill in hidden words of SST-2's training
sentences and of the corpus, without labels. It is then fine-tuned on the labels, beside the same
network with random weights: same tokenizer, data, order, epochs, warm-up, decay and dropout. Both
are fine-tuned at each of `--rates`, and the epoch and the rate are those of the best accuracy on
the dev sentences, for each of the two by itself. The accuracy on the test sentences is that of this
one model.

`sim_cse`: `trainers.SimCSE` goes on from that network, once with two dropout views of each training
sentence as a pair, and once with the halves of one verse. Before and after are measured

- alignment and uniformity of held-out pairs: dropout views of test sentences, and the halves of
  verses of books that were not trained on. If vectors come to lie further apart, alignment, a
  distance, grows with all others. So it also stands in parts of the mean between strangers;
- the linear probe: accuracy on the test sentences of a linear classifier of frozen embeddings.

Two sources of the corpus are left out: the Bible, as verses are held out, and descriptions of
software, which have little in common with reviews. Choose settings with `--split dev`, which
measures on the dev sentences and other books. Networks are kept in `--kept`, and results in a file
of JSON, each seed when it is finished, so that a run that is started again goes on; `--table`
prints what the file holds.
"""

import argparse
import csv
import functools
import gzip
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from measure import machine, print_machine, store
from training_run import warmed_up_cosine

from keras_ssl import evaluate, networks, optimizers, text, trainers

AIM_GAIN = 2.0
SOURCES = ["gcide", "wordnet", "janeausten", "jargon-file", "devils-dictionary"]
PIECE = 30  # words of a part of a longer line of the corpus
WARMUP = 0.1  # part of a run
PAIRS = ("views", "halves")
GEOMETRY = {
    "uniformity": "uniformity",
    "alignment": "alignment",
    "relative": "alignment in parts of strangers'",
}

PRETRAINING = (
    *("vocabulary", "size", "length", "sources", "pieces", "passes", "block", "blocks"),
    *("pretraining_rate", "pretraining_dropout", "mask_ratio", "xla"),
)
SETTINGS = {
    "pretraining": PRETRAINING,
    "masked_lm": (*PRETRAINING, "split", "epochs", "batch_size", "rates"),
    "sim_cse": (
        *(*PRETRAINING, "split", "sim_cse_steps", "sim_cse_batch_size", "sim_cse_rate"),
        "half_length",
    ),
}


class Sentences(NamedTuple):
    """Sentences and their labels, integers from 0."""

    texts: list[str]
    labels: np.ndarray


def read_sst2(folder: Path) -> dict[str, Sentences]:
    """The sentences of each split."""
    splits = {}
    for split in ("train", "dev", "test"):
        with (folder / f"{split}.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        texts, labels = zip(*rows, strict=True)
        splits[split] = Sentences(list(texts), np.array(labels, int))
    return splits


def read_corpus(folder: Path, sources: list[str]) -> list[str]:
    """The lines of some sources, of which long ones are in parts."""
    with (folder / "sources.tsv").open(encoding="utf-8", newline="") as file:
        ranges = {
            row["source"]: (int(row["first_line"]) - 1, int(row["last_line"]))
            for row in csv.DictReader(file, delimiter="\t")
        }
    if unknown := sorted(set(sources) - set(ranges)):
        raise ValueError(f"`--sources` must be among {sorted(ranges)}. Received: {unknown}")
    with gzip.open(folder / "corpus.txt.gz", "rt") as file:
        lines = file.read().splitlines()
    pieces = []
    for source in sources:
        for line in lines[slice(*ranges[source])]:
            words = line.split()
            parts = (words[at : at + PIECE] for at in range(0, len(words), PIECE))
            # of fewer words, such as a lone entry, there is little to learn
            pieces += [" ".join(part) for part in parts if len(part) >= 4]
    return pieces


def read_halves(path: Path) -> dict[str, dict[str, list[str]]]:
    """The halves of each verse, as pairs by split: of ten books, one is for dev and one for test.

    As in the corpus, only words are left.
    """
    splits = {split: {"anchor": [], "positive": []} for split in ("train", "dev", "test")}
    books: dict[str, int] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            number = books.setdefault(row["book"], len(books)) % 10
            words = re.findall("[a-z]+(?:'[a-z]+)*", row["english"].lower().replace("\u2019", "'"))
            if len(words) >= 8:
                split = splits[{4: "dev", 9: "test"}.get(number, "train")]
                split["anchor"].append(" ".join(words[: len(words) // 2]))
                split["positive"].append(" ".join(words[len(words) // 2 :]))
    return splits


class Progress(keras.callbacks.Callback):
    """Prints the mean loss so far and the seconds of the processor, 20 times in a run.

    Args:
        name: what is run.
        steps: length of the run.
    """

    def __init__(self, name: str, steps: int):
        super().__init__()
        self.name, self.steps, self.done = name, steps, 0
        self.start = time.process_time()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count the step."""
        self.done += 1
        if self.done % max(1, self.steps // 20) == 0:
            seconds = time.process_time() - self.start
            print(
                f"  {self.name}: step {self.done} of {self.steps}, loss {logs['loss']:.4f}, "
                f"{seconds:.0f} s of CPU, {seconds / self.done:.3f} per step",
                flush=True,
            )


class Study:
    """The data, the tokenizer, and what is done with networks.

    Args:
        arguments: the command line.
    """

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.sentences = read_sst2(arguments.folder / "sst2")
        arguments.kept.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer()

    @functools.cached_property
    def corpus(self) -> list[str]:
        """Pieces of the corpus; a run that goes on behind pretraining does not need them."""
        pieces = read_corpus(self.arguments.folder / "words", self.arguments.sources)
        print(f"{len(pieces):,} pieces of the corpus", flush=True)
        return pieces

    def _tokenizer(self) -> text.Tokenizer:
        arguments = self.arguments
        digest = digest_of([arguments.sources, arguments.vocabulary])
        path = arguments.kept / f"tokenizer_{digest}.json"
        if not path.exists():
            # ten times, so that words of reviews have a part of the vocabulary
            texts = [*self.corpus, *10 * self.sentences["train"].texts]
            text.Tokenizer.word_piece(texts, arguments.vocabulary).save(path)
        return text.Tokenizer.from_file(path)

    def encoder(
        self, seed: int, weights: list | None = None, dropout: float = 0.1
    ) -> networks.BERT:
        """A network with random weights, or with given ones."""
        encoder = networks.bert(
            tuple(self.arguments.size),
            self.tokenizer.vocabulary_size,
            max_length=max(self.arguments.length, self.arguments.block),
            pooling="mean",
            dropout_rate=dropout,
            attention_dropout_rate=dropout,
            seed=seed,
        )
        if weights is not None:
            encoder.set_weights(weights)
        return encoder

    def batches(self, split: str, seed: int | None = None, labels: bool = True) -> tf.data.Dataset:
        """Batches of the sentences of a split; with a seed shuffled, and all of them full."""
        texts, numbers = self.sentences[split]
        return text.batches(
            texts,
            self.tokenizer,
            self.arguments.length,
            self.arguments.batch_size,
            labels=numbers if labels else None,
            shuffle=seed is not None,
            drop_remainder=seed is not None,
            seed=seed,
        )

    def optimizer(self, rate: float, steps: int) -> keras.optimizers.Optimizer:
        """AdamW whose rate rises to `rate` in a tenth of the run, and falls to 0."""
        schedule = warmed_up_cosine(rate, steps, WARMUP)
        return keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)

    def pretrain(self, seed: int) -> tuple[list, dict[str, Any]]:
        """The weights that MaskedLM learns, and how."""
        arguments, tokenizer = self.arguments, self.tokenizer
        encoded = tokenizer.encode(self.sentences["train"].texts) * arguments.passes
        count = min(arguments.pieces, len(self.corpus))
        chosen = np.random.default_rng(seed).permutation(len(self.corpus))[:count]
        encoded += tokenizer.encode([self.corpus[number] for number in chosen])
        rows, _ = tokenizer.frame(encoded, arguments.length)
        mixed = np.random.default_rng(seed).permutation(len(rows))
        # short sentences leave most of a padded batch empty, and several of them fill a block
        blocks = text.packed_blocks(
            [rows[number] for number in mixed],
            tokenizer,
            arguments.block,
            arguments.blocks,
            split_documents=False,
            end_token=False,
            drop_remainder=True,
        )
        trainer = trainers.MaskedLM(
            self.encoder(seed, dropout=arguments.pretraining_dropout),
            tokenizer.mask_token_id,
            tokenizer.special_token_ids,
            word_starts=tokenizer.word_starts,
            mask_ratio=arguments.mask_ratio,
            seed=seed,
        )
        trainer.compile(
            self.optimizer(arguments.pretraining_rate, len(blocks)),
            jit_compile=arguments.xla,
            exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
        )
        start = time.process_time()
        trainer.fit(blocks, verbose=0, callbacks=[Progress("MaskedLM", len(blocks))])
        found = {
            "cpu_minutes": (time.process_time() - start) / 60,
            "steps": len(blocks),
            "tokens": sum(map(len, rows)),
            "perplexity": evaluate.perplexity(trainer, self.batches("dev", labels=False)),
        }
        return trainer.encoder.get_weights(), found

    def fine_tune(
        self, seed: int, weights: list | None, rate: float
    ) -> tuple[keras.Model, dict[str, float]]:
        """A classifier with the weights of its best epoch on the dev sentences, and how it learnt.

        Accuracies are in percent.
        """
        epochs = self.arguments.epochs
        data = self.batches("train", seed)
        model = networks.SentenceClassifier(self.encoder(seed, weights), 2, seed=seed)
        optimizer = self.optimizer(rate, epochs * len(data))
        optimizer.exclude_from_weight_decay(var_names=[optimizers.NO_WEIGHT_DECAY])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=self.arguments.xla)
        best = keras.callbacks.EarlyStopping(
            "val_accuracy", mode="max", patience=epochs, restore_best_weights=True
        )
        start = time.process_time()
        history = model.fit(
            data, validation_data=self.batches("dev"), epochs=epochs, callbacks=[best], verbose=0
        ).history
        return model, {
            "rate": rate,
            "best_epoch": int(np.argmax(history["val_accuracy"])) + 1,
            "training_accuracy": 100 * history["accuracy"][-1],
            "dev_accuracy": 100 * max(history["val_accuracy"]),
            "cpu_minutes": (time.process_time() - start) / 60,
        }

    def measure_masked_lm(self, seed: int, weights: list) -> dict[str, Any]:
        """Both classifiers at all rates; the accuracy of the best on the dev sentences."""
        sides = {}
        for side, start in (("random", None), ("pretrained", weights)):
            tried = []
            for rate in self.arguments.rates:
                tried.append(self.fine_tune(seed, start, rate))
                print(f"  seed {seed}, {side}: {tried[-1][1]}", flush=True)
            model, best = max(tried, key=lambda one: one[1]["dev_accuracy"])
            data = self.batches(self.arguments.split)
            accuracy = 100 * model.evaluate(data, verbose=0, return_dict=True)["accuracy"]
            print(f"  seed {seed}, {side}: {accuracy:.2f} % on {self.arguments.split}", flush=True)
            sides[side] = {**best, "accuracy": accuracy, "tried": [found for _, found in tried]}
        minutes = sum(one["cpu_minutes"] for side in sides.values() for one in side["tried"])
        return {**sides, "cpu_minutes": minutes}

    def sim_cse(self, name: str, seed: int, weights: list, data: tf.data.Dataset) -> networks.BERT:
        """The encoder that SimCSE makes of weights."""
        steps = self.arguments.sim_cse_steps
        trainer = trainers.SimCSE(self.encoder(seed, weights))
        trainer.compile(
            self.optimizer(self.arguments.sim_cse_rate, steps),
            jit_compile=self.arguments.xla,
            exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
        )
        progress = Progress(f"SimCSE, {name}", steps)
        trainer.fit(data.repeat(), steps_per_epoch=steps, verbose=0, callbacks=[progress])
        return trainer.encoder

    def measure_embeddings(
        self, encoder: networks.BERT, halves: dict[str, list[str]]
    ) -> dict[str, float]:
        """The geometry of held-out pairs, and the linear probe."""
        split = self.arguments.split
        noisy = tf.function(lambda x: encoder(x, training=True), reduce_retracing=True)

        def features(data: tf.data.Dataset, encode: Callable = encoder) -> np.ndarray:
            return evaluate.extract_features(encode, data)[0]

        sentences = self.batches(split, labels=False)
        first, second = (
            features(text.batches(part, self.tokenizer, self.arguments.half_length, 256))
            for part in halves.values()
        )
        found = {}
        for kind, pairs, whole in (
            (
                "views",
                (features(sentences, noisy), features(sentences, noisy)),
                features(sentences),
            ),
            ("halves", (first, second), first),
        ):
            found |= {
                f"{kind}_uniformity": evaluate.uniformity(whole),
                f"{kind}_alignment": evaluate.alignment(*pairs),
                f"{kind}_distance": evaluate.alignment(pairs[0], np.roll(pairs[1], 1, axis=0)),
            }
        probe = evaluate.linear_probe(encoder, self.batches("train"), self.batches(split))
        return {**found, "probe": 100 * probe}

    def measure_sim_cse(self, seed: int, weights: list) -> dict[str, Any]:
        """What embeddings are worth before and after SimCSE."""
        arguments = self.arguments
        start = time.process_time()
        halves = read_halves(arguments.folder / "bible" / "verses.tsv.gz")
        batch = {"shuffle": True, "drop_remainder": True, "seed": seed}
        batch_size = arguments.sim_cse_batch_size
        texts = self.sentences["train"].texts
        data = {
            "views": text.batches(texts, self.tokenizer, arguments.length, batch_size, **batch),
            "halves": text.parallel_batches(
                halves["train"], self.tokenizer, arguments.half_length, batch_size, **batch
            ),
        }
        encoders = {
            "random": lambda: self.encoder(seed),
            "MaskedLM": lambda: self.encoder(seed, weights),
            "SimCSE, views": lambda: self.sim_cse("views", seed, weights, data["views"]),
            "SimCSE, halves": lambda: self.sim_cse("halves", seed, weights, data["halves"]),
        }
        found = {}
        for name, make in encoders.items():
            found[name] = self.measure_embeddings(make(), halves[arguments.split])
            seconds = time.process_time() - start
            print(f"  seed {seed}, {name}: {found[name]}, {seconds:.0f} s of CPU", flush=True)
        return {"embeddings": found, "cpu_minutes": (time.process_time() - start) / 60}


def settings_of(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """All that a part of a run is set to, as the file gives it back."""
    chosen = {name: getattr(arguments, name) for name in SETTINGS[part]}
    return json.loads(json.dumps(chosen))


def digest_of(value: Any) -> str:
    """Eight hexadecimal digits that tell settings apart."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8]


def pretrained(study: Study, seed: int) -> list:
    """The weights of the pretrained network, from the kept file if there is one."""
    arguments = study.arguments
    digest = digest_of(settings_of("pretraining", arguments))
    path = arguments.kept / f"masked_lm_{seed}_{digest}.weights.h5"
    encoder = study.encoder(seed)
    if path.exists():
        encoder.load_weights(path)
        return encoder.get_weights()
    keras.utils.set_random_seed(seed)
    weights, found = study.pretrain(seed)
    print(f"  seed {seed}, pretraining: {found}", flush=True)
    encoder.set_weights(weights)
    encoder.save_weights(path)
    keep(arguments, "pretraining", seed, found)
    return weights


def keep(arguments: argparse.Namespace, part: str, seed: int, found: dict[str, Any]) -> None:
    """Stores what was found by a part with a seed."""
    run = {"part": part, "seed": seed, "settings": settings_of(part, arguments)}
    store(arguments.json, {**run, "machine": machine(), **found}, ("part", "seed", "settings"))


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The runs of a file, none if it does not exist."""
    return json.loads(path.read_text()) if path.exists() else []


def groups(runs: list[dict[str, Any]], part: str) -> Iterator[tuple[dict, list[dict[str, Any]]]]:
    """The runs of a part with the same settings, by seed."""
    some = [run for run in runs if run["part"] == part]
    for settings in {json.dumps(run["settings"]): run["settings"] for run in some}.values():
        alike = [run for run in some if run["settings"] == settings]
        yield settings, sorted(alike, key=lambda run: run["seed"])


def judged(what: str, value: float, aim: str, met: bool) -> None:
    """Prints what an aim asks and what was reached."""
    print(f"{what}: {value:+.3f} (aim: {aim}): {'met' if met else 'MISSED'}")


def print_masked_lm(runs: list[dict[str, Any]]) -> None:
    """Prints accuracies by seed, their means, and the aim."""
    print("\n| seed | random, dev | pretrained, dev | random | pretrained | gain | CPU minutes |")
    print(f"|---|{'---:|' * 6}")
    rows = []
    for run in runs:
        one, other = run["random"], run["pretrained"]
        accuracies = [one["dev_accuracy"], other["dev_accuracy"], one["accuracy"]]
        gain = other["accuracy"] - one["accuracy"]
        rows.append([*accuracies, other["accuracy"], gain, run["cpu_minutes"]])
    names = [*(str(run["seed"]) for run in runs), "mean"]
    mean = np.mean(rows, axis=0).tolist()
    for name, row in zip(names, [*rows, mean], strict=True):
        print(f"| {' | '.join([name, *(f'{value:.2f}' for value in row)])} |")
    gain = fmean(row[4] for row in rows)
    judged("\ngain of the mean, points", gain, f"at least {AIM_GAIN:g}", gain >= AIM_GAIN)


def print_sim_cse(runs: list[dict[str, Any]]) -> None:
    """Prints the means over seeds of all encoders, and the aims."""
    means = {}
    for name, one in runs[0]["embeddings"].items():
        means[name] = {key: fmean(run["embeddings"][name][key] for run in runs) for key in one}
    columns = [f"{kind}: {title}" for kind in PAIRS for title in GEOMETRY.values()]
    print(f"\n| mean of {len(runs)} | {' | '.join(columns)} | probe, % |\n|---|{'---:|' * 7}")
    for name, one in means.items():
        for kind in PAIRS:
            one[f"{kind}_relative"] = one[f"{kind}_alignment"] / one[f"{kind}_distance"]
        cells = [f"{one[f'{kind}_{measure}']:.3f}" for kind in PAIRS for measure in GEOMETRY]
        print(f"| {' | '.join([name, *cells])} | {one['probe']:.2f} |")
    print(f"\nCPU minutes per seed: {fmean(run['cpu_minutes'] for run in runs):.1f}")
    before = means["MaskedLM"]
    for kind in PAIRS:
        after = means[f"SimCSE, {kind}"]
        change = {key: after[key] - before[key] for key in after}
        for measure, title in GEOMETRY.items():
            value = change[f"{kind}_{measure}"]
            aim = "falls" if measure == "uniformity" else "does not grow"
            judged(f"{kind}, change of {title}", value, aim, value < 0)
        print(f"{kind}, change of the probe, points: {change['probe']:+.2f}")


def print_results(runs: list[dict[str, Any]]) -> None:
    """Prints tables of all parts, each for the runs with the same settings."""
    for settings, alike in groups(runs, "pretraining"):
        print(f"\npretraining with {settings}")
        for run in alike:
            print(
                f"seed {run['seed']}: {run['steps']} steps, {run['tokens']:,} tokens, perplexity "
                f"of hidden tokens {run['perplexity']:.1f}, {run['cpu_minutes']:.1f} CPU minutes"
            )
    for part, show in (("masked_lm", print_masked_lm), ("sim_cse", print_sim_cse)):
        for settings, alike in groups(runs, part):
            print(f"\n{part} with {settings}")
            show(alike)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    shared = os.environ.get("KERAS_SSL_DATA_DIR")
    add("folder", type=Path, nargs="?", default=shared, help="of sst2, words and bible")
    parts = ["masked_lm", "sim_cse"]
    add("--parts", nargs="+", choices=parts, default=parts)
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--split", choices=["dev", "test"], default="test", help="to measure on")
    add("--vocabulary", type=int, default=8000, help="tokens")
    add("--size", type=int, nargs=3, default=[128, 2, 2], help="width, blocks and heads")
    add("--length", type=int, default=40, help="tokens of a sentence; longer ones are cut")
    add("--sources", nargs="+", default=SOURCES, help="of the corpus")
    add("--pieces", type=int, default=120_000, help="of the corpus, of at most 30 words")
    add("--passes", type=int, default=10, help="over SST-2's sentences in pretraining")
    add("--block", type=int, default=128, help="tokens of a block of pretraining")
    add("--blocks", type=int, default=16, help="in a batch of pretraining")
    add("--pretraining-rate", type=float, default=1e-3)
    add("--pretraining-dropout", type=float, default=0.0)
    add("--mask-ratio", type=float, default=0.15, help="of the tokens, in pretraining")
    add("--epochs", type=int, default=5, help="of fine-tuning")
    add("--batch-size", type=int, default=32, help="of fine-tuning")
    add("--rates", type=float, nargs="+", default=[3e-4, 1e-3], help="of fine-tuning")
    add("--sim-cse-steps", type=int, default=150)
    add("--sim-cse-batch-size", type=int, default=64, help="pairs")
    add("--sim-cse-rate", type=float, default=3e-4)
    add("--half-length", type=int, default=24, help="tokens of half a verse")
    add("--xla", action="store_true", help="train under XLA")
    add("--kept", type=Path, default=Path("runs/sentences"), help="folder of kept networks")
    add("--json", type=Path, default=Path("sentences.json"), help="file of the results")
    add("--table", action="store_true", help="print the results, run nothing")
    arguments = parser.parse_args()
    if arguments.folder is None and not arguments.table:
        parser.error("name the folder of the data, or set KERAS_SSL_DATA_DIR")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    todo = [
        (seed, part)
        for seed in arguments.seeds
        for part in arguments.parts
        if not any(
            run["part"] == part
            and run["seed"] == seed
            and run["settings"] == settings_of(part, arguments)
            for run in read_runs(arguments.json)
        )
    ]
    if todo and not arguments.table:
        print_machine()
        study = Study(arguments)
        counts = {split: len(one.texts) for split, one in study.sentences.items()}
        print(f"sentences {counts}; {time.process_time():.0f} s of CPU so far", flush=True)
        for seed, part in todo:
            weights = pretrained(study, seed)
            keras.utils.set_random_seed(seed)
            measure = {"masked_lm": study.measure_masked_lm, "sim_cse": study.measure_sim_cse}[part]
            keep(arguments, part, seed, measure(seed, weights))
    print_results(read_runs(arguments.json))


if __name__ == "__main__":
    main()
