"""Learn vectors of words from a text of your own, and draw a map of their neighbours.

    python examples/word2vec.py text.txt --queries king river good
    python examples/word2vec.py corpus.txt.gz --pairs simlex999.txt --analogies questions-words.txt

The text is a file of lines, plain or compressed by gzip, a sentence or paragraph a line; ten
million words train in a few minutes. With files of word pairs with scores (WordSim-353, SimLex-999)
or of analogies, the vectors are judged by them, beside those of a baseline: counts of words that
occur together, reduced by a truncated singular decomposition.
"""

import argparse
import gzip
import re
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_ssl import data, evaluate, optimizers, trainers, visualize

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("text", type=Path, help="file of lines, plain or .gz")
parser.add_argument("--pairs", type=Path, nargs="*", default=[], help="files of word pairs")
parser.add_argument("--analogies", type=Path, help="file of analogies")
parser.add_argument("--queries", nargs="*", help="words to show; default some frequent ones")
parser.add_argument("--cbow", action="store_true", help="continuous bag of words, not skip-gram")
parser.add_argument("--dim", type=int, default=100)
parser.add_argument("--window", type=int, default=5)
parser.add_argument("--negatives", type=int, default=5)
parser.add_argument("--min-count", type=int, default=5)
parser.add_argument("--subsample", type=float, default=1e-3, help="1 keeps all words")
parser.add_argument("--epochs", type=int, default=5)
parser.add_argument("--rate", type=float, default=0.025, help="learning rate of a pair")
parser.add_argument("--no-baseline", action="store_true")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--output", type=Path, default=Path("word2vec"))
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)
# a step is many small operations, which threads would only wait for
tf.config.threading.set_intra_op_parallelism_threads(1)

opened = gzip.open if arguments.text.suffix == ".gz" else open
with opened(arguments.text, "rt", encoding="utf-8") as file:
    lines = [re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", line.lower()) for line in file]
vocabulary = data.WordVocabulary.from_lines(lines, arguments.min_count)
ids, lengths = vocabulary.encode(lines)
print(f"{len(ids):,} words in {len(lines):,} lines, {len(vocabulary):,} of them different")

# Rows of 32 words with the words around them, 16 rows a batch
text = data.word_windows(
    ids, lengths, arguments.window, subsample=arguments.subsample, seed=arguments.seed
)
words_per_batch = 16 * 32
trainer = trainers.Word2Vec(
    vocabulary.counts,
    arguments.dim,
    architecture=trainers.CBOW() if arguments.cbow else trainers.SkipGram(),
    objective=trainers.NegativeSampling(arguments.negatives, seed=arguments.seed),
    seed=arguments.seed,
)
# The loss is a mean over the words of a batch, and word2vec's rate is meant for one of them
rate = optimizers.linear_scaling(arguments.rate, words_per_batch, reference=1)
decay = keras.optimizers.schedules.PolynomialDecay(
    rate, arguments.epochs * len(text), end_learning_rate=0.004 * rate
)
trainer.compile(keras.optimizers.SGD(decay), steps_per_execution=min(32, len(text)))
start = time.perf_counter()
trainer.fit(text, epochs=arguments.epochs)
seconds = time.perf_counter() - start
print(f"{arguments.epochs * len(ids) / seconds:,.0f} words a second")

contenders = {"word2vec": trainer.embeddings.numpy()}
if not arguments.no_baseline:
    counts = evaluate.cooccurrence_counts(ids, lengths, len(vocabulary), arguments.window)
    dim = min(arguments.dim, len(vocabulary) - 1)
    contenders["PPMI and SVD"] = evaluate.cooccurrence_vectors(counts, dim)

columns = [path.stem for path in arguments.pairs]
columns += [arguments.analogies.stem] if arguments.analogies else []
if columns:
    print("| vectors | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
for name, z in contenders.items():
    cells = [
        evaluate.word_similarity(z, vocabulary.words, data.read_word_pairs(path))["spearman"]
        for path in arguments.pairs
    ]
    cells = [f"{value:.3f}" for value in cells]
    if arguments.analogies:
        questions = data.read_analogies(arguments.analogies)
        found = evaluate.word_analogy(z, vocabulary.words, questions)
        cells.append(f"{100 * found['accuracy']:.1f} %")
    if columns:
        print(f"| {name} | " + " | ".join(cells) + " |")

# The most frequent words say little: by default, some less frequent ones are shown
queries = arguments.queries or vocabulary.words[50:600:50] or vocabulary.words[:8]
z = trainer.embeddings.numpy()
units = z / np.linalg.norm(z, axis=1, keepdims=True)
for word in queries:
    if word not in vocabulary:
        raise SystemExit(f"{word!r} is not among the words of the text")
    nearest = np.argsort(-(units @ units[vocabulary.index(word)]))[1:9]
    print(f"{word}: " + ", ".join(vocabulary.words[one] for one in nearest))
arguments.output.mkdir(parents=True, exist_ok=True)
neighbors = min(8, len(vocabulary) - 1)
visualize.plot_words(
    z, vocabulary.words, queries, neighbors, seed=arguments.seed, path=arguments.output / "map.png"
)
trainer.save(arguments.output / "word2vec.keras")
print(f"map and vectors: {arguments.output}")
