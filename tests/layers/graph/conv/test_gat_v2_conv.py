import keras
import numpy as np
import pytest

from keras_ssl.layers.graph import GATConv, GATv2Conv
from tests.layers.graph import peers
from tests.layers.graph.conformance import GraphLayerTest
from tests.layers.graph.conv.attention import Properties, assert_equals_peer, built

ORDER = (
    "sender_kernel",
    "sender_bias",
    "receiver_kernel",
    "receiver_bias",
    "attention",
    "edge_kernel",
    "bias",
)


class TestConformance(GraphLayerTest):
    def test_concatenated_heads(self):
        self.check(GATv2Conv, weights=6, outputs=6, channels=3, attn_heads=2)

    def test_averaged_heads_with_edge_features(self):
        settings = {"channels": 3, "attn_heads": 2, "concat_heads": False, "share_weights": True}
        self.check(GATv2Conv, weights=3, edge_features=2, use_bias=False, **settings)


class TestProperties(Properties):
    layer = GATv2Conv


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("concat", {}),
        ("mean", {"concat_heads": False}),
        ("shared", {"share_weights": True}),
        ("no_self_loops_added", {"add_self_loops": False}),
        ("edge_features", {"add_self_loops": False}),
    ],
)
def test_equals_pytorch_geometric(name, arguments):
    case = peers.case(f"gat_v2/{name}")
    layer = built(GATv2Conv, case, ORDER, **arguments)
    assert_equals_peer(layer, case, with_edge_features=name == "edge_features")


def test_rankings_differ_between_nodes_unlike_in_version_1(rng):
    x = rng.normal(size=(20, 3)).astype("float32")

    def favourites(layer):
        _, scores = layer([x, np.ones((20, 20))], return_attention_scores=True)
        return len(set(np.argmax(np.asarray(scores)[..., 0], axis=1).tolist()))

    # several draws, since not all have scores that differ enough between these nodes
    assert all(favourites(GATConv(8)) == 1 for _ in range(5))
    wide = keras.initializers.RandomNormal(stddev=1.0)
    assert any(favourites(GATv2Conv(8, kernel_initializer=wide.clone())) > 1 for _ in range(5))
