import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl.layers.graph import (
    GCNConv,
    GraphSequential,
    MessagePassing,
    NodeMask,
    TopKPool,
    VirtualNode,
)

I = np.array([0, 0, 0, 1, 1, 2], "int32")  # noqa: E741


class TestConformance(TestCase):
    def test_single_disjoint_and_batch(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(6, 3)).astype("float32")
        for data, shape, arguments in (
            (x, (6,), {}),
            ((x, I), (6,), {"graphs": 6, "aggregation": "mean"}),
            (np.stack([x, x]), (2, 6), {"network": keras.layers.Dense(3, "tanh")}),
        ):
            self.run_layer_test(
                VirtualNode,
                init_kwargs=arguments,
                input_data=data,
                expected_output_shape=(*shape, 3),
                expected_num_trainable_weights=2 if "network" in arguments else 4,
                supports_masking=True,
            )


@pytest.fixture
def x(rng):
    return rng.normal(size=(6, 4)).astype("float32")


def expected(layer, x, i, state=0.0):
    """The definition, graph by graph in float64."""
    out, states = x.astype("float64"), []
    state = np.broadcast_to(state, (i.max() + 1, 4))
    for graph in range(i.max() + 1):
        nodes = x[i == graph].astype("float64")
        s = getattr(nodes, layer.aggregation)(axis=0) + state[graph]
        for kernel, bias in np.reshape(np.array(layer.get_weights(), object), (-1, 2)):
            s = np.maximum(s @ kernel + bias, 0)
        out[i == graph] += s
        states.append(s)
    return out, np.array(states)


@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_equals_the_definition_in_every_mode(x, aggregation):
    layer = VirtualNode(aggregation=aggregation, return_state=True)
    h, state = layer([x, I])
    wanted, states = expected(layer, x, I)
    assert (states > 0).any()
    np.testing.assert_allclose(h, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(state, states, rtol=1e-5, atol=1e-5)
    h, state = layer(x)
    wanted, states = expected(layer, x, np.zeros(6, int))
    np.testing.assert_allclose(h, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(state, states, rtol=1e-5, atol=1e-5)
    padded = np.full((3, 3, 4), 7.0, "float32")
    mask = np.arange(3) < np.array([[3], [2], [1]])
    padded[mask] = x
    h, state = layer(padded, mask=mask)
    wanted, states = expected(layer, x, I)
    np.testing.assert_allclose(ops.convert_to_numpy(h)[mask], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(h)[~mask], 7.0)
    np.testing.assert_allclose(state, states, rtol=1e-5, atol=1e-5)


def test_equals_a_node_connected_to_all_others(x):
    """The virtual node as a seventh node with edges from all others."""
    layer = VirtualNode(keras.layers.Identity(), return_state=True)
    state = np.array([[1.0, 2.0, 3.0, 4.0]], "float32")
    _, found = layer([x, state])
    a = np.zeros((7, 7), "float32")
    a[6] = 1
    nodes = np.concatenate([x, state])
    np.testing.assert_allclose(found[0], MessagePassing()([nodes, a])[6], rtol=1e-5, atol=1e-5)


def test_states_are_passed_on(x):
    first, second = VirtualNode(return_state=True), VirtualNode(return_state=True)
    h, state = first([x, I])
    out, last = second([h, I, state])
    h, state = ops.convert_to_numpy(h), ops.convert_to_numpy(state)
    wanted, states = expected(second, h, I, state)
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(last, states, rtol=1e-5, atol=1e-5)
    assert abs(wanted - expected(second, h, I)[0]).max() > 0.01


def test_padding_of_a_union_is_ignored(x):
    layer = VirtualNode(graphs=4, return_state=True)
    h, state = layer([x, I])
    more = np.concatenate([x, np.full((2, 4), 7.0, "float32")])
    padded, states = layer([more, np.concatenate([I, [-1, 4]]).astype("int32")])
    np.testing.assert_allclose(padded[:6], h, rtol=1e-6)
    np.testing.assert_array_equal(padded[6:], 7.0)
    np.testing.assert_allclose(states, state, rtol=1e-6)


def test_a_functional_model_carries_states_and_is_saved(x, tmp_path):
    inputs = keras.Input((3, 4)), keras.Input((3,), dtype="bool")
    h = NodeMask()(list(inputs))
    h, state = VirtualNode(return_state=True)(h)
    h, _ = VirtualNode(return_state=True)([h, state])
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling1D()(h))
    mask = np.array([[True, True, False], [True, True, True]])
    x = x.reshape(2, 3, 4)
    wanted = model([x, mask])
    changed = np.where(mask[..., None], x, 9.0).astype("float32")
    np.testing.assert_allclose(model([changed, mask]), wanted, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded([x, mask]), wanted, rtol=1e-6)


def test_between_graph_layers(x):
    network = GraphSequential([GCNConv(4, normalize=True), VirtualNode(), GCNConv(2)])
    a = (I[:, None] == I).astype("float32")
    together = ops.convert_to_numpy(network([x, a, I]))
    for graph in range(3):
        own = graph == I
        alone = network([x[own], a[own][:, own]])
        np.testing.assert_allclose(together[own], alone, rtol=1e-5, atol=1e-5)


def test_order_of_nodes_does_not_matter(x, rng):
    layer, order = VirtualNode(), rng.permutation(6)
    wanted = ops.convert_to_numpy(layer([x, I]))[order]
    np.testing.assert_allclose(layer([x[order], I[order]]), wanted, rtol=1e-5, atol=1e-5)


def test_half_precision_is_close_to_float32(x):
    layer = VirtualNode(dtype="mixed_float16")
    out = ops.convert_to_numpy(layer([x, I]))
    assert out.dtype == "float16" and np.isfinite(out).all()
    np.testing.assert_allclose(out, expected(layer, x, I)[0], atol=3e-2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles with tf.function")
def test_compiles_with_xla(x):
    import tensorflow as tf

    layer = VirtualNode(graphs=3)
    wanted = layer([x, I])
    compiled = tf.function(layer, jit_compile=True)
    out = compiled([tf.constant(x), tf.constant(I)])
    np.testing.assert_allclose(out, wanted, rtol=1e-5, atol=1e-5)


def test_bad_arguments_raise(x):
    with pytest.raises(ValueError, match="`aggregation` must be one of"):
        VirtualNode(aggregation="max")
    with pytest.raises(ValueError, match="`graphs` must be a positive integer"):
        VirtualNode(graphs=0)
    with pytest.raises(TypeError, match="`network` must be a Keras layer"):
        VirtualNode(network="relu")
    with pytest.raises(ValueError, match=r"`network` must return.*4.*returns 3"):
        VirtualNode(keras.layers.Dense(3))(x)
    with pytest.raises(ValueError, match=r"`\[x, i\]`.*shape \(graphs, features\)"):
        VirtualNode()([x, x, x])
    with pytest.raises(ValueError, match=r"shape \(nodes,\)"):
        VirtualNode()([x, I[:5]])
    with pytest.raises(TypeError, match=r"`i`.*must hold integers"):
        VirtualNode()([x, I.astype("float32")])


def test_a_model_is_not_compiled_where_shapes_depend_on_values():
    x, a, i = keras.Input((3,)), keras.Input((None,)), keras.Input((), dtype="int32")
    for graphs, is_compiled in ((None, False), (4, True)):
        node, pool = VirtualNode(graphs=graphs), TopKPool(graphs=graphs)
        node([x, i])
        pool([x, a, i])
        assert node.supports_jit is pool.supports_jit is is_compiled
