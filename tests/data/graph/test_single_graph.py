"""`single_graph`: its parts, and Keras' loss as the mean over a split."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data, graphs

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data is tested once"
)


@pytest.fixture
def graph(rng):
    a = sp.random_array((9, 9), density=0.3, rng=rng)
    return graphs.Graph(
        rng.normal(size=(9, 4)),
        a,
        e=rng.normal(size=(a.nnz, 2)),
        y=rng.integers(0, 3, size=9),
        splits={"train": np.arange(9) < 4, "val": np.arange(9) >= 7, "test": np.zeros(9, bool)},
    )


def dense(a):
    import tensorflow as tf

    if isinstance(a, dict):
        return graphs.from_edge_list({k: v.numpy() for k, v in a.items()}, 9).a.toarray()
    return (tf.sparse.to_dense(a) if isinstance(a, tf.SparseTensor) else a).numpy()


@pytest.mark.parametrize("adjacency", ["sparse", "edges", "dense"])
def test_parts(graph, adjacency):
    dataset = data.single_graph(graph, adjacency=adjacency)
    assert len(dataset) == 1
    (x, a, e), y = next(iter(dataset))
    np.testing.assert_array_equal(x, graph.x)
    np.testing.assert_array_equal(dense(a), graph.a.toarray())
    np.testing.assert_array_equal(y, graph.y)
    if adjacency == "dense":
        np.testing.assert_array_equal(e.numpy()[graph.a.nonzero()], graph.e)
        assert (e.numpy() != 0).sum() == graph.e.size
    else:
        np.testing.assert_array_equal(e, graph.e)


def test_sparse_features_stay_sparse(graph):
    import tensorflow as tf

    sparse = dataclasses.replace(graph, x=sp.csr_array(graph.x), e=None)
    (x, _), _ = next(iter(data.single_graph(sparse)))
    assert isinstance(x, tf.SparseTensor)
    np.testing.assert_array_equal(tf.sparse.to_dense(x), graph.x)


def test_without_labels(graph):
    (inputs,) = next(iter(data.single_graph(dataclasses.replace(graph, y=None))))
    assert len(inputs) == 3


def test_loss_is_the_mean_over_the_split(graph):
    graph = dataclasses.replace(graph, e=None)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, inputs):
            return keras.ops.matmul(inputs[1], self.dense(inputs[0]))

    model = Model()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, weighted_metrics=["accuracy"])
    result = model.evaluate(data.single_graph(graph, "train"), return_dict=True, verbose=0)
    logits = graph.a.toarray() @ model.dense(graph.x).numpy().astype(float)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = graph.y[:4]
    expected = -np.log(chances[np.arange(4), labels]).mean()
    assert result["loss"] == pytest.approx(expected, rel=1e-4)
    assert result["accuracy"] == pytest.approx((logits[:4].argmax(1) == labels).mean())
    history = model.fit(data.single_graph(graph, "train"), epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": np.ones(9, bool)}, "`split` must be one of"),
        ({"split": "training"}, r"`split` must be one of \['test', 'train', 'val'\].*'training'"),
        ({"split": "test"}, "`split` must hold nodes.*'test'"),
        ({"adjacency": "coo"}, "`adjacency` must be 'sparse', 'edges' or 'dense'.*'coo'"),
    ],
)
def test_bad_arguments(graph, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.single_graph(graph, **arguments)


def test_invalid_graphs_raise(graph):
    with pytest.raises(ValueError, match="`graph` must have features"):
        data.single_graph(dataclasses.replace(graph, x=None))
    with pytest.raises(ValueError, match="`split` needs labels of the 9 nodes"):
        data.single_graph(dataclasses.replace(graph, y=3), "train")
    with pytest.raises(ValueError, match="must have nodes"):
        data.single_graph(graphs.Graph(np.zeros((0, 3)), sp.csr_array((0, 0))))
    with pytest.raises(TypeError, match="`graph` must be a graph"):
        data.single_graph(None)
