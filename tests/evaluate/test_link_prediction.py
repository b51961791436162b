"""Link prediction, compared with the definitions of its measures."""

import networkx as nx
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import evaluate, graphs


def by_definition(positive, negative):
    """AUC as the share of ordered pairs, average precision as the mean precision of each hit."""
    above = positive[:, None] > negative[None]
    auc = np.mean(above + 0.5 * (positive[:, None] == negative[None]))
    precisions = [
        np.sum(positive >= score) / (np.sum(positive >= score) + np.sum(negative >= score))
        for score in positive
    ]
    return {"auc": auc, "average_precision": np.mean(precisions)}


def test_measures_equal_their_definitions(rng):
    z = rng.normal(size=(40, 5)).astype("float32")
    pairs = rng.permutation(np.argwhere(np.triu(np.ones((40, 40)), 1)))
    positive, negative = pairs[:60], pairs[60:200]
    scores = [
        np.sum(z[p[:, 0]].astype("float64") * z[p[:, 1]], axis=1) for p in (positive, negative)
    ]
    expected = by_definition(*scores)
    assert evaluate.link_prediction(z, positive, negative) == pytest.approx(expected)
    tensors = map(tf.constant, (z, positive, negative))
    assert evaluate.link_prediction(*tensors) == pytest.approx(expected)

    def distance(pairs):
        return tf.norm(z[pairs[:, 0]] - z[pairs[:, 1]], axis=1)

    scores = [distance(p).numpy() for p in (positive, negative)]
    found = evaluate.link_prediction(distance, positive, negative)
    assert found == pytest.approx(by_definition(*scores))


def test_equal_scores_are_at_chance_level():
    found = evaluate.link_prediction(np.ones((4, 2)), [[0, 1]], [[1, 2], [2, 3], [0, 3]])
    assert found == {"auc": 0.5, "average_precision": 0.25}


def test_predicts_the_hidden_edges_of_a_graph_with_blocks():
    graph = nx.stochastic_block_model([30, 30, 30], 0.25 * np.eye(3) + 0.02, seed=0)
    split = graphs.split_edges(graph, seed=0)
    values, vectors = np.linalg.eigh(split.a.toarray())
    z = vectors[:, -3:] * np.sqrt(values[-3:])
    assert evaluate.link_prediction(z, split.test, split.test_negatives)["auc"] > 0.65


Z = np.ones((4, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"positive": []}, ValueError, "`positive` must hold at least one pair"),
        ({"negative": np.zeros((0, 2), int)}, ValueError, "`negative` must hold at least one"),
        ({"positive": [[0.0, 1.0]]}, TypeError, "`positive` must hold integers"),
        ({"positive": [0, 1]}, ValueError, r"\(pairs, 2\).*\(2,\)"),
        ({"negative": [[0, 4]]}, ValueError, "from 0 to 3.*from 0 to 4"),
        ({"negative": [[-1, 2]]}, ValueError, "from -1 to 2"),
        ({"z": np.full((4, 2), np.nan)}, ValueError, "`z` must be finite"),
        ({"z": np.ones(4)}, ValueError, "`z` must have shape"),
        ({"z": lambda pairs: np.zeros((len(pairs), 1))}, ValueError, "one score for each"),
        ({"z": lambda pairs: np.full(len(pairs), np.inf)}, ValueError, "1 of 1 NaN or infinite"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        evaluate.link_prediction(
            **{"z": Z, "positive": [[0, 1]], "negative": [[1, 2]], **arguments}
        )
