"""Vectors of words: `trainers.Word2Vec` beside gensim's, on one corpus.

    python benchmarks/word2vec.py FOLDER

FOLDER holds `corpus.txt.gz`, a document a line, and the evaluation sets `wordsim353.tsv`,
`simlex999.txt` and `questions-words.txt`. Both sides train skip-gram with 5 negatives on windows of
at most 5 words, 100 dimensions, words that occur 5 times or more, subsampling at 1e-3, a rate that
falls from 0.025 to 0.0001 over all epochs. Random numbers are each library's own. The epochs are
run in turns, so that whatever else the machine does hits both. Words a second are all words of the
corpus by the time of an epoch; the vocabulary is built before.

Both sides are scored by our `evaluate.word_similarity` and `evaluate.word_analogy`. With
`--baseline`, vectors of the baseline come last: a truncated singular decomposition of PPMI.
"""

import argparse
import gzip
import json
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from measure import Peer, machine, print_machine, store

from keras_ssl import data, evaluate, trainers

AIM = 0.5
RATES = (0.025, 0.0001)
WINDOW, DIM, NEGATIVES = 5, 100, 5


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lines", type=int, help="lines of the corpus; default all")
    parser.add_argument("--batch-size", type=int, default=16, help="rows of a batch")
    parser.add_argument("--centers", type=int, default=32, help="words of a row")
    parser.add_argument("--noise-per-row", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1, help="of an operation; gensim has 2")
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--json", type=Path, help="file that the figures are added to")
    return parser.parse_args()


class Ours:
    """One training run of ours, an epoch at a time."""

    def __init__(
        self, text: tf.data.Dataset, counts: np.ndarray, seed: int, arguments: argparse.Namespace
    ):
        keras.utils.set_random_seed(seed)
        self.text, self.epochs_done = text, 0
        objective = trainers.NegativeSampling(
            NEGATIVES, noise_per_row=arguments.noise_per_row, seed=seed
        )
        self.trainer = trainers.Word2Vec(counts, DIM, objective=objective, seed=seed)
        # the loss is a mean over the words of a batch
        words = arguments.batch_size * arguments.centers
        rate = keras.optimizers.schedules.PolynomialDecay(
            RATES[0] * words, arguments.epochs * len(text), RATES[1] * words
        )
        self.trainer.compile(keras.optimizers.SGD(rate), steps_per_execution=32)
        self.trainer.train_on_batch(next(iter(text))[0])  # traces the step

    def epoch(self) -> dict[str, float]:
        """Train for an epoch and return its seconds."""
        start, cpu = time.perf_counter(), time.process_time()
        self.trainer.fit(
            self.text,
            initial_epoch=self.epochs_done,
            epochs=self.epochs_done + 1,
            verbose=0,
        )
        self.epochs_done += 1
        return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


def scores(z: np.ndarray, words: list[str], folder: Path) -> dict[str, Any]:
    """Figures of vectors on the evaluation sets."""
    found = {}
    for name in ("wordsim353.tsv", "simlex999.txt"):
        result = evaluate.word_similarity(z, words, data.read_word_pairs(folder / name))
        found[name] = result["spearman"]
    result = evaluate.word_analogy(z, words, data.read_analogies(folder / "questions-words.txt"))
    return {**found, "analogies": result["accuracy"], "sections": result["sections"]}


def run(
    seed: int, lines: list[str], vocabulary: data.WordVocabulary, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Train both sides with a seed, their epochs in turns, and score their vectors."""
    ids, lengths = vocabulary.encode(lines)
    text = data.word_windows(
        ids,
        lengths,
        WINDOW,
        arguments.batch_size,
        arguments.centers,
        counts=vocabulary.counts,
        seed=seed,
    )
    ours = Ours(text, vocabulary.counts, seed, arguments)
    epochs, vectors = {"keras_ssl": []}, {}
    if not arguments.without_peer:
        epochs["gensim"] = []
        peer = Peer("word2vec_gensim.py")
        peer.ask(
            "prepare",
            corpus=str(arguments.folder / "corpus.txt.gz"),
            lines=arguments.lines,
            seed=seed,
            dim=DIM,
            window=WINDOW,
            negative=NEGATIVES,
        )
    for epoch in range(arguments.epochs):
        epochs["keras_ssl"].append(ours.epoch())
        if "gensim" in epochs:
            rates = np.interp(np.array([epoch, epoch + 1]), [0, arguments.epochs], RATES)
            epochs["gensim"].append(peer.ask("epoch", rates=rates.tolist()))
        print(f"seed {seed}, epoch {epoch + 1}:", {k: v[-1] for k, v in epochs.items()}, flush=True)
    vectors["keras_ssl"] = scores(
        ours.trainer.embeddings.numpy(), vocabulary.words, arguments.folder
    )
    if "gensim" in epochs:
        path = peer.ask("vectors")
        stored = np.load(path)
        vectors["gensim"] = scores(stored["z"], stored["words"].tolist(), arguments.folder)
        Path(path).unlink()
        peer.__exit__()
    total = sum(len(line.split()) for line in lines)
    return {
        name: {
            **vectors[name],
            "words_per_second": statistics.median(total / one["seconds"] for one in epochs[name]),
            "words_per_cpu_second": statistics.median(total / one["cpu"] for one in epochs[name]),
            "epochs": epochs[name],
        }
        for name in epochs
    }


def print_results(results: list[dict[str, Any]]) -> None:
    """Print means over seeds, and how fast one side is of the other."""
    for name in results[0]:
        figures = ("wordsim353.tsv", "simlex999.txt", "analogies")
        means = [statistics.mean(one[name][figure] for one in results) for figure in figures]
        speeds = [
            statistics.median(one[name][kind] for one in results)
            for kind in ("words_per_second", "words_per_cpu_second")
        ]
        print(
            f"{name:10} WordSim-353 {means[0]:.4f}, SimLex-999 {means[1]:.4f}, analogies "
            f"{100 * means[2]:.2f} %, words a second {speeds[0]:,.0f}, of CPU time {speeds[1]:,.0f}"
        )
    if "gensim" in results[0]:
        for clock in ("seconds", "cpu"):
            ratios = [
                theirs[clock] / ours[clock]
                for one in results
                for ours, theirs in zip(
                    one["keras_ssl"]["epochs"], one["gensim"]["epochs"], strict=True
                )
            ]
            print(
                f"speed by {clock}, keras_ssl / gensim: {statistics.median(ratios):.2f}, the "
                f"median of {len(ratios)} epochs (aim: at least {AIM})"
            )


def main(arguments: argparse.Namespace) -> None:
    """Run all seeds and print the figures."""
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    with gzip.open(arguments.folder / "corpus.txt.gz", "rt") as file:
        lines = file.read().splitlines()[: arguments.lines]
    print_machine()
    vocabulary = data.WordVocabulary.from_lines(lines)
    print(f"{len(lines)} lines, {len(vocabulary)} words of vocabulary", flush=True)
    results = []
    for seed in arguments.seeds:
        results.append(run(seed, lines, vocabulary, arguments))
        summary = {
            name: {key: one[key] for key in one if key not in ("sections", "epochs")}
            for name, one in results[-1].items()
        }
        print(json.dumps({"seed": seed, **summary}), flush=True)
        if arguments.json:
            described = {"seed": seed, "epochs": arguments.epochs, **machine()}
            store(arguments.json, {**described, **results[-1]}, key=("seed", "epochs"))
    print_results(results)
    if arguments.baseline:
        ids, lengths = vocabulary.encode(lines)
        counts = evaluate.cooccurrence_counts(ids, lengths, len(vocabulary), WINDOW)
        z = evaluate.cooccurrence_vectors(counts, DIM)
        found = scores(z, vocabulary.words, arguments.folder)
        found.pop("sections")
        print("PPMI and truncated SVD:", found)


if __name__ == "__main__":
    main(parse_arguments())
