"""Tests shared by the graph attention layers."""

import keras
import numpy as np
import pytest

from keras_ssl import graphs
from tests.layers.graph import peers
from tests.layers.graph.conformance import assert_forms_agree, forms, tensors


def built(layer_class, case, order, **arguments):
    """Build the layer with PyTorch Geometric's weights, in the order of Keras."""
    weights = [case.weights[name] for name in order if name in case.weights]
    channels = weights[-1].shape[0] if arguments.get("concat_heads") is False else 4
    layer = layer_class(channels, attn_heads=3, **arguments)
    graph = case.graph
    layer.build([graph.x.shape, graph.a.shape] + ([] if graph.e is None else [graph.e.shape]))
    layer.set_weights([one.reshape(w.shape) for one, w in zip(weights, layer.weights, strict=True)])
    return layer


def assert_equals_peer(layer, case, with_edge_features=False):
    """Compare outputs and coefficients in all forms (dense only with edge features)."""
    graph = case.graph
    e = graph.dense(graph.e) if with_edge_features else None
    out = assert_forms_agree(layer, graph.x, graph.a, e)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)
    inputs = [graph.x, graph.a] if e is None else [graph.x, graph.a, e]
    _, scores = layer(inputs, return_attention_scores=True)
    attention = np.moveaxis(case.more["attention"], 0, -1)
    np.testing.assert_allclose(scores, attention, rtol=1e-5, atol=1e-5)
    if e is None and layer.add_self_loops:
        _, listed = layer([graph.x, graph.edges], return_attention_scores=True)
        assert_listed_scores(np.asarray(listed), attention, graph.edges)


def assert_listed_scores(scores, attention, edges):
    """Compare the scores of an edge list, followed by added self-loops, with those of a matrix."""
    dense = np.zeros_like(attention)
    count = len(edges["senders"])
    dense[edges["receivers"], edges["senders"]] = scores[:count]
    nodes = np.arange(len(dense))
    dense[nodes, nodes] += scores[count:]
    np.testing.assert_allclose(dense, attention, rtol=1e-5, atol=1e-5)


class Properties:
    """Tests to inherit, for the class `layer`."""

    layer = None

    @pytest.fixture
    def graph(self):
        return peers.graph("self_loops")

    def test_order_of_nodes_does_not_matter(self, graph, rng):
        layer = self.layer(4, attn_heads=2)
        out = np.asarray(layer([graph.x, graph.a]))
        order = rng.permutation(len(graph.x))
        permuted = layer([graph.x[order], graph.a[order][:, order]])
        np.testing.assert_allclose(permuted, out[order], rtol=1e-5, atol=1e-5)

    def test_order_and_padding_of_edges_do_not_matter(self, graph, rng):
        layer = self.layer(4, attn_heads=2)
        out = np.asarray(layer([graph.x, graph.edges]))
        padded = graphs.edge_list(graph.a, pad_to=40)
        order = rng.permutation(40)
        shuffled = {key: value[order] for key, value in padded.items()}
        np.testing.assert_allclose(layer([graph.x, shuffled]), out, rtol=1e-5, atol=1e-5)

    def test_isolated_nodes_attend_to_themselves_or_get_the_bias(self, graph):
        a = np.zeros_like(graph.a)
        nothing = {"senders": np.zeros(0, "int32"), "receivers": np.zeros(0, "int32")}
        alone = self.layer(4, attn_heads=2, seed=0)
        for form in (a, graphs.edge_list(a, pad_to=3), nothing):
            h, scores = alone([graph.x, form], return_attention_scores=True)
            assert np.abs(np.asarray(h)).min() > 0
            np.testing.assert_allclose(np.sum(scores), 2 * len(a), rtol=1e-6)
            without = self.layer(4, add_self_loops=False, bias_initializer="ones")
            np.testing.assert_allclose(without([graph.x, form]), 1.0)

    def test_large_scores_are_finite_in_half_precision(self, graph):
        layer = self.layer(4, attn_heads=2, dtype="mixed_float16")
        for form in forms(graph.a).values():
            out = np.asarray(layer(tensors([100 * graph.x, form])))
            assert out.dtype == np.float16
            assert np.isfinite(out).all()

    def test_dropout_of_coefficients_preserves_the_mean(self, graph):
        layer = self.layer(4, attn_heads=2, dropout_rate=0.5, seed=1)
        quiet = np.asarray(layer([graph.x, graph.edges], training=False))
        x, a = (np.repeat(one[None], 100, axis=0) for one in (graph.x, graph.a))
        for form in (a, graph.edges):
            drawn = np.asarray(layer([x, form], training=True))
            assert np.std(drawn, axis=0).max() > 0.1
            assert np.abs(np.mean(drawn, axis=0) - quiet).mean() < 0.2

    def test_sparse_features(self, graph):
        if keras.backend.backend() != "tensorflow":
            pytest.skip("sparse features are TensorFlow's here")
        layer = self.layer(4, attn_heads=2)
        x = np.where(graph.x > 0.5, graph.x, 0)
        out = layer(tensors([graphs.sparse_tensor(x), graph.a]))
        np.testing.assert_allclose(out, layer([x, graph.a]), rtol=1e-5, atol=1e-5)

    def test_a_model_that_returns_scores_saves_and_loads(self, graph, tmp_path):
        x, a = keras.Input(batch_shape=(12, 5)), keras.Input(batch_shape=(12, 12))
        outputs = self.layer(4, attn_heads=2, concat_heads=False)(
            [x, a], return_attention_scores=True
        )
        assert [one.shape[-1] for one in outputs] == [4, 2]
        model = keras.Model([x, a], outputs)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        for one, other in zip(loaded([graph.x, graph.a]), model([graph.x, graph.a]), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_compiles_with_padded_lists(self, graph):
        if keras.backend.backend() != "tensorflow":
            pytest.skip("XLA by tf.function")
        import tensorflow as tf

        layer = self.layer(4, attn_heads=2)
        edges = graphs.edge_list(graph.a, pad_to=40)
        expected = layer([graph.x, edges])
        compiled = tf.function(layer, jit_compile=True)
        np.testing.assert_allclose(compiled([graph.x, edges]), expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"channels": 0}, ValueError, "channels.*Received: channels=0"),
            ({"channels": 2, "attn_heads": 1.5}, TypeError, "Received: attn_heads=1.5"),
            ({"channels": 2, "dropout_rate": 1.5}, ValueError, "1.5"),
        ],
    )
    def test_bad_arguments_raise(self, arguments, error, message):
        with pytest.raises(error, match=message):
            self.layer(**arguments)

    @pytest.mark.parametrize("part", ["kernel", "attn_kernel", "bias"])
    def test_regularizers_and_constraints_by_the_names_of_spektral(self, part):
        """Each is applied to its own weights only."""
        layer = self.layer(
            3,
            attn_heads=2,
            bias_initializer="ones",
            **{f"{part}_regularizer": keras.regularizers.L2(0.5), f"{part}_constraint": Halved()},
        )
        layer.build([(5, 4), (5, 5), (5, 5, 2)])
        chosen = {
            "kernel": lambda name: name.endswith("kernel"),
            "attn_kernel": lambda name: name.startswith("attention"),
            "bias": lambda name: name == "bias",  # projections of version 2 have biases too
        }[part]
        weights = [one for one in layer.weights if chosen(one.name)]
        assert weights
        penalty = sum(0.5 * np.square(np.asarray(one)).sum() for one in weights)
        np.testing.assert_allclose(sum(float(one) for one in layer.losses), penalty, rtol=1e-5)
        assert {id(one) for one in layer.weights if one.constraint} == {id(one) for one in weights}
        copy = type(layer).from_config(layer.get_config())
        assert copy.get_config() == layer.get_config()

    def test_initializer_of_attention_vectors(self):
        given = self.layer(3, attn_heads=2, attn_kernel_initializer="ones")
        given.build([(5, 4), (5, 5)])
        vectors = [one for one in given.weights if one.name.startswith("attention")]
        assert vectors and all(np.all(np.asarray(one) == 1) for one in vectors)
        default = self.layer(3, attn_heads=2, kernel_initializer="ones")
        default.build([(5, 4), (5, 5)])
        assert all(
            np.all(np.asarray(one) == 1) for one in default.weights if "bias" not in one.name
        )


@keras.saving.register_keras_serializable(package="tests")
class Halved(keras.constraints.Constraint):
    """A constraint without arguments."""

    def __call__(self, w):
        return w / 2
