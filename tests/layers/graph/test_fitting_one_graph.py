"""Tests of `GraphSequential.fit` and its kin on one graph, against gradient descent by NumPy."""

import dataclasses
import warnings

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data, graphs
from keras_ssl.layers.graph import GCNConv, GraphSequential

NODES, RATE = 40, 0.1


def problem():
    rng = np.random.default_rng(0)
    a = np.triu(rng.uniform(size=(NODES, NODES)) < 0.1, 1)
    a = graphs.normalized_adjacency((a | a.T).astype("float32"))
    return rng.normal(size=(NODES, 3)).astype("float32"), a, rng.normal(size=(NODES, 2))


def model():
    one = GraphSequential([GCNConv(2, use_bias=False, kernel_initializer="ones")])
    one.compile(keras.optimizers.SGD(RATE), "mse")
    return one


def descent(x, a, y, epochs, weights=None):
    """Return the kernel after some steps on the whole graph, and the loss before each."""
    kernel, h = np.ones((3, 2)), a.astype("float64") @ x
    weights = np.ones(NODES) if weights is None else weights
    losses = []
    for _ in range(epochs):
        error = h @ kernel - y
        losses.append(np.mean(weights * np.mean(error**2, axis=1)))
        kernel = kernel - RATE * h.T @ (weights[:, None] * error) / NODES
    return kernel, losses


def forms(x, a):
    one = {
        "arrays": [x, a],
        "tuple": (x, a),
        "edge list": [x, graphs.edge_list(a)],
        "graph": graphs.Graph(x, a),
    }
    if keras.backend.backend() == "tensorflow":
        one |= {"scipy": [x, sp.csr_array(a)], "sparse": [x, graphs.sparse_tensor(a)]}
    return one


@pytest.mark.parametrize("form", ["arrays", "tuple", "edge list", "graph", "scipy", "sparse"])
def test_fit_takes_steps_on_the_whole_graph(form):
    x, a, y = problem()
    if form not in forms(x, a):
        pytest.skip("sparse tensors in data sets are TensorFlow's")
    inputs = forms(x, a)[form]
    found = model()
    history = found.fit(inputs, y, batch_size=NODES, epochs=3, verbose=0).history
    kernel, losses = descent(x, a, y, 3)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(found.steps[0].kernel, kernel, rtol=1e-4, atol=1e-5)
    expected = a.astype("float64") @ x @ kernel
    np.testing.assert_allclose(found.predict(inputs, verbose=0), expected, rtol=1e-4, atol=1e-4)
    loss = found.evaluate(inputs, y, verbose=0)
    np.testing.assert_allclose(loss, np.mean((expected - y) ** 2), rtol=1e-5)


def test_labels_of_a_graph_weights_and_validation_data():
    x, a, y = problem()
    graph = graphs.Graph(x, a, y=y.astype("float32"))
    weights = np.arange(NODES) % 2
    kernel, losses = descent(x, a, y, 2, weights)
    for inputs, labels in ((graph, None), ([x, a], y)):
        found = model()
        history = found.fit(
            inputs,
            labels,
            sample_weight=weights,
            epochs=2,
            validation_data=graph if labels is None else ([x, a], y),
            verbose=0,
        ).history
        np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
        np.testing.assert_allclose(found.steps[0].kernel, kernel, rtol=1e-4, atol=1e-5)
        error = a.astype("float64") @ x @ kernel - y
        np.testing.assert_allclose(history["val_loss"][-1], np.mean(error**2), rtol=1e-5)


def test_a_graph_is_the_batch_of_single_graph():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.data of sparse tensors is TensorFlow's")
    x, a, y = problem()
    graph = dataclasses.replace(graphs.Graph(x, a), y=y.astype("float32"))
    first, second = model(), model()
    first.fit(graph, epochs=2, verbose=0)
    second.fit(data.single_graph(graph), epochs=2, verbose=0)
    np.testing.assert_array_equal(first.steps[0].kernel, second.steps[0].kernel)


def test_batches_of_nodes_are_refused():
    x, a, y = problem()
    with pytest.raises(ValueError, match=r"cannot be split .* batch_size=8 and 40 nodes"):
        model().fit([x, a], y, batch_size=8, verbose=0)
    with pytest.raises(ValueError, match="`validation_split` cannot split one graph"):
        model().fit([x, a], y, validation_split=0.5, verbose=0)
    many = np.stack([x] * NODES)
    for call in (lambda: model().fit([many, a], many[..., :2]), lambda: model().predict([many, a])):
        with pytest.raises(ValueError, match=r"need an adjacency for each graph.*mixed mode"):
            call()


def test_arrays_of_several_graphs_are_split_as_before():
    x, a, y = problem()
    found = model()
    inputs = [np.stack([x] * 4), np.stack([a] * 4)]
    found.fit(inputs, np.stack([y] * 4), batch_size=2, epochs=2, verbose=0)
    kernel, _ = descent(x, a, y, 4)
    np.testing.assert_allclose(found.steps[0].kernel, kernel, rtol=1e-4, atol=1e-5)


def test_a_loaded_network_is_trained_on(tmp_path):
    x, a, y = problem()
    y = (y[:, 0] > 0).astype("int32")
    trained = model()
    trained.compile(
        keras.optimizers.Adam(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    trained.fit([x, a], y, epochs=3, verbose=0)
    trained.save(tmp_path / "network.keras")
    with warnings.catch_warnings(action="error"):
        loaded = keras.saving.load_model(tmp_path / "network.keras")
    histories = [one.fit([x, a], y, epochs=3, verbose=0).history for one in (trained, loaded)]
    for name, expected in histories[0].items():
        assert histories[1][name] == pytest.approx(expected)
    for one, expected in zip(loaded.weights, trained.weights, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-7)
