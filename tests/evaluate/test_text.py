"""Perplexity, and the geometry of sentence embeddings, beside SciPy and plain formulas."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from keras_ssl import evaluate, text, trainers
from tests.trainers.language.small_text import cross_entropies, gpt2, padded


def test_perplexity_is_that_of_all_tokens():
    """However the data is batched, although texts have different numbers of tokens."""
    x = {name: one[:20] for name, one in padded().items()}
    encoder = gpt2()
    seen = {name: one[:, :-1] for name, one in x.items()}
    errors, _ = cross_entropies(encoder.logits(encoder(seen)), x["token_ids"][:, 1:])
    counts = x["padding_mask"][:, 1:]
    expected = np.exp((errors * counts).sum() / counts.sum())
    trainer = trainers.CausalLM(encoder)
    for size in (20, 3):
        assert evaluate.perplexity(trainer, x, batch_size=size) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(TypeError, match="that predicts tokens"):
        evaluate.perplexity(encoder, x)
    with pytest.raises(ValueError, match=r"0\.\.11"):
        evaluate.perplexity(trainer, x["token_ids"] + 11)


def test_windows_of_a_text_have_its_perplexity():
    letters = "abcdefg" * 35
    tokenizer = text.VocabularyTokenizer.characters([letters])
    windows = text.token_windows(tokenizer.encode(letters), 9, batch_size=4, stride=8)
    trainer = trainers.CausalLM(gpt2())
    assert 8 < evaluate.perplexity(trainer, windows) < 20  # untrained, of 12 tokens


def test_geometry_equals_scipy():
    rng = np.random.default_rng(0)
    first, noise = rng.normal(size=(2, 1500, 5))
    second = first + 0.3 * noise
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    expected = np.mean(np.sum((one - other) ** 2, axis=1))
    assert evaluate.alignment(first, second) == pytest.approx(expected)
    expected = np.log(np.mean(np.exp(-2 * pdist(one, "sqeuclidean"))))
    assert evaluate.uniformity(first) == pytest.approx(expected)
    scores = rng.normal(size=1500)
    expected = spearmanr(np.sum(one * other, axis=1), scores).statistic
    pairs = (evaluate.raw_pixels, first, second)
    assert evaluate.sentence_similarity(*pairs, scores) == pytest.approx(expected, abs=1e-6)
    assert evaluate.uniformity(np.ones((3, 2))) == pytest.approx(0)


def test_bad_features():
    x = np.eye(3)
    for call, message in (
        (lambda: evaluate.alignment(x, x[:2]), "one shape"),
        (lambda: evaluate.alignment(x, x, power=0), "`power`"),
        (lambda: evaluate.uniformity(x[:1]), "two examples or more"),
        (lambda: evaluate.uniformity(np.diag([1, 0, 1.0])), "the first of which is row 1"),
        (lambda: evaluate.sentence_similarity(evaluate.raw_pixels, x, x, [1, 2]), "equally many"),
        (
            lambda: evaluate.sentence_similarity(evaluate.raw_pixels, x, x, [1, 1, 1]),
            "two different",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
