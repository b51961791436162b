"""Tests that negative degrees, which have no root, are errors, and NaN in compiled calls."""

import keras
import numpy as np
import pytest

from keras_ssl import data, graphs, trainers
from keras_ssl.layers import graph as layers

LAYERS = {
    "GCN": (lambda: layers.GCNConv(2, normalize=True), layers.GCNConv.preprocess),
    "Chebyshev": (lambda: layers.ChebConv(2, K=2, normalize=True), layers.ChebConv.preprocess),
    "ARMA": (lambda: layers.ARMAConv(2, normalize=True), layers.ARMAConv.preprocess),
    "APPNP": (lambda: layers.APPNPConv(2, normalize=True), layers.APPNPConv.preprocess),
    "SGC": (lambda: layers.SimpleGCN(2, normalize=True), layers.SimpleGCN.preprocess),
}
MESSAGE = "must not have negative degrees"


def signed(weight):
    """Return a path of four nodes with one signed edge, whose ends have other edges."""
    a = np.eye(4, k=1, dtype="float32") + np.eye(4, k=-1, dtype="float32")
    a[1, 2] = a[2, 1] = weight
    return a


def forms(a):
    return {"dense": a, "edges": graphs.edge_list(a), "sparse": graphs.sparse_tensor(a)}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_preprocessing_raise_errors(name):
    make, preprocess = LAYERS[name]
    a, x = signed(-3.0), np.ones((4, 3), "float32")
    with pytest.raises(ValueError, match=MESSAGE):
        preprocess(a)
    for given in forms(a).values():
        with pytest.raises(ValueError, match=MESSAGE):
            make()([x, given])


@pytest.mark.parametrize("name", LAYERS)
def test_a_negative_weight_is_no_error_while_degrees_are_positive(name):
    keras.utils.set_random_seed(1)
    make, preprocess = LAYERS[name]
    layer, x = make(), np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    found = layer([x, signed(-0.5)])
    layer.normalize = False
    expected = layer([x, preprocess(signed(-0.5))])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.any(np.asarray(found) != 0)


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_calls_give_nan(name):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compiled by TensorFlow")
    import tensorflow as tf

    layer = LAYERS[name][0]()
    call = tf.function(lambda x, a: layer([x, a]))
    found = call(tf.ones((4, 3)), tf.constant(signed(-3.0)))
    assert np.isnan(found).any()


TRAINERS = {
    "DGI": trainers.DGI,
    "GAE": trainers.GAE,
    "VGAE": lambda encoder: trainers.VGAE(
        layers.GINConv(keras.layers.Dense(3)), encoder, layers.GCNConv(2, normalize=True)
    ),
    "GraphMAE": lambda encoder: trainers.GraphMAE(encoder, layers.GCNConv(3)),
}


@pytest.mark.parametrize("name", TRAINERS)
def test_fit_raises_errors_if_a_layer_normalizes(name):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("trainers need TensorFlow")
    graph = graphs.Graph(np.ones((4, 3)), signed(-3.0))
    trainer = TRAINERS[name](layers.GraphSequential([layers.GCNConv(2, normalize=True)]))
    trainer.compile("sgd")
    for form in ("sparse", "edges", "dense"):
        with pytest.raises(ValueError, match=MESSAGE):
            trainer.fit(data.single_graph(graph, adjacency=form), verbose=0)
    batch = np.ones((2, 4, 3), "float32"), np.stack([signed(1.0), signed(-3.0)])
    with pytest.raises(ValueError, match=MESSAGE):
        trainer.fit(batch, batch_size=2, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_layers_that_do_not_normalize_take_negative_degrees():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("trainers need TensorFlow")
    graph = graphs.Graph(np.ones((4, 3)), signed(-3.0))
    trainer = trainers.GAE(layers.GraphSequential([layers.GCNConv(2)]))
    trainer.compile("sgd")
    assert np.isfinite(trainer.fit(data.single_graph(graph), verbose=0).history["loss"][0])
