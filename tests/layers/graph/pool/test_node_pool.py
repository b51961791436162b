"""Tests shared by all pooling layers, and the formula of each."""

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers.graph import (
    AttentionPool,
    GraphSequential,
    MaxPool,
    MeanPool,
    NodeMask,
    Set2Set,
    SumPool,
)
from tests.layers.graph import peers

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs tf.function"
)
to_numpy = keras.ops.convert_to_numpy

POOLS = {
    "sum": SumPool,
    "mean": MeanPool,
    "max": MaxPool,
    "attention": lambda **k: AttentionPool(keras.layers.Dense(4, activation="tanh"), **k),
    "set2set": lambda **k: Set2Set(3, **k),
}
SIZES = (5, 1, 4, 2)


@pytest.fixture(params=POOLS)
def make(request):
    return POOLS[request.param]


@pytest.fixture
def x(rng):
    return rng.normal(size=(12, 3)).astype("float32")


@pytest.fixture
def i():
    return np.repeat(np.arange(4), SIZES).astype("int32")


def pooled_one_by_one(pool, x):
    """Pool each graph separately, in single mode."""
    ends = np.cumsum(SIZES)
    graphs = [x[end - size : end] for size, end in zip(SIZES, ends, strict=True)]
    return np.concatenate([to_numpy(pool(graph)) for graph in graphs])


class TestConformance(TestCase):
    def check(self, layer, weights, channels=3, **arguments):
        x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
        for inputs, graphs in (
            (x, 2),
            (x[0], 1),
            ((x[0], np.array([0, 0, 1, 2, 2], "int32")), 3),
        ):
            self.run_layer_test(
                layer,
                init_kwargs={"graphs": 3, **arguments},
                input_data=inputs,
                expected_output_shape=(graphs, channels),
                expected_num_trainable_weights=weights,
                supports_masking=True,
            )

    def test_without_weights(self):
        self.check(SumPool, 0)
        self.check(MeanPool, 0)
        self.check(MaxPool, 0)

    def test_attention(self):
        self.check(AttentionPool, 1)
        networks = {"transform": keras.layers.Dense(6), "gate": keras.layers.Dense(6)}
        self.check(AttentionPool, 4, channels=6, **networks)

    def test_set2set(self):
        self.check(Set2Set, 3, channels=6, steps=2)


@pytest.mark.parametrize("name", ["sum", "mean", "max"])
def test_equals_the_definition_and_pytorch_geometric(name):
    case = peers.case(f"pool/{name}")
    out = POOLS[name]()([case.graph.x, case.graph.i])
    by_graph = [case.graph.x[case.graph.i == g].astype("float64") for g in range(4)]
    expected = [getattr(np, name)(nodes, axis=0) for nodes in by_graph]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-6)


def test_attention_equals_pytorch_geometric():
    case = peers.case("pool/attention")
    pool = AttentionPool(keras.layers.Dense(4), keras.layers.Dense(1))
    pool.build([case.graph.x.shape, case.graph.i.shape])
    pool.gate.set_weights([case.weights["gate_kernel"], case.weights["gate_bias"]])
    pool.transform.set_weights([case.weights["kernel"], case.weights["bias"]])
    out = pool([case.graph.x, case.graph.i])
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("t", [1.0, 2.5])
def test_a_gate_with_many_channels_weights_each_feature(t):
    """PyTorch Geometric's softmax aggregation: the gate is the feature times t."""
    case = peers.case(f"pool/softmax_{t}")
    pool = AttentionPool(gate=keras.layers.Rescaling(t))
    out = pool([case.graph.x, case.graph.i])
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


def test_set2set_equals_pytorch_geometric():
    case = peers.case("pool/set2set")
    pool = Set2Set(int(case.more["steps"]))
    pool.build([case.graph.x.shape, case.graph.i.shape])
    names = ("lstm_kernel", "lstm_recurrent_kernel", "lstm_bias")
    pool.cell.set_weights([case.weights[name] for name in names])
    out = pool([case.graph.x, case.graph.i])
    np.testing.assert_allclose(out, case.output, rtol=1e-5, atol=1e-5)


def test_all_modes_agree(make, x, i):
    pool = make()
    expected = pooled_one_by_one(pool, x)
    np.testing.assert_allclose(pool([x, i]), expected, rtol=1e-5, atol=1e-6)
    batch, mask = np.full((4, 7, 3), 9, "float32"), np.zeros((4, 7), bool)
    for graph, size in enumerate(SIZES):
        batch[graph, :size], mask[graph, :size] = x[i == graph], True
    np.testing.assert_allclose(pool(batch, mask=mask), expected, rtol=1e-5, atol=1e-6)
    masked = NodeMask()([batch, mask])
    np.testing.assert_allclose(pool(masked), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pool(batch[0], mask=mask[0]), expected[:1], rtol=1e-5, atol=1e-6)


def test_padding_of_a_union_is_ignored(make, x, i):
    pool = make(graphs=4)
    expected = to_numpy(pool([x, i]))
    padded = np.concatenate([x, np.full((3, 3), 7, "float32")])
    np.testing.assert_allclose(
        pool([padded, np.concatenate([i, [4, 9, -1]])]), expected, rtol=1e-5, atol=1e-6
    )
    # negative indices are padding also without `graphs`
    pool = make()
    expected = to_numpy(pool([x, i]))
    found = pool([padded, np.concatenate([i, [-1, -1, -1]])])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_order_of_nodes_does_not_matter(make, x, i, rng):
    pool = make()
    expected = to_numpy(pool([x, i]))
    order = rng.permutation(12)
    np.testing.assert_allclose(pool([x[order], i[order]]), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pool(x[order]), to_numpy(pool(x)), rtol=1e-4, atol=1e-5)


def test_a_graph_without_nodes_gives_zeros(make, x):
    pool = make(graphs=3)
    out = to_numpy(pool([x, np.repeat([0, 2], 6)]))
    read = slice(3, None) if isinstance(pool, Set2Set) else slice(None)
    np.testing.assert_array_equal(out[1, read], 0)
    assert np.isfinite(out).all()
    out = to_numpy(pool(np.stack([x, x]), mask=np.repeat([[True], [False]], 12, axis=1)))
    np.testing.assert_array_equal(out[1, read], 0)
    assert np.isfinite(out).all()


@only_tensorflow
def test_gradients_are_finite_where_a_graph_has_no_nodes(make, x):
    import tensorflow as tf

    pool, x = make(graphs=3), tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        out = tf.reduce_sum(pool([x, np.repeat([0, 2], 6)]) ** 2)
        out += tf.reduce_sum(pool(x[None], mask=np.zeros((1, 12), bool)) ** 2)
    assert np.isfinite(tape.gradient(out, x)).all()


@only_tensorflow
def test_compiled_by_xla(make, x, i):
    import tensorflow as tf

    pool = make(graphs=4)
    expected = to_numpy(pool([x, i]))
    compiled = tf.function(lambda x, i: pool([x, i]), jit_compile=True)
    out = compiled(tf.constant(x), tf.constant(i))
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


def test_a_model_is_not_compiled_where_shapes_depend_on_values(make):
    inputs = [keras.Input((3,)), keras.Input((), dtype="int32")]
    for graphs, is_compiled in ((None, False), (4, True)):
        pool = make(graphs=graphs)
        pool(inputs)
        assert pool.supports_jit is is_compiled


def test_compiled_by_jax(make, x, i):
    if keras.backend.backend() != "jax":
        pytest.skip("needs JAX")
    import jax

    pool = make(graphs=4)
    expected = to_numpy(pool([x, i]))
    np.testing.assert_allclose(
        jax.jit(lambda x, i: pool([x, i]))(x, i), expected, rtol=1e-5, atol=1e-6
    )


def test_sums_over_many_float16_nodes_are_computed_in_float32(make):
    """4000 ones would sum to 2048 in float16; the square of 300 would overflow."""
    x = np.full((4000, 3), 300, "float16")
    pool = make(dtype="mixed_float16")
    pool.build(x.shape)
    if isinstance(pool, SumPool):
        assert float(pool(np.ones((4000, 3), "float16"))[0, 0]) == 4000
        return
    out = pool(x)
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    assert np.isfinite(to_numpy(out)).all()
    if isinstance(pool, MeanPool):
        np.testing.assert_array_equal(to_numpy(out), 300)


def test_float64_is_preserved(x, i):
    x = x.astype("float64")
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has float64 where it was asked for")
    out = MeanPool(dtype="float64")([x, i])
    expected = [x[i == g].mean(axis=0) for g in range(4)]
    np.testing.assert_allclose(out, expected, rtol=1e-12)


@only_tensorflow
def test_saved_and_loaded_in_a_model(make, x, i, tmp_path):
    inputs = [keras.Input((3,)), keras.Input((), dtype="int32")]
    model = keras.Model(inputs, make(graphs=4)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model([x, i]), loaded([x, i]))
    assert model.output_shape[0] == 4


def test_in_a_graph_sequential(x, i):
    a = np.eye(12, dtype="float32")
    model = GraphSequential([MeanPool(), keras.layers.Dense(2)])
    assert model([x, a, i]).shape == (4, 2)
    assert model([x, a]).shape == (1, 2)
    mask = np.ones((2, 6), bool)
    assert model([x.reshape(2, 6, 3), np.zeros((2, 6, 6)), mask]).shape == (2, 2)
    half = model([x, a, np.arange(12) < 6])
    np.testing.assert_allclose(half, model([x[:6], a[:6, :6]]), rtol=1e-5)


def test_bad_inputs_raise(make, x, i):
    with pytest.raises(TypeError, match=r"`i`.*integers"):
        make()([x, i.astype("float32")])
    with pytest.raises(ValueError, match=r"`i`.*\(12, 3\) and \(11,\)"):
        make()([x, i[1:]])
    with pytest.raises(ValueError, match="disjoint mode features"):
        make()([x[None], i])
    with pytest.raises(ValueError, match=r"\(nodes, features\).*\(12,\)"):
        make()(x[:, 0])
    with pytest.raises(ValueError, match=r"`graphs`.*0"):
        make(graphs=0)
    with pytest.raises(ValueError, match=r"`x`, or on `\[x, i\]`"):
        make()([x, i, i])


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="`steps`"):
        Set2Set(0)
    with pytest.raises(TypeError, match="`gate`"):
        AttentionPool(gate=3)
    with pytest.raises(TypeError, match="`transform`"):
        AttentionPool(4)
