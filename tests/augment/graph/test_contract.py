"""Tests shared by all graph augmentations."""

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.augment import graph as augment
from tests.augment.graph import graphs_for_tests
from tests.augment.graph.graphs_for_tests import MODES, arrays, batch, single

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="needs TensorFlow, or says the same on every backend, which JAX takes minutes for",
)

LAYERS = {
    "edge drop": lambda **k: augment.RandomEdgeDrop(0.4, **k),
    "directed edge drop": lambda **k: augment.RandomEdgeDrop(0.4, symmetric=False, **k),
    "feature mask": lambda **k: augment.RandomFeatureMask(0.5, **k),
    "node drop": lambda **k: augment.RandomNodeDrop(0.4, graphs=3, **k),
    "subgraph": lambda **k: augment.RandomSubgraph(0.5, graphs=3, **k),
    "shuffle": augment.FeatureShuffle,
}


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


@pytest.fixture(params=MODES)
def graph(request):
    return MODES[request.param]()


def assert_same(one, two):
    for a, b in zip(arrays(one), arrays(two), strict=True):
        np.testing.assert_array_equal(a, b)


def is_changed(one, two):
    return any(a.shape != b.shape or np.any(a != b) for a, b in zip(one, two, strict=True))


def specs(graph):
    """Shape, dtype and sparsity of each tensor."""
    return [
        (tuple(x.shape), keras.backend.standardize_dtype(x.dtype), "Sparse" in type(x).__name__)
        for x in keras.tree.flatten(graph)
    ]


class TestConformance(TestCase):
    def test_layers(self):
        x, a, mask = (np.asarray(part) for part in batch())
        for layer, arguments in (
            (augment.RandomEdgeDrop, {"rate": 0.4}),
            (augment.RandomFeatureMask, {"rate": 0.5}),
            (augment.RandomNodeDrop, {"rate": 0.4}),
            (augment.RandomSubgraph, {"share": 0.5}),
            (augment.FeatureShuffle, {}),
        ):
            self.run_layer_test(
                layer,
                init_kwargs={"seed": 1, **arguments},
                input_data=(x, a, mask),
                expected_output_shape=(x.shape, a.shape, mask.shape),
                expected_num_trainable_weights=0,
                run_training_check=False,
                run_mixed_precision_check=False,
            )


def test_forms_and_shapes_are_preserved(make, graph):
    out = make(seed=1)(graph)
    assert type(out) is type(graph)
    if graph[0].shape[:-1] == (4, 6) and out[1].shape != graph[1].shape:
        assert out[1].shape == (4, 6, 6)  # mixed mode: each example loses other nodes
        out = (out[0], graph[1])
    assert specs(out) == specs(graph)


def test_the_graph_changes_as_determined_by_the_seed(make, graph):
    out = make(seed=1)(graph)
    assert is_changed(arrays(out), arrays(graph))
    assert_same(make(seed=1)(graph), out)
    layer = make(seed=1)
    first, others = arrays(layer(graph)), [arrays(layer(graph)) for _ in range(3)]
    assert any(is_changed(first, other) for other in others)


def test_outside_training_the_graph_is_unchanged(make, graph):
    out = make()(graph, training=False)
    assert specs(out) == specs(graph)
    assert_same(out, graph)


def test_no_edge_is_added_and_no_weight_changes(make, graph):
    a, before = arrays(make(seed=1)(graph))[1], arrays(graph)[1]
    assert np.all((a == 0) | (a == before))


@pytest.mark.parametrize("mode", [single, graphs_for_tests.disjoint])
def test_all_forms_agree(make, mode):
    wanted = make(seed=2)(mode("dense"))
    for form in ("sparse", "list"):
        assert_same(make(seed=2)(mode(form)), wanted)


def test_sparse_features_equal_dense_ones(make):
    x, a = single(is_sparse=True)
    wanted = make(seed=2)((keras.ops.convert_to_tensor(x, sparse=False), a))
    assert_same(make(seed=2)((x, a)), wanted)


def test_padding_does_not_change(make):
    x, a, mask = arrays(make(seed=1)(batch()))
    was_node = arrays(batch())[2]
    assert not np.any(mask & ~was_node)
    assert not x[~was_node].any()
    assert not a[~was_node].any()
    assert not np.swapaxes(a, 1, 2)[~was_node].any()
    x, _, i = arrays(make(seed=1)(graphs_for_tests.disjoint()))
    assert not x[-2:].any()
    assert i[-2:].tolist() == [-1, -1]


def test_parts_may_come_in_any_order_and_edge_features_do_not_change(make):
    x, a, mask = batch()
    e = np.ones((3, 6, 6, 2), "float32")
    wanted = make(seed=1)((x, a, mask))
    out = make(seed=1)([x, a, e, mask])
    assert isinstance(out, list)
    assert_same([out[0], out[1], out[3]], wanted)
    np.testing.assert_array_equal(out[2], e)


@only_tensorflow
def test_compiled_by_xla(make):
    import tensorflow as tf

    for mode in (lambda: single("list"), graphs_for_tests.disjoint, batch):
        layer, graph = make(seed=3), mode()
        compiled = tf.function(layer, jit_compile=True)
        outs = [compiled(graph) for _ in range(4)]
        assert all(specs(out) == specs(graph) for out in outs)
        assert any(is_changed(arrays(outs[0]), arrays(out)) for out in outs[1:])
        a, before = arrays(outs[0])[1], arrays(graph)[1]
        assert np.all((a == 0) | (a == before))


def test_compiled_by_jax(make):
    if keras.backend.backend() != "jax":
        pytest.skip("needs JAX")
    import jax

    for graph in (single("list"), batch()):
        layer = make(seed=3)
        layer(graph, training=False)  # builds the layer without drawing
        state = [v.value for v in layer.non_trainable_variables]

        @jax.jit
        def change(state, graph, layer=layer):
            return layer.stateless_call([], state, graph)[0]

        assert_same(change(state, graph), make(seed=3)(graph))


@only_tensorflow
def test_static_shapes_in_a_graph(make, graph):
    import tensorflow as tf

    if any(isinstance(part, tf.SparseTensor) for part in graph):
        pytest.skip("a tf.SparseTensor may hold any number of values")
    function = tf.function(make()).get_concrete_function(graph)
    assert all(shape.is_fully_defined() for shape in tf.nest.flatten(function.output_shapes))


@only_tensorflow
def test_in_a_data_pipeline(make):
    import tensorflow as tf

    layer, dataset = make(seed=3), tf.data.Dataset.from_tensor_slices(batch()).batch(3)
    (out,) = dataset.map(lambda *graph: layer(graph))
    assert_same(out, make(seed=3)(batch()))


@only_tensorflow
def test_two_replicas_draw_the_same_as_one(make, two_replicas):
    import tensorflow as tf

    graph = [np.concatenate([part, part[::-1]])[:4] for part in arrays(batch())]
    with two_replicas.scope():
        layer = make(seed=3)
    halves = [
        two_replicas.experimental_distribute_values_from_function(
            lambda context, part=part: tf.constant(
                np.split(part, 2)[context.replica_id_in_sync_group]
            )
        )
        for part in graph
    ]

    @tf.function
    def step(*graph):
        return two_replicas.run(lambda *graph: layer(graph), graph)

    both = [np.concatenate([x.numpy() for x in part.values]) for part in step(*halves)]
    assert_same(both, make(seed=3)(tuple(graph)))


@only_tensorflow
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_computes_in_float32_under_any_policy(make, dtype, set_dtype_policy):
    expected = make(seed=3)(batch())
    x, a, mask = arrays(batch())
    set_dtype_policy("mixed_float16")
    out = make(seed=3)((x.astype(dtype), a.astype(dtype), mask))
    assert specs(out) == specs(expected)
    for one, other in zip(arrays(out), arrays(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3)


@only_tensorflow
@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_saved_and_loaded_in_a_model(make, form, tmp_path):
    adjacency = {
        "dense": lambda: keras.Input((9,)),
        "sparse": lambda: keras.Input((9,), sparse=True),
        "list": lambda: {
            "senders": keras.Input((), dtype="int32"),
            "receivers": keras.Input((), dtype="int32"),
            "weights": keras.Input(()),
        },
    }[form]()
    inputs = [keras.Input((6,), batch_size=9), adjacency]
    model = keras.Model(inputs, make(seed=3)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    graph = list(single(form))
    assert_same(model(graph, training=True), loaded(graph, training=True))


@only_tensorflow
def test_symbolic_outputs_have_the_right_shapes(make, graph):
    symbolic = keras.tree.map_structure(
        lambda x: keras.KerasTensor(x.shape, x.dtype, sparse="Sparse" in type(x).__name__), graph
    )
    told = make()(symbolic)
    told = [
        (tuple(x.shape), keras.backend.standardize_dtype(x.dtype), x.sparse)
        for x in keras.tree.flatten(told)
    ]
    assert told == specs(make()(graph))


@only_tensorflow
def test_gradients_flow_to_kept_features(make):
    import tensorflow as tf

    x, a, mask = batch()
    with tf.GradientTape() as tape:
        tape.watch([x, a])
        out = make(seed=3)((x, a, mask))
        total = tf.reduce_sum(out[0] ** 2) + tf.reduce_sum(out[1] ** 2)
    of_x, of_a = tape.gradient(total, [x, a])
    np.testing.assert_allclose(of_a, 2 * out[1])
    assert np.isfinite(of_x).all() and np.abs(of_x).max() > 0


@only_tensorflow
def test_bad_inputs_raise(make):
    x, a = single()
    with pytest.raises(ValueError, match="9 nodes"):
        make()((x, a[:4, :4]))
    with pytest.raises(ValueError, match=r"`\[x, a\]`"):
        make()(x)
    with pytest.raises(ValueError, match="senders"):
        make()((x, {"from": np.zeros(3, "int32")}))
    with pytest.raises(TypeError, match=r"`seed`.*Received"):
        make(seed="one")
