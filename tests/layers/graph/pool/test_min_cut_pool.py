import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl import data, graphs
from keras_ssl.layers.graph import GCNConv, GCSConv, GraphSequential, MeanPool, MinCutPool, TopKPool
from tests.layers.graph.conformance import IS_TENSORFLOW, forms, tensors

SIZES = (5, 1, 6, 4)


class TestConformance(TestCase):
    def test_all_modes(self):
        x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
        a = np.ones((5, 5), "float32")
        i = np.array([0, 0, 1, 1, 1], "int32")
        mask = np.array([[True] * 5, [True] * 3 + [False] * 2])
        for inputs, batch in (
            ((x[0], a), ()),
            ((x[0], graphs.edge_list(a), i), (2,)),
            ((x, np.stack([a, a]), mask), (2,)),
            ((x, a), (2,)),
        ):
            self.run_layer_test(
                MinCutPool,
                init_kwargs={"k": 4, "mlp_hidden": [6], "graphs": 2},
                input_data=inputs,
                expected_output_shape=((*batch, 4, 3), (*batch, 4, 4)),
                expected_num_trainable_weights=4,
                expected_num_losses=2,
            )


def undirected(rng, n):
    a = np.triu(rng.uniform(0.5, 2, size=(n, n)) * (rng.uniform(size=(n, n)) < 0.7))
    return (a + a.T).astype("float32")


def formula(layer, x, a):
    """The paper's, in float64: x, a, S and both losses."""
    x, a = x.astype("float64"), a.astype("float64")
    *hidden, kernel, bias = (np.asarray(one, "float64") for one in layer.get_weights())
    h = x
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        h = np.maximum(h @ w + b, 0)
    s = np.exp(h @ kernel + bias)
    s /= s.sum(1, keepdims=True)
    pooled = s.T @ a @ s
    volume = np.trace(s.T @ np.diag(a.sum(1)) @ s)
    cut = -np.trace(pooled) / volume if volume else 0.0
    overlaps, k = s.T @ s, s.shape[1]
    orthogonality = np.linalg.norm(overlaps / np.linalg.norm(overlaps) - np.eye(k) / np.sqrt(k))
    np.fill_diagonal(pooled, 0)
    root = np.sqrt(pooled.sum(1))
    root = np.where(root > 0, root, np.inf)
    return s.T @ x, pooled / root[:, None] / root, s, cut, orthogonality


def assert_equal(layer, outputs, expected):
    """Compare outputs and losses with those of each graph by the formula."""
    for out, one in zip(outputs, zip(*expected, strict=True), strict=False):
        np.testing.assert_allclose(out, np.stack(one), rtol=1e-4, atol=1e-5)
    losses = np.mean([one[3:] for one in expected], axis=0)
    np.testing.assert_allclose([float(one) for one in layer.losses], losses, rtol=1e-4, atol=1e-5)


def make(**more):
    return MinCutPool(3, mlp_hidden=[8], bias_initializer="uniform", return_selection=True, **more)


@pytest.fixture
def x(rng):
    return rng.normal(size=(7, 4)).astype("float32")


def test_equals_its_formula_in_all_forms(x, rng):
    a, layer = undirected(rng, 7), make()
    for name, form in forms(a).items():
        outputs = layer(tensors([x, form]))
        assert [tuple(one.shape) for one in outputs] == [(3, 4), (3, 3), (7, 3)], name
        expected = formula(layer, x, a)
        assert_equal(layer, [one[None] for one in outputs], [expected])


def test_batch_mixed_and_disjoint_mode_equal_single_graphs(rng):
    members = [graphs.Graph(rng.normal(size=(n, 4)), undirected(rng, n), y=0) for n in SIZES]
    layer = make()
    layer.build([(5, 4), (5, 5)])
    expected = [formula(layer, one.x, one.a.toarray()) for one in members]
    expected = [(one[0], one[1], *one[3:]) for one in expected]  # S has a row for each node
    expected = [(x, a, None, cut, other) for x, a, cut, other in expected]
    if IS_TENSORFLOW:
        ((padded, _),) = data.padded_batches(members, 4, nodes=8)
        assert_equal(layer, layer(padded)[:2], expected)
        for settings in ({}, {"adjacency": "edges"}):
            ((union, _),) = data.disjoint_batches(members, 4, **settings)
            *pooled, s = layer(union)
            assert_equal(layer, pooled, expected)
            np.testing.assert_allclose(np.sum(s, axis=1), 1, rtol=1e-5)
        static = make(graphs=6)
        static.build([(5, 4), (5, 5)])
        static.set_weights(layer.get_weights())
        ((union, _, _),) = data.disjoint_batches(members, 6, "edges", static_shapes=True)
        *pooled, s = static(union)
        assert_equal(static, [one[:4] for one in pooled], expected)
        assert np.all(np.asarray(pooled[0])[4:] == 0)
        assert np.isfinite(np.asarray(pooled[1])).all()
    a = members[0].a.toarray()
    mixed = np.stack([members[0].x, 2 * members[0].x])
    doubled = [formula(layer, one, a) for one in mixed]
    assert_equal(layer, layer([mixed, a]), doubled)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="Spektral needs TensorFlow")
def test_equals_spektral_with_the_same_weights(x, rng):
    peers = pytest.importorskip("spektral.layers")
    a = GCSConv.preprocess(undirected(rng, 7))
    layer, peer = make(), peers.MinCutPool(3, mlp_hidden=[8], return_selection=True)
    x, a = np.stack([x, -x]), np.stack([a, a])
    outputs = layer([x, a])
    peer._n_nodes = 0  # Spektral's property has no value before the first call, which Keras reads
    peer.build([x.shape, a.shape])
    peer.mlp.build(x.shape)
    peer.mlp.set_weights(layer.get_weights())
    expected = peer.call(tensors([x, a]))
    for out, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(out, other, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sorted(layer.losses), sorted(peer.losses), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="gradients are taken with a tape")
def test_gradients_of_outputs_and_losses(x, rng):
    import tensorflow as tf

    a, layer = undirected(rng, 7), make(dtype="float64")
    x = x.astype("float64")

    def total():
        outputs = layer([x, a])
        return sum(tf.reduce_sum(tf.sin(one)) for one in outputs) + tf.add_n(layer.losses)

    total()
    variables = [one.value for one in layer.trainable_weights]
    with tf.GradientTape() as tape:
        value = total()
    for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
        step = 1e-4 * rng.normal(size=variable.shape)
        variable.assign_add(step)
        above = total()
        variable.assign_sub(2 * step)
        slope = (above - total()) / 2
        variable.assign_add(step)
        np.testing.assert_allclose(slope, np.sum(gradient * step), rtol=1e-3, atol=1e-9)


def test_padding_and_graphs_without_edges_are_finite(rng):
    layer = make(dtype="mixed_float16")
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    mask = np.array([[True, True, False, False], [False] * 4])
    outputs = layer([x, np.zeros((2, 4, 4)), mask])
    for one in outputs:
        assert keras.backend.standardize_dtype(one.dtype) == "float16"
        assert np.isfinite(np.asarray(one)).all()
    pooled, _, s = (np.asarray(one, "float32") for one in outputs)
    assert np.all(s[~mask] == 0) and np.all(pooled[1] == 0)
    assert all(np.isfinite(float(one)) for one in layer.losses)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="trains with TensorFlow")
def test_the_losses_alone_find_two_cliques():
    """Node clustering without labels, as in the paper."""
    a = np.kron(np.eye(2), np.ones((6, 6))) - np.eye(12)
    a[0, 6] = a[6, 0] = 1
    x = np.eye(12, dtype="float32")
    given = GCSConv.preprocess(a).astype("float32")
    keras.utils.set_random_seed(0)
    inputs = [keras.Input(batch_shape=(12, 12)), keras.Input(batch_shape=(12, 12))]
    h = GCSConv(8, activation="elu")(inputs)
    model = keras.Model(inputs, MinCutPool(2, return_selection=True)([h, inputs[1]])[2])
    model.compile(keras.optimizers.Adam(0.05), loss=None, jit_compile=False)
    for _ in range(100):
        model.train_on_batch([x, given])
    found = np.argmax(model.predict_on_batch([x, given]), axis=1)
    assert len({*found[:6]}) == len({*found[6:]}) == 1 and found[0] != found[6]


@pytest.mark.skipif(not IS_TENSORFLOW, reason="compiles with tf.function")
def test_compiles_with_xla(x, rng):
    import tensorflow as tf

    layer, a = make(graphs=2), graphs.edge_list(undirected(rng, 7), pad_to=60)
    inputs = tensors([x, a, np.array([0, 0, 0, 1, 1, 1, -1], "int32")])
    for out, other in zip(tf.function(layer, jit_compile=True)(inputs), layer(inputs), strict=True):
        np.testing.assert_allclose(out, other, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="one backend is enough")
def test_layers_that_follow_take_the_smaller_graphs_and_the_model_saves(x, rng, tmp_path):
    a = undirected(rng, 7)
    inputs = [keras.Input((7, 4)), keras.Input((7, 7))]
    pooled = MinCutPool(3)(inputs)
    outputs = GraphSequential([GCNConv(5, normalize=True), MeanPool()])(list(pooled))
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    out = model([x[None], a[None]])
    assert out.shape == (1, 5)
    np.testing.assert_array_equal(loaded([x[None], a[None]]), out)


def test_bad_arguments_raise(x):
    with pytest.raises(ValueError, match="`k`"):
        MinCutPool(0)
    with pytest.raises(ValueError, match="`mlp_hidden`"):
        MinCutPool(2, mlp_hidden=[0])
    with pytest.raises(ValueError, match="square"):
        MinCutPool(2)([x, np.ones((7, 6))])
    for layer in (MinCutPool(2), TopKPool()):
        with pytest.raises(TypeError, match=f"`{type(layer).__name__}` returns a graph"):
            GraphSequential([layer])
