"""Agreement of clusters and classes beside all matchings, and scikit-learn."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from keras_ssl import evaluate


def best_matching(labels, clusters):
    """The accuracy by trying every way to give clusters different classes."""
    names = [one for one in np.unique(clusters) if one != -1]
    classes = [*np.unique(labels), *[None] * len(names)]
    return max(
        np.mean([dict(zip(names, chosen, strict=True)).get(c) == y for y, c in pairs])
        for pairs in [list(zip(labels, clusters, strict=True))]
        for chosen in itertools.permutations(classes, len(names))
    )


@pytest.mark.parametrize("number", [2, 3, 4])
def test_equals_all_matchings_and_scikit_learn(rng, number):
    labels = rng.integers(3, size=60)
    clusters = np.where(rng.random(60) < 0.6, (labels + 1) % number, rng.integers(number, size=60))
    found = evaluate.clustering_metrics(labels, 10 * clusters)
    assert found["accuracy"] == pytest.approx(best_matching(labels, clusters))
    assert found["normalized_mutual_information"] == pytest.approx(
        normalized_mutual_info_score(labels, clusters)
    )
    assert found["adjusted_rand_index"] == pytest.approx(adjusted_rand_score(labels, clusters))


def test_noise_stands_for_no_class_and_unlabelled_examples_are_left_out():
    labels, clusters = [0, 0, 1, 1, 1, -1], [[5], [5], [-1], [-1], [2], [2]]
    found = evaluate.clustering_metrics(labels, clusters)
    assert found["accuracy"] == 0.6
    assert found["adjusted_rand_index"] == pytest.approx(
        adjusted_rand_score([0, 0, 1, 1, 1], [5, 5, -1, -1, 2])
    )
    assert evaluate.clustering_metrics([0, 1], [-1, -1])["accuracy"] == 0.0


def test_bad_input():
    with pytest.raises(ValueError, match="equally many"):
        evaluate.clustering_metrics([0, 1], [0, 1, 2])
    with pytest.raises(ValueError, match="with a label"):
        evaluate.clustering_metrics([-1, -1], [0, 1])
    with pytest.raises(TypeError, match="`clusters` must be integers"):
        evaluate.clustering_metrics([0, 1], ["a", "b"])
    with pytest.raises(TypeError, match="integers, the index"):
        evaluate.clustering_metrics([0.5, np.nan], [0, 1])
