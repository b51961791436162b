"""Custom layers on `MessagePassing`: of other widths, and written as those of Spektral."""

import keras
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import GCNConv, GraphSequential, MessagePassing
from tests.layers.graph.conformance import tensors

NODES = 5


def graph():
    rng = np.random.default_rng(0)
    a = rng.uniform(1, 2, size=(NODES, NODES)) * (rng.uniform(size=(NODES, NODES)) < 0.5)
    return rng.normal(size=(NODES, 3)).astype("float32"), a.astype("float32")


def forms(a):
    return {"dense": a, "edges": graphs.edge_list(a), "sparse": graphs.sparse_tensor(a)}


class BothEnds(MessagePassing):
    """Messages `[x_i, x_j]`, twice as wide as the features."""

    def message(self, x, edges, e=None):
        ends = edges.from_receivers(x), edges.from_senders(x)
        wide = ends[0] + ends[1]
        return keras.ops.concatenate([end + 0 * wide for end in ends], axis=-1)


class BothEndsAsInSpektral(MessagePassing):
    """The same as one would write it for Spektral."""

    def message(self, x, **kwargs):
        return keras.ops.concatenate([self.get_targets(x), self.get_sources(x)], axis=-1)


class OldNames(MessagePassing):
    """The same with the names of earlier versions of Spektral."""

    def message(self, x):
        return keras.ops.concatenate([self.get_i(x), self.get_j(x)], axis=-1)


def both_ends(x, a):
    exist = a != 0
    return np.concatenate([exist.sum(1)[:, None] * x, exist @ x], axis=1)


@pytest.mark.parametrize("layer", [BothEnds, BothEndsAsInSpektral, OldNames])
@pytest.mark.parametrize("form", ["dense", "edges", "sparse"])
def test_messages_of_another_width(layer, form):
    x, a = graph()
    given = forms(a)[form]
    found = layer()(tensors([x, given]))
    np.testing.assert_allclose(found, both_ends(x, a), rtol=1e-5)
    model = GraphSequential([layer(), GCNConv(2, kernel_initializer="ones")])
    np.testing.assert_allclose(
        model(tensors([x, given])), a @ both_ends(x, a).sum(axis=1)[:, None] * [1, 1], rtol=1e-5
    )


@pytest.mark.parametrize("layer", [BothEnds, BothEndsAsInSpektral])
def test_symbolic_shapes(layer):
    x = keras.Input((3,))
    adjacencies = [
        keras.Input((None,)),
        {n: keras.Input((), dtype="int32") for n in ("senders", "receivers")},
    ]
    for a in adjacencies:
        assert layer()([x, a]).shape == (None, 6)
    if keras.backend.backend() == "tensorflow":
        assert layer()([x, keras.Input((None,), sparse=True)]).shape == (None, 6)
    assert layer()([keras.Input((NODES, 3)), keras.Input((NODES, NODES))]).shape == (None, NODES, 6)
    assert layer().compute_output_shape([(NODES, 3), (NODES, NODES)]) == (NODES, 6)
    model = keras.Model([x, adjacencies[0]], layer()([x, adjacencies[0]]))
    features, a = graph()
    np.testing.assert_allclose(model([features, a]), both_ends(features, a), rtol=1e-5)


class SpektralStyle(MessagePassing):
    """Spektral's guide to layers of one's own: its own `call`, arguments by name, an activation."""

    def __init__(self, channels, **kwargs):
        super().__init__(aggregate="mean", **kwargs)
        self.width = channels

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[0][-1], self.width), initializer="ones")

    def call(self, inputs):
        x, a, e = self.get_inputs(inputs)
        return self.propagate(x=keras.ops.matmul(x, self.kernel), a=a, e=e, factor=2.0)

    def message(self, x, e=None, factor=None, **kwargs):
        return factor * e * self.get_sources(x)

    def aggregate(self, messages, **kwargs):
        return super().aggregate(messages)

    def update(self, embeddings, a=None):
        assert a is not None
        return self.activation(embeddings)


@pytest.mark.parametrize("form", ["edges", "sparse"])
def test_a_layer_in_the_style_of_spektral(form):
    x, a = graph()
    rows, columns = np.nonzero(a)
    e = np.arange(len(rows), dtype="float32")[:, None]
    layer = SpektralStyle(4, activation="relu")
    found = layer(tensors([x, forms(a)[form], e]))
    sent = x.sum(axis=1, keepdims=True) * np.ones(4)
    expected = np.zeros((NODES, 4))
    for row, column, value in zip(rows, columns, e, strict=True):
        expected[row] += 2 * value * sent[column] / (a[row] != 0).sum()
    np.testing.assert_allclose(found, np.maximum(expected, 0), rtol=1e-5, atol=1e-5)


def test_the_default_methods_are_those_of_the_layer():
    class Default(MessagePassing):
        def message(self, x):
            return super().message(x)

    x, a = graph()
    np.testing.assert_allclose(Default()([x, a]), a @ x, rtol=1e-5, atol=1e-6)


def test_config_of_spektrals_arguments():
    layer = MessagePassing(aggregate="max", activation="relu")
    again = MessagePassing.from_config(layer.get_config())
    assert again.aggregation == "max" and again.activation is keras.activations.relu
    assert "activation" not in MessagePassing().get_config()


@pytest.mark.parametrize("vector", [NODES - 1, NODES + 1, 1])
def test_a_vector_of_another_length_is_no_index_of_graphs(vector):
    x, a = graph()
    model = GraphSequential([GCNConv(2)])
    with pytest.raises(ValueError, match=r"`i`.*must be a vector of length 5.*shape"):
        model([x, a, np.zeros(vector, "int32")])
    with pytest.raises(ValueError, match=r"`mask`.*must have shape \(5,\)"):
        model([x, a, np.ones(vector, bool)])
    with pytest.raises(ValueError, match="x with a batch axis, and a vector of 2"):
        model([np.stack([x, x]), np.stack([a, a]), np.zeros(2, "int32")])
