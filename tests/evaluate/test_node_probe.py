"""The node probe, compared with scikit-learn."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from keras_ssl import evaluate, graphs


def labelled_graph(rng, nodes=300):
    y = rng.integers(0, 3, nodes)
    part = rng.permutation(nodes) % 5
    splits = {"train": part == 0, "val": part == 1, "test": part > 1}
    x = np.eye(3)[y] + rng.normal(size=(nodes, 3))
    return graphs.Graph(a=np.eye(nodes), y=y, splits=splits), x


def test_classifier_is_chosen_on_the_validation_nodes(rng):
    graph, x = labelled_graph(rng)
    train, val, test = (graph.splits[name] for name in ("train", "val", "test"))
    x, y = x.astype("float32"), graph.y
    fitted = [LogisticRegression(C=c).fit(x[train], y[train]) for c in (0.01, 1.0, 100.0)]
    on_val = [one.score(x[val], y[val]) for one in fitted]
    on_test = [one.score(x[test], y[test]) for one in fitted]
    assert len(set(on_test)) > 1
    for values in ((0.01, 1.0, 100.0), (100.0, 1.0, 0.01)):
        order = [(0.01, 1.0, 100.0).index(c) for c in values]
        expected = on_test[max(order, key=lambda k: on_val[k])]
        assert evaluate.node_probe(x, graph, regularizations=values) == pytest.approx(expected)


def test_wrong_input_raises(rng):
    graph, x = labelled_graph(rng)
    without = dataclasses.replace(graph, splits={"train": graph.splits["train"]})
    for features, of, message in (
        (x[:-1], graph, "each of the 300 nodes.*299"),
        (np.full_like(x, np.nan), graph, "must be finite"),
        (x, without, "must have nodes in the splits"),
        (x, dataclasses.replace(graph, y=None), "integer label per node"),
        (x, dataclasses.replace(graph, y=np.ones((300, 2))), "integer label per node"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate.node_probe(features, of)


def test_nodes_without_a_label_are_left_out(rng):
    graph, x = labelled_graph(rng)
    missing = rng.random(300) < 0.4
    splits = {name: split & ~missing for name, split in graph.splits.items()}
    expected = evaluate.node_probe(x, dataclasses.replace(graph, splits=splits))
    y = np.where(missing, -1, graph.y)
    assert evaluate.node_probe(x, dataclasses.replace(graph, y=y)) == expected
    assert evaluate.node_probe(x, dataclasses.replace(graph, y=y[:, None])) == expected
    none = dataclasses.replace(graph, y=np.where(graph.splits["val"], -1, graph.y))
    with pytest.raises(ValueError, match="must have nodes in the splits"):
        evaluate.node_probe(x, none)
