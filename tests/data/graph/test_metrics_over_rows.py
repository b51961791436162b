"""Tests that losses and metrics over padded batches equal those of one pass over all rows."""

import keras
import numpy as np
import pytest

from keras_ssl import data, graphs
from keras_ssl.layers.graph import GCNConv, GraphSAGEConv, GraphSequential, SumPool

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data is tested once", allow_module_level=True)

ACCURACY, LOSS = "accuracy", "loss"
SEEDS = np.arange(33)


def ring():
    """Return 34 nodes that receive from the next two, with labels of two classes."""
    rng = np.random.default_rng(1)
    a = np.roll(np.eye(34), 1, axis=1) + np.roll(np.eye(34), 2, axis=1)
    train = np.arange(34) % 3 == 0
    return graphs.Graph(
        rng.normal(size=(34, 3)), a, y=rng.integers(2, size=34), splits={"train": train}
    )


RING = ring()


def softmax_figures(logits, y):
    """Return the accuracy and the cross entropy of all rows, in float64."""
    logits = np.asarray(logits, "float64")
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances = powers / powers.sum(axis=1, keepdims=True)
    right = np.mean(logits.argmax(axis=1) == y)
    return {ACCURACY: right, LOSS: -np.log(chances[np.arange(len(y)), y]).mean()}


def node_classifier():
    keras.utils.set_random_seed(3)
    return GraphSequential([GraphSAGEConv(4, activation="relu"), GraphSAGEConv(2)])


def functional(model, inputs):
    """Return a functional model of `model`, for inputs of the shapes of a batch."""
    symbols = keras.tree.map_structure(
        lambda one: keras.Input(batch_shape=one.shape, dtype=one.dtype.name), inputs
    )
    return keras.Model(symbols, model(list(symbols[:2])))  # without the mask of nodes


def compile_for_test(model, **metrics):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.0), loss, **metrics)
    return model


KINDS = {
    "weighted": lambda: {"weighted_metrics": [ACCURACY]},
    "plain": lambda: {"metrics": [ACCURACY]},
    "metric": lambda: {"metrics": [keras.metrics.SparseCategoricalAccuracy(name=ACCURACY)]},
}


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [32, 40])
def test_neighbor_batches(batch_size, kind):
    """With all neighbors, outputs of the seeds are those on the whole graph."""
    batches = data.neighbor_batches(RING, SEEDS, [2, 2], batch_size)
    model = compile_for_test(node_classifier(), **KINDS[kind]())
    whole = np.asarray(model([RING.x, RING.a.toarray()]))[:33]
    expected = softmax_figures(whole, RING.y[:33])
    found = model.evaluate(batches, return_dict=True, verbose=0)
    history = model.fit(batches, validation_data=batches, verbose=0).history
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(history[name], [value], rtol=1e-5)
        np.testing.assert_allclose(history[f"val_{name}"], [value], rtol=1e-5)


def test_neighbor_batches_of_a_functional_model():
    batches = data.neighbor_batches(RING, SEEDS, [2, 2], 32)
    network = node_classifier()
    model = functional(network, next(iter(batches))[0])
    compile_for_test(model, weighted_metrics=[ACCURACY])
    expected = softmax_figures(network([RING.x, RING.a.toarray()])[:33], RING.y[:33])
    found = model.evaluate(batches, return_dict=True, verbose=0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def labelled_graphs(count=7):
    rng = np.random.default_rng(0)
    return [
        graphs.Graph(
            rng.normal(size=(n, 3)), rng.uniform(size=(n, n)) < 0.5, y=int(rng.integers(2))
        )
        for n in rng.integers(2, 9, count)
    ]


def graph_classifier(places=None):
    keras.utils.set_random_seed(5)
    return GraphSequential([GCNConv(4, normalize=True), SumPool(places), keras.layers.Dense(2)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [3, 9])
def test_static_unions(batch_size, kind):
    members = labelled_graphs()
    batches = data.disjoint_batches(members, batch_size, "edges", static_shapes=True)
    model = compile_for_test(graph_classifier(batch_size), **KINDS[kind]())
    logits = np.concatenate([model([one.x, one.a.toarray()])[:1] for one in members])
    expected = softmax_figures(logits, np.array([one.y for one in members]))
    found = model.evaluate(batches, return_dict=True, verbose=0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_dropped_remainders_do_not_count():
    members = labelled_graphs()
    batches = data.disjoint_batches(members, 3, "edges", static_shapes=True, drop_remainder=True)
    model = compile_for_test(graph_classifier(3), weighted_metrics=[ACCURACY])
    logits = np.concatenate([model([one.x, one.a.toarray()])[:1] for one in members[:6]])
    expected = softmax_figures(logits, np.array([one.y for one in members[:6]]))
    found = model.evaluate(batches, return_dict=True, verbose=0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_metrics_count_the_nodes_of_a_split():
    model = compile_for_test(node_classifier(), metrics=[ACCURACY])
    expected = softmax_figures(model([RING.x, RING.a.toarray()])[::3], RING.y[::3])
    found = model.evaluate(data.single_graph(RING, "train"), return_dict=True, verbose=0)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)


def test_metrics_that_would_count_padding_are_named():
    batches = data.neighbor_batches(RING, SEEDS, [2, 2], 32)
    model = node_classifier()
    auc = keras.metrics.IoU(2, [1], name="iou", sparse_y_pred=False)
    model.compile("sgd", "mse", metrics=[auc])
    with pytest.warns(UserWarning, match="`weighted_metrics`.*iou"):
        model.evaluate(batches.map(lambda x, y, w: (x, y[:, None], w)), verbose=0)


@pytest.mark.parametrize("form", ["sparse", "edges"])
def test_the_loss_of_an_epoch_of_unions_is_the_mean_over_graphs(rng, form):
    """Keras weighs batches by the rows of `x`, the nodes."""
    members = [
        graphs.Graph(rng.normal(size=(n, 3)), np.ones((n, n)), y=float(n)) for n in (2, 3, 4, 30, 1)
    ]
    layers = [GCNConv(2, normalize=True), SumPool(), keras.layers.Dense(1)]
    model = GraphSequential(layers)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    out = [float(model([one.x, one.a.toarray()])[0, 0]) for one in members]
    expected = np.mean([(o - one.y) ** 2 for o, one in zip(out, members, strict=True)])
    batches = data.disjoint_batches(members, 2, adjacency=form)
    history = model.fit(batches, validation_data=batches, verbose=0).history
    found = [model.evaluate(batches, verbose=0), *history["loss"], *history["val_loss"]]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    model.compile(keras.optimizers.SGD(0.0), "mse", steps_per_execution=2)
    assert model.evaluate(batches, verbose=0) == pytest.approx(expected, rel=1e-4)
