"""Similarities and analogies, compared with gensim's; counts of co-occurrence with a loop."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_ssl import evaluate

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "word_vectors.json").read_text())
Z, WORDS = np.array(REFERENCE["z"], "float32"), REFERENCE["words"]


def test_similarity_equals_that_of_gensim():
    result = evaluate.word_similarity(Z, WORDS, REFERENCE["pairs"])
    assert result["spearman"] == pytest.approx(REFERENCE["spearman"], abs=1e-9)
    total = result["pairs"] + result["out_of_vocabulary"]
    assert total == 30 and result["out_of_vocabulary"] > 0
    percent = 100 * result["out_of_vocabulary"] / total
    assert percent == pytest.approx(REFERENCE["out_of_vocabulary_percent"])


@pytest.mark.parametrize("chunk_size", [7, 512])
def test_analogies_equal_those_of_gensim(chunk_size):
    result = evaluate.word_analogy(Z, WORDS, REFERENCE["questions"], chunk_size=chunk_size)
    assert result["accuracy"] == pytest.approx(REFERENCE["accuracy"])
    assert set(result["sections"]) == set(REFERENCE["sections"])
    for name, (right, asked) in REFERENCE["sections"].items():
        section = result["sections"][name]
        assert section["questions"] == asked
        assert section["accuracy"] == pytest.approx(right / asked)
    asked = sum(map(len, REFERENCE["questions"].values()))
    assert result["questions"] + result["out_of_vocabulary"] == asked


def test_words_of_the_question_are_no_answers_and_lengths_do_not_matter():
    z = np.array([[1.0, 0.0], [0.9, 0.1], [1.0, 0.05], [0.0, 1.0]])
    scaled = z * np.array([[1.0], [10.0], [0.1], [3.0]])
    # without them, the answer to the first would be "b"
    questions = {"s": [("a", "b", "b", "c"), ("a", "b", "c", "d")], "empty": [("x", "a", "b", "c")]}
    for vectors in (z, scaled):
        result = evaluate.word_analogy(vectors, ["a", "b", "c", "d"], questions)
        assert result["sections"]["s"] == {"accuracy": 1.0, "questions": 2}
        assert result["sections"]["empty"]["questions"] == 0
        assert np.isnan(result["sections"]["empty"]["accuracy"])
        assert result["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evaluate.word_similarity(Z, WORDS, [("w0", "w1", 1.0)]), "1 of 1 pairs"),
        (lambda: evaluate.word_similarity(Z, WORDS[:-1], []), "`words` must be 40 different"),
        (lambda: evaluate.word_similarity(Z, [*WORDS[:-1], "w0"], []), "40 words, 39 of them"),
        (lambda: evaluate.word_similarity(np.nan * Z, WORDS, []), "finite"),
        (lambda: evaluate.word_analogy(Z, WORDS, {"s": [("x",) * 4]}), "1 questions, none of"),
        (lambda: evaluate.word_analogy(Z, WORDS, {}, chunk_size=0), "`chunk_size`"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


LENGTHS = np.array([3, 1, 0, 7, 2, 12])
IDS = np.arange(25) * 7 % 11


def counts_by_loop(window):
    counts = np.zeros((12, 12))
    for line in np.split(IDS, np.cumsum(LENGTHS)[:-1]):
        for i, word in enumerate(line):
            for j in range(len(line)):
                if i != j and abs(i - j) <= window:
                    counts[word, line[j]] += 1
    return counts


@pytest.mark.parametrize("window", [1, 4, 30])
def test_counts_are_those_of_a_loop_over_lines(window):
    counts = evaluate.cooccurrence_counts(IDS, LENGTHS, words=12, window=window)
    np.testing.assert_array_equal(counts.toarray(), counts_by_loop(window))


@pytest.mark.parametrize("ppmi", [True, False])
def test_vectors_are_those_of_a_dense_decomposition(ppmi):
    counts = counts_by_loop(4)
    values = np.log1p(counts)
    if ppmi:
        total = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.maximum(np.nan_to_num(np.log(counts / total), neginf=0.0), 0.0)
    u, s, _ = np.linalg.svd(values)
    expected = u[:, :3] * np.sqrt(s[:3])
    sparse = evaluate.cooccurrence_counts(IDS, LENGTHS, words=12, window=4)
    z = evaluate.cooccurrence_vectors(sparse, dim=3, ppmi=ppmi)
    assert z.dtype == np.float32
    np.testing.assert_allclose(z @ z.T, expected @ expected.T, atol=1e-5)
    np.testing.assert_allclose(np.sum(z**2, axis=0), s[:3], rtol=1e-5)  # the largest first


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: evaluate.cooccurrence_counts([0], [1]), ValueError, "at least 2 words"),
        (lambda: evaluate.cooccurrence_counts([0, 3], [2], words=3), ValueError, "0 to 2.*3"),
        (lambda: evaluate.cooccurrence_vectors(np.eye(3)), TypeError, "sparse matrix"),
        (
            lambda: evaluate.cooccurrence_vectors(
                evaluate.cooccurrence_counts([0, 1, 2], [3]), dim=3
            ),
            ValueError,
            "smaller than 3",
        ),
    ],
)
def test_bad_input_of_counts(call, error, message):
    with pytest.raises(error, match=message):
        call()
