"""Tests that small weights are edges in half precision, and that float64 is float64 throughout."""

import keras
import numpy as np
import pytest

from keras_ssl import graphs, trainers
from keras_ssl.layers import graph as layers
from keras_ssl.trainers.step import Batch

SMALL = 1e-8  # 0 in float16, whose smallest number is 6e-8
X = np.array([[1.0, 3e4], [2.0, 6e4], [3.0, 5e4]])
A = np.array([[0.0, SMALL, 0.0], [SMALL, 0.0, 2 * SMALL], [0.0, 2 * SMALL, 0.0]])


def forms(a, dtype="float32"):
    a = a.astype(dtype)
    sparse = graphs.sparse_tensor(a)
    edges = graphs.edge_list(a) | {"weights": a[a != 0]}
    return {"dense": a, "edges": edges, "sparse": sparse}


def computed(make, inputs, policy):
    keras.config.set_dtype_policy(policy)
    try:
        output = make()(inputs)
    finally:
        keras.config.set_dtype_policy("float32")
    return keras.ops.convert_to_numpy(keras.ops.cast(output, "float64"))


@keras.saving.register_keras_serializable(package="tests")
class Identity(keras.initializers.Initializer):
    """The identity as a kernel."""

    def __call__(self, shape, dtype=None):
        return keras.ops.eye(*shape, dtype=dtype)


def gcn(normalize=False):
    return layers.GCNConv(2, normalize=normalize, kernel_initializer=Identity())


HALF = {
    "sum": (layers.MessagePassing, A @ X),
    "mean": (lambda: layers.MessagePassing("mean"), A @ X / [[1], [2], [1]]),
    "max": (
        lambda: layers.MessagePassing("max"),
        [A[0, 1] * X[1], np.maximum(A[1, 0] * X[0], A[1, 2] * X[2]), A[2, 1] * X[1]],
    ),
    "GCN": (gcn, A @ X),
    "in turn": (lambda: layers.GraphSequential([gcn()]), A @ X),
    "nested": (lambda: layers.GraphSequential([layers.GraphSequential([gcn()])]), A @ X),
}


@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", HALF)
def test_small_weights_are_edges(name, policy):
    make, expected = HALF[name]
    for form, given in forms(A).items():
        found = computed(make, [X.astype("float32"), given], policy)[:, 1]
        np.testing.assert_allclose(found, np.asarray(expected)[:, 1], rtol=2e-2, err_msg=form)


def test_small_degrees_are_normalized():
    """The root of a degree of 3e-12 exceeds the range of float16."""
    a = A * 1e-4
    root = 1 / np.sqrt(a.sum(axis=1))
    expected = -root[:, None] * a * root @ X / 1e4

    def make():
        return layers.ChebConv(
            2, K=2, normalize=True, kernel_initializer=keras.initializers.Constant(0.0)
        )

    def with_second_term():
        layer = make()
        layer.build([(3, 2), (3, 3)])
        layer.kernel.assign(np.stack([np.zeros((2, 2)), np.eye(2)]))
        return layer

    for form, given in forms(a).items():
        found = computed(with_second_term, [(X / 1e4).astype("float32"), given], "mixed_float16")
        np.testing.assert_allclose(found, expected, rtol=1e-2, err_msg=form)


def test_trainers_keep_small_weights():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("trainers need TensorFlow")
    inputs = [X.astype("float32"), A.astype("float32")]
    found = computed(lambda: trainers.DGI(gcn()), inputs, "mixed_float16")
    np.testing.assert_allclose(found, A @ X, rtol=1e-2, atol=1e-6)
    found = computed(
        lambda: trainers.BGRL(gcn(), augment=keras.layers.Identity()), inputs, "mixed_float16"
    )
    np.testing.assert_allclose(found, A @ X, rtol=1e-2, atol=1e-6)


def random_graph():
    rng = np.random.default_rng(0)
    a = np.triu(rng.uniform(0.1, 1, size=(6, 6)) * (rng.uniform(size=(6, 6)) < 0.6), 1)
    a[0, 5] = 0.7
    return rng.normal(size=(6, 2)), a + a.T


def softmax(logits, exist):
    powers = np.where(exist, np.exp(logits), 0)
    return powers / powers.sum(axis=1, keepdims=True)


def attention(x, a):
    """GAT of identity kernels and attention vectors of ones."""
    logits = x.sum(1)[:, None] + x.sum(1)
    logits = np.where(logits > 0, logits, 0.2 * logits)
    return softmax(logits, (a != 0) | np.eye(len(a), dtype=bool)) @ x


def normalized(x, a):
    a = a + np.eye(len(a))
    root = 1 / np.sqrt(a.sum(axis=1))
    return root[:, None] * a * root @ x


def gat():
    layer = layers.GATConv(2)
    layer.build([(6, 2), (6, 6)])
    layer.kernel.assign(np.eye(2))
    layer.attention_sender.assign(np.ones((1, 2)))
    layer.attention_receiver.assign(np.ones((1, 2)))
    return layer


DOUBLE = {
    "GCN": (lambda: gcn(normalize=True), normalized),
    "attention": (gat, attention),
    "mean": (lambda: layers.MessagePassing("mean"), lambda x, a: a @ x / (a != 0).sum(1)[:, None]),
    "std": (
        lambda: layers.GraphSequential([layers.MessagePassing("std")]),
        lambda x, a: np.stack([(row[row != 0, None] * x[row != 0]).std(axis=0) for row in a]),
    ),
}


@pytest.mark.parametrize("form", ["dense", "edges", "sparse"])
@pytest.mark.parametrize("name", DOUBLE)
def test_float64_is_float64(name, form):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX computes in float64 only if it is told to")
    x, a = random_graph()
    make, reference = DOUBLE[name]
    given = forms(a, "float64")[form]
    if form == "sparse":
        import tensorflow as tf

        given = tf.sparse.from_dense(a)
    found = computed(make, [x, given], "float64")
    np.testing.assert_allclose(found, reference(x, a), rtol=1e-12, atol=1e-13)


def test_pooling_in_float64():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX computes in float64 only if it is told to")
    x, _ = random_graph()
    i = np.array([0, 0, 0, 0, 1, 1])

    def pool():
        return layers.AttentionPool(
            gate=keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        )

    found = computed(pool, [x, i], "float64")
    expected = [softmax(x[i == k].sum(1)[None], True) @ x[i == k] for k in (0, 1)]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-12)


def test_losses_of_trainers_in_float64():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("trainers need TensorFlow")
    x, a = random_graph()
    keras.config.set_dtype_policy("float64")
    try:
        trainer = trainers.DGI(gcn(normalize=True), corruption=keras.layers.Identity())
        inputs = tuple(keras.ops.convert_to_tensor(one) for one in (x, a))
        losses = trainer.compute_losses(Batch(inputs, inputs), False)
    finally:
        keras.config.set_dtype_policy("float32")
    # the corrupted graph is the graph: logits of both signs
    weight = np.asarray(trainer.critic.get_weights()[0])
    h = normalized(x, a)
    summary = 1 / (1 + np.exp(-h.mean(axis=0)))
    found = np.asarray(losses["infomax"])[0]
    expected = [
        np.mean(np.logaddexp(0, -logits) + np.logaddexp(0, logits)) / 2
        for logits in (h @ weight @ summary, h @ weight.T @ summary)
    ]
    assert min(abs(found - one) for one in expected) < 1e-13
