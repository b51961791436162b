import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl import graphs
from keras_ssl.layers.graph import GCNConv, GraphSequential, MeanPool, TopKPool
from tests.layers.graph import peers
from tests.layers.graph.conformance import forms, tensors

to_numpy = keras.ops.convert_to_numpy
only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="needs tf.function"
)


def dense(a, nodes):
    """Convert any form to an array."""
    if isinstance(a, dict):
        out = np.zeros((nodes, nodes), "float32")
        np.add.at(out, (to_numpy(a["receivers"]), to_numpy(a["senders"])), to_numpy(a["weights"]))
        return out
    return to_numpy(keras.ops.convert_to_tensor(a, sparse=False))


@pytest.fixture
def x(rng):
    return rng.normal(size=(7, 3)).astype("float32")


@pytest.fixture
def a(rng):
    return (rng.uniform(0.5, 2, (7, 7)) * (rng.uniform(size=(7, 7)) < 0.6)).astype("float32")


def expected(x, a, p, ratio):
    """Return the kept rows, their features and adjacency, in float64."""
    score = x.astype("float64") @ p / np.linalg.norm(p.astype("float64"))
    kept = np.sort(np.argsort(-score)[: int(np.ceil(round(ratio * len(x), 6)))])
    return kept, np.tanh(score)[kept, None] * x[kept], a[np.ix_(kept, kept)]


class TestConformance(TestCase):
    def test_all_modes(self):
        x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
        a = np.ones((5, 5), "float32")
        i = np.array([0, 0, 1, 1, 1], "int32")
        mask = np.ones((2, 5), bool)
        listed = graphs.edge_list(a)
        for inputs, of_a in (
            ((x[0], a), (5, 5)),
            ((x[0], a, i), (5, 5)),
            ((x[0], listed, i), dict.fromkeys(listed, (25,))),
            ((x, np.stack([a, a]), mask), (2, 5, 5)),
            ((x, a), (2, 5, 5)),
        ):
            self.run_layer_test(
                TopKPool,
                init_kwargs={"ratio": 0.6, "graphs": 2},
                input_data=inputs,
                expected_output_shape=(inputs[0].shape, of_a, inputs[0].shape[:-1]),
                expected_num_trainable_weights=1,
                supports_masking=True,
                run_training_check=False,
            )


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
@pytest.mark.parametrize("ratio", [0.5, 0.8])
def test_equals_pytorch_geometric(ratio, form):
    case = peers.case(f"top_k/{ratio}")
    graph = case.graph
    pool = TopKPool(ratio)
    pool.build([graph.x.shape, graph.a.shape, graph.i.shape])
    pool.set_weights([case.weights["projection"]])
    x, a, i = pool(tensors([graph.x, forms(graph.a)[form], graph.i]))
    kept = case.more["kept"]
    np.testing.assert_array_equal(np.flatnonzero(to_numpy(i) >= 0), np.sort(kept))
    np.testing.assert_array_equal(to_numpy(i)[kept], case.more["i"])
    np.testing.assert_allclose(to_numpy(x)[kept], case.output, rtol=1e-5, atol=1e-6)
    a = dense(a, 12)
    np.testing.assert_allclose(a[np.ix_(kept, kept)], case.more["a"], rtol=1e-6)
    dropped = np.setdiff1d(np.arange(12), kept)
    for zeros in (to_numpy(x)[dropped], a[dropped], a[:, dropped]):
        np.testing.assert_array_equal(zeros, 0)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_equals_the_definition_in_single_mode(x, a, form):
    pool = TopKPool(0.4)
    x_, a_, mask = pool(tensors([x, forms(a)[form]]))
    kept, features, matrix = expected(x, a, to_numpy(pool.projection), 0.4)
    assert len(kept) == 3
    np.testing.assert_array_equal(np.flatnonzero(mask), kept)
    np.testing.assert_allclose(to_numpy(x_)[kept], features, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(dense(a_, 7)[np.ix_(kept, kept)], matrix)
    assert dense(a_, 7).sum() == pytest.approx(matrix.sum(), rel=1e-5)


def test_a_padded_batch_equals_single_mode_per_graph(x, a):
    pool = TopKPool(0.5)
    sizes = (7, 4)
    mask = np.arange(7) < np.array(sizes)[:, None]
    x_, a_, kept = pool([np.stack([x, x]), np.stack([a, a]), mask])
    for graph, size in enumerate(sizes):
        inner, features, matrix = expected(
            x[:size], a[:size, :size], to_numpy(pool.projection), 0.5
        )
        np.testing.assert_array_equal(np.flatnonzero(kept[graph]), inner)
        np.testing.assert_allclose(x_[graph][mask_of(inner)], features, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(to_numpy(a_)[graph][np.ix_(inner, inner)], matrix)
    shared = pool([np.stack([x, x[::-1]]), a])
    assert shared[1].shape == (2, 7, 7)
    np.testing.assert_array_equal(to_numpy(shared[1])[0], to_numpy(pool([x, a])[1]))


def mask_of(rows):
    return np.isin(np.arange(7), rows)


def test_following_layers_compute_the_same_as_on_the_smaller_graph(x, a):
    pool = TopKPool(0.6)
    network = GraphSequential([GCNConv(4, normalize=True), MeanPool()])
    pooled = pool([x, a])
    _, features, matrix = expected(x, a, to_numpy(pool.projection), 0.6)
    matrix_of_kept = network([features.astype("float32"), matrix])
    i = np.zeros(7, "int32")
    np.testing.assert_allclose(network(pool([x, a, i])), matrix_of_kept, rtol=1e-5, atol=1e-5)
    h = GraphSequential(network.steps[:1])(pooled[:2])
    np.testing.assert_allclose(MeanPool()(h, mask=pooled[2]), matrix_of_kept, rtol=1e-5, atol=1e-5)
    again = TopKPool(0.5)
    _, _, mask = again(pooled)
    assert to_numpy(mask).sum() == 3  # of the five kept before
    _, features, _ = expected(to_numpy(pooled[0]), a, to_numpy(again.projection), 1)
    assert not np.any(to_numpy(mask) & ~to_numpy(pooled[2]))


@pytest.mark.parametrize(("nodes", "ratio", "count"), [(10, 0.7, 7), (10, 0.71, 8), (3, 0.01, 1)])
def test_the_number_of_kept_nodes_is_rounded_up(nodes, ratio, count, rng):
    x = rng.normal(size=(nodes, 2)).astype("float32")
    _, _, mask = TopKPool(ratio)([x, np.ones((nodes, nodes))])
    assert to_numpy(mask).sum() == count


def test_ties_do_not_keep_more_nodes():
    x, a = np.ones((6, 2), "float32"), np.ones((6, 6), "float32")
    assert to_numpy(TopKPool(0.5)([x, a])[2]).tolist() == [True] * 3 + [False] * 3
    i = np.array([0, 0, 1, 1, 1, 1])
    assert to_numpy(TopKPool(0.5)([x, a, i])[2]).tolist() == [0, -1, 1, 1, -1, -1]


def test_graph_indices_need_not_be_sorted(x, a, rng):
    i = np.array([2, 0, 1, 0, 2, 2, -1])
    pool = TopKPool(0.5, graphs=4)  # the last graph has no nodes
    out = to_numpy(pool([x, a, i])[2])
    assert [int((out == graph).sum()) for graph in (-1, 0, 1, 2, 3)] == [3, 1, 1, 2, 0]
    assert np.all((out == i) | (out == -1))


@only_tensorflow
def test_the_projection_gets_gradients(x, a):
    import tensorflow as tf

    pool = TopKPool(0.5)
    pool.build([x.shape, a.shape])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(pool([x, a])[0])
    gradient = tape.gradient(total, pool.projection.value)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3


@only_tensorflow
def test_compiled_by_xla(x, a):
    import tensorflow as tf

    pool = TopKPool(0.5, graphs=3)
    i, edges = tf.constant([0, 0, 0, 1, 1, 2, 2]), tensors(forms(a)["list"])
    wanted = pool([x, edges, i])
    out = tf.function(lambda x: pool([x, edges, i]), jit_compile=True)(tf.constant(x))
    for one, other in zip(keras.tree.flatten(out), keras.tree.flatten(wanted), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    wanted = pool([x[None], a[None]])
    out = tf.function(lambda x: pool([x, a[None]]), jit_compile=True)(tf.constant(x[None]))
    for one, other in zip(out, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@only_tensorflow
@pytest.mark.parametrize("is_sparse", [False, True])
def test_saved_and_loaded_in_a_model(x, a, is_sparse, tmp_path):
    inputs = [keras.Input((3,)), keras.Input((None,), sparse=is_sparse)]
    h, adjacency, _ = TopKPool(0.5)(inputs)
    model = keras.Model(inputs, GCNConv(2, normalize=True)([h, adjacency]))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    data = tensors([x, forms(a)["sparse" if is_sparse else "dense"]])
    np.testing.assert_array_equal(model(data), loaded(data))


def test_float16_is_finite():
    x = np.full((5, 300), 200, "float16")
    x, _, mask = TopKPool(0.5, dtype="mixed_float16")([x, np.ones((5, 5))])
    assert keras.backend.standardize_dtype(x.dtype) == "float16"
    assert np.isfinite(to_numpy(x)).all()
    assert to_numpy(mask).sum() == 3


def test_bad_inputs_raise(x, a):
    for ratio in (0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="`ratio`"):
            TopKPool(ratio)
    with pytest.raises(TypeError, match="`ratio`"):
        TopKPool("all")
    with pytest.raises(ValueError, match="`graphs`"):
        TopKPool(0.5, graphs=0)
    with pytest.raises(ValueError, match=r"7 nodes.*adjacency of 4"):
        TopKPool()([x, a[:4, :4]])
    with pytest.raises(ValueError, match="dense adjacency"):
        TopKPool()([x[None], forms(a)["list"]])
