"""Subtree features: the definition of the kernel, and a classifier."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest

from keras_ssl import data, graphs


def kernel_by_strings(first, second, iterations):
    """The subtree kernel with uncompressed labels: nested tuples."""
    total = 0
    labels = [{v: (label,) for v, label in enumerate(labels)} for _, labels in (first, second)]
    for _ in range(iterations + 1):
        found = [Counter(one.values()) for one in labels]
        total += sum(found[0][key] * found[1][key] for key in found[0])
        labels = [
            {v: (one[v], *sorted(one[u] for u in graph[v])) for v in graph}
            for (graph, _), one in zip((first, second), labels, strict=True)
        ]
    return total


def labelled_graphs(count=6):
    for seed in range(count):
        graph = nx.gnp_random_graph(7 + seed, 0.3, seed=seed)
        yield graph, [v % 3 for v in graph]


@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_inner_products_equal_the_subtree_kernel(iterations):
    pairs = list(labelled_graphs())
    counts = graphs.SubtreeFeatures(iterations).fit_transform(pairs)
    expected = [[kernel_by_strings(one, other, iterations) for other in pairs] for one in pairs]
    np.testing.assert_array_equal((counts @ counts.T).toarray(), expected)


def test_colors_not_seen_in_training_are_ignored():
    features = graphs.SubtreeFeatures(1).fit([nx.cycle_graph(4)])
    np.testing.assert_array_equal(features.transform([nx.path_graph(4)]).sum(axis=1), [4 + 2])
    assert features.transform([nx.complete_graph(9)]).toarray().sum() == 9


def test_works_in_scikit_learn_pipelines_and_searches():
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

    rings = [nx.cycle_graph(n) for n in range(5, 17)]
    paths = [nx.path_graph(n) for n in range(5, 17)]
    y = np.repeat([0, 1], 12)
    pipeline = make_pipeline(graphs.SubtreeFeatures(), SVC(kernel="linear"))
    search = GridSearchCV(pipeline, {"subtreefeatures__iterations": [0, 2]}, cv=3)
    search.fit(rings + paths, y)
    assert search.best_params_ == {"subtreefeatures__iterations": 2} and search.best_score_ == 1
    assert clone(graphs.SubtreeFeatures(5)).iterations == 5


def test_svm_on_mutag_reaches_the_known_accuracy(graph_dir):
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import SVC

    loaded = data.load_graph("mutag", graph_dir)
    pairs = [(one.a, np.asarray(one.x).argmax(axis=1)) for one in loaded]
    y = np.array([int(one.y) for one in loaded])
    assert len(pairs) == 188
    classifier = make_pipeline(graphs.SubtreeFeatures(2), Normalizer(), SVC(kernel="linear", C=100))
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    assert (
        cross_val_score(classifier, pairs, y, cv=folds).mean() >= 0.8
    )  # the larger class has 0.66


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: graphs.SubtreeFeatures(-1), ValueError, "at least 0"),
        (lambda: graphs.SubtreeFeatures(1.5), TypeError, "integer"),
        (lambda: graphs.SubtreeFeatures().fit([]), ValueError, "at least one graph"),
        (lambda: graphs.SubtreeFeatures().fit(np.eye(2)), TypeError, "list of graphs"),
        (lambda: graphs.SubtreeFeatures().fit(nx.path_graph(2)), TypeError, "list of graphs"),
        (lambda: graphs.SubtreeFeatures().transform([np.eye(2)]), ValueError, "before"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
