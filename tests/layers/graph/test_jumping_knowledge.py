import keras
import numpy as np
import pytest

from keras_ssl.layers import ProjectionHead
from keras_ssl.layers.graph import GCNConv, GINConv, JumpingKnowledge, NodeMask
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree


def layers():
    return [GCNConv(4, normalize=True, activation="relu"), GCNConv(2, normalize=True)]


class TestConformance(GraphLayerTest):
    def test_with_the_input(self):
        self.check(JumpingKnowledge, weights=4, outputs=9, layers=layers(), include_input=True)

    def test_edge_features_reach_all_layers(self):
        from keras_ssl.layers.graph import GATConv

        steps = [GATConv(4), GATConv(2)]
        self.check(JumpingKnowledge, weights=12, outputs=6, edge_features=2, layers=steps)


def test_equals_the_layers_applied_one_by_one():
    graph = peers.graph("self_loops")
    steps = layers()
    layer = JumpingKnowledge(steps, include_input=True)
    out = assert_forms_agree_after_build(layer, graph)
    first = steps[0]([graph.x, graph.a])
    second = steps[1]([first, graph.a])
    np.testing.assert_allclose(out, np.concatenate([graph.x, first, second], -1), atol=1e-6)
    assert JumpingKnowledge(steps)([graph.x, graph.a]).shape == (12, 6)


def assert_forms_agree_after_build(layer, graph):
    layer.build([graph.x.shape, graph.a.shape])
    return assert_forms_agree(layer, graph.x, graph.a)


def test_the_mask_reaches_the_mlps_of_all_layers(rng):
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    mask = np.array([[True] * 4, [True] * 2 + [False] * 2])
    a = np.ones((2, 4, 4), "float32") * mask[:, :, None] * mask[:, None, :]
    head = {"normalization": True, "last_normalization": True}
    layer = JumpingKnowledge([GINConv(ProjectionHead((5, 5), **head)) for _ in range(2)])
    layer.build([x.shape, a.shape])
    outs = [
        np.asarray(layer([NodeMask()([features, mask]), a], training=True))[mask]
        for features in (x, np.where(mask[..., None], x, 100.0))
    ]
    np.testing.assert_allclose(*outs, rtol=1e-5, atol=1e-5)


def test_saves_and_loads(tmp_path):
    graph = peers.graph("self_loops")
    x, a = keras.Input(batch_shape=(12, 5)), keras.Input(batch_shape=(12, 12))
    model = keras.Model([x, a], JumpingKnowledge(layers(), include_input=True)([x, a]))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [graph.x, graph.a]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))


def test_bad_arguments_raise():
    with pytest.raises(TypeError, match=r"graph layers.*Dense"):
        JumpingKnowledge([keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="must not be empty"):
        JumpingKnowledge([])
