import numpy as np
import pytest

from keras_ssl.evaluate._batches import Batches
from keras_ssl.evaluate._subset import balanced_subset, stratified_subset, take_balanced

LABELS = np.random.default_rng(0).integers(5, size=400)


def test_number_of_examples_per_class():
    chosen = balanced_subset(LABELS, 7, seed=0)
    np.testing.assert_array_equal(np.bincount(LABELS[chosen]), [7] * 5)
    assert len(np.unique(chosen)) == 35


def test_seed_determines_the_result():
    first = balanced_subset(LABELS, 7, seed=0)
    np.testing.assert_array_equal(balanced_subset(LABELS, 7, seed=0), first)
    assert len(np.intersect1d(balanced_subset(LABELS, 7, seed=1), first)) < 15


def test_every_example_is_as_likely_as_any_other():
    labels = np.array([0] * 10 + [1] * 5)
    counts = np.zeros(15)
    for seed in range(2000):
        counts[balanced_subset(labels, 2, seed)] += 1
    # binomial: 2000 draws at 1/5 and 2/5; five standard deviations
    np.testing.assert_allclose(counts[:10], 400, atol=5 * np.sqrt(2000 * 0.2 * 0.8))
    np.testing.assert_allclose(counts[10:], 800, atol=5 * np.sqrt(2000 * 0.4 * 0.6))


@pytest.mark.parametrize("batch_size", [1, 32, 400])
def test_take_balanced_equals_balanced_subset(batch_size):
    x = np.arange(400)[:, None]
    data = Batches(({"x": x}, LABELS), "train", batch_size, labelled=True)
    taken, labels = take_balanced(data, 7, seed=3)
    chosen = balanced_subset(LABELS, 7, seed=3)
    np.testing.assert_array_equal(taken["x"][:, 0], chosen)
    np.testing.assert_array_equal(labels, LABELS[chosen])


@pytest.mark.parametrize("batch_size", [7, 400])
def test_examples_without_a_label_are_never_chosen(batch_size):
    labels = LABELS.copy()
    labels[:60] = labels[::3] = -1
    chosen = balanced_subset(labels, 7, seed=0)
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [7] * 5)
    data = Batches((np.arange(400)[:, None], labels), "train", batch_size, labelled=True)
    taken, of_taken = take_balanced(data, 7, seed=0)
    np.testing.assert_array_equal(taken[:, 0], chosen)
    np.testing.assert_array_equal(of_taken, labels[chosen])
    with pytest.raises(ValueError, match="must hold examples with a label"):
        balanced_subset(np.full(9, -1), 1, seed=0)


def test_class_with_too_few_examples():
    labels = np.array([4, 4, 4, 9])
    message = "`labels_per_class` must not exceed.*Received: 2, but class 9 has 1"
    with pytest.raises(ValueError, match=message):
        balanced_subset(labels, 2, seed=0)
    with pytest.raises(ValueError, match=message):
        take_balanced(Batches((np.zeros((4, 1)), labels), "train", labelled=True), 2, seed=0)


@pytest.mark.parametrize("labels_per_class", [0, 1.5, True, "all"])
def test_labels_per_class(labels_per_class):
    error = ValueError if labels_per_class == 0 else TypeError
    with pytest.raises(error, match="`labels_per_class` must be a positive integer"):
        balanced_subset(LABELS, labels_per_class, seed=0)


def test_shares_are_stratified_and_nested(rng):
    y = np.concatenate([np.repeat([0, 1, 2], [600, 290, 10]), np.full(50, -1)])
    rng.shuffle(y)
    small, large = (stratified_subset(y, share, seed=3) for share in (0.01, 0.1))
    assert np.unique(y[small], return_counts=True)[1].tolist() == [6, 3, 1]
    assert np.unique(y[large], return_counts=True)[1].tolist() == [60, 29, 1]
    assert set(small) < set(large) and (y[large] >= 0).all()
    assert set(large) != set(stratified_subset(y, 0.1, seed=4))
    np.testing.assert_array_equal(stratified_subset(y, 1.0, seed=0), np.flatnonzero(y >= 0))
