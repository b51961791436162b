"""The graph probe, compared with scikit-learn on each fold."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from keras_ssl import evaluate


def examples(rng, count=80):
    y = np.arange(count) % 2
    return np.eye(2)[y] * 1.5 + rng.normal(size=(count, 2)), y


def test_equals_mean_over_folds_of_svms(rng):
    x, y = examples(rng)
    x *= (100.0, 0.01)  # undone by standardization
    expected = []
    for train, test in StratifiedKFold(4, shuffle=True, random_state=3).split(x, y):
        mean, deviation = x[train].mean(0), x[train].std(0)
        machine = SVC(C=2.0).fit((x[train] - mean) / deviation, y[train])
        expected.append(machine.score((x[test] - mean) / deviation, y[test]))
    found = evaluate.graph_probe(x, y, folds=4, regularizations=(2.0,), seed=3)
    assert found == pytest.approx(np.mean(expected))
    assert 0.6 < found < 1


def test_c_is_chosen_within_the_other_folds(rng):
    x, y = examples(rng)
    x, y = np.concatenate([x[y == 0], x[y == 1][:10]]), np.repeat([0, 1], [40, 10])
    alone = [evaluate.graph_probe(x, y, folds=4, regularizations=(c,)) for c in (1e-6, 1.0)]
    assert alone[0] == pytest.approx(0.8, abs=0.02) and alone[1] > alone[0]  # the larger class
    assert evaluate.graph_probe(x, y, folds=4, regularizations=(1e-6, 1.0)) > alone[0]


def test_noise_is_at_chance_level(rng):
    y = np.arange(100) % 2
    assert 0.25 < evaluate.graph_probe(rng.normal(size=(100, 8)), y) < 0.75


def test_wrong_input_raises(rng):
    x, y = examples(rng)
    for features, labels, message in (
        (np.full_like(x, np.inf), y, "must be finite"),
        (x, y[:-1], "each of 80 graphs"),
        (x, y + 0.5, "integer label"),
        (x, 0 * y, r"two classes.*classes of \[80\] graphs"),
        (x, (np.arange(80) < 4) * 1, r"folds=10 graphs.*\[76, 4\]"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate.graph_probe(features, labels)


def test_graphs_without_a_label_are_left_out_and_strings_are_labels(rng):
    x, y = examples(rng)
    known = rng.random(80) < 0.7
    settings = {"folds": 4, "regularizations": (2.0,)}
    expected = evaluate.graph_probe(x[known], y[known], **settings)
    assert evaluate.graph_probe(x, np.where(known, y, -1)[:, None], **settings) == expected
    names = np.array(["mutagenic", "harmless"])
    plain = evaluate.graph_probe(x, 1 - y, **settings)
    assert evaluate.graph_probe(x, names[y], **settings) == pytest.approx(plain)
