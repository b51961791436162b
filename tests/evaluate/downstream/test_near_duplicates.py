"""Groups beside SciPy's components of the whole matrix."""

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from keras_ssl import evaluate
from keras_ssl.evaluate.downstream import near_duplicates as module


@pytest.mark.parametrize("threshold", [0.9, 0.99])
@pytest.mark.parametrize("rows", [30, 1024])
def test_groups_are_the_components_of_all_pairs(rng, monkeypatch, threshold, rows):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", rows)
    centers = rng.normal(size=(25, 8))
    features = centers[rng.integers(25, size=200)] + rng.uniform(0, 0.5, (200, 1)) * rng.normal(
        size=(200, 8)
    )
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    count, labels = connected_components(units @ units.T >= threshold, directed=False)
    expected = {tuple(np.flatnonzero(labels == one)) for one in range(count)}
    groups = evaluate.near_duplicates(features, threshold)
    assert {tuple(one) for one in groups} == {one for one in expected if len(one) > 1}
    sizes = [len(one) for one in groups]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) > 3


def test_chains_equal_rows_and_none(rng, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 4)
    angles = np.arange(20) * 0.1
    chain = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    (group,) = evaluate.near_duplicates(chain, float(np.cos(0.11)))
    np.testing.assert_array_equal(group, np.arange(20))
    assert evaluate.near_duplicates(chain, float(np.cos(0.09))) == []
    twice = np.concatenate([chain, 3 * chain[5:6]])
    (pair,) = evaluate.near_duplicates(twice, 1.0)
    assert pair.tolist() == [5, 20]
    assert evaluate.near_duplicates(chain[:1], 0.5) == []


@pytest.mark.parametrize(
    ("features", "threshold", "message"),
    [
        (np.full((3, 2), np.nan), 0.9, "must be finite"),
        (np.zeros((3, 2)), 0.9, "must have directions"),
        (np.ones((3, 2)), 1.5, "`threshold` must be a number from -1 to 1"),
    ],
)
def test_bad_input(features, threshold, message):
    with pytest.raises(ValueError, match=message):
        evaluate.near_duplicates(features, threshold)
