"""Labels of nodes in batches of several graphs, and weights of classes."""

import dataclasses

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data, graphs
from keras_ssl.layers.graph import GCNConv, GraphSequential

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data is tested once"
)
SIZES = (4, 3, 6, 1, 5)
CLASSES = 3


@pytest.fixture
def members(rng):
    """Graphs of different sizes with a label for each node."""
    return [
        graphs.Graph(
            rng.normal(size=(n, 4)),
            sp.random_array((n, n), density=0.5, rng=rng),
            y=rng.integers(CLASSES, size=n),
        )
        for n in SIZES
    ]


def multi_label(members, rng):
    """As in PPI: several classes for each node, floats."""
    return [
        dataclasses.replace(one, y=rng.integers(2, size=(one.nodes, 7)).astype("float32"))
        for one in members
    ]


KINDS = {
    "sparse unions": lambda members, **k: data.disjoint_batches(members, 2, **k),
    "unions of edges": lambda members, **k: data.disjoint_batches(members, 2, "edges", **k),
    "static unions": lambda members, **k: data.disjoint_batches(members, 2, "edges", True, **k),
    "padded": lambda members, **k: data.padded_batches(members, 2, **k),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", ["classes", "several"])
def test_labels_stay_with_their_nodes(members, rng, kind, labels):
    if labels == "several":
        members = multi_label(members, rng)
    batches = KINDS[kind](members, node_labels=True)
    for number, ((x, *_, last), y, *weights) in enumerate(batches):
        is_node = np.asarray(last) if kind == "padded" else np.asarray(last) >= 0
        some = members[2 * number : 2 * number + 2]
        assert y.shape[: x.ndim - 1] == x.shape[:-1]
        np.testing.assert_array_equal(y.numpy()[is_node], np.concatenate([g.y for g in some]))
        np.testing.assert_array_equal(x.numpy()[is_node], np.concatenate([g.x for g in some]))
        assert len(weights) == (kind in ("padded", "static unions"))
        for one in weights:
            np.testing.assert_array_equal(one.numpy() > 0, is_node)


def model_of(outputs):
    keras.utils.set_random_seed(0)
    return GraphSequential([GCNConv(outputs, normalize=True)])


def losses_of(model, members, several):
    """The loss of each node, graph by graph, in float64."""
    logits = [np.asarray(model([g.x, g.a.toarray()]), "float64") for g in members]
    found = []
    for one, graph in zip(logits, members, strict=True):
        if several:
            cross_entropy = np.logaddexp(0, one) - graph.y * one
            found.append(cross_entropy.mean(axis=1))
        else:
            log_sum = np.log(np.exp(one).sum(1))
            found.append(log_sum - one[np.arange(graph.nodes), graph.y])
    return np.concatenate(found), np.concatenate(logits)


@pytest.mark.few(3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", ["classes", "several"])
def test_loss_and_metrics_of_an_epoch_are_means_over_all_nodes(members, rng, kind, labels):
    several = labels == "several"
    if several:
        members = multi_label(members, rng)
        model = model_of(7)
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile("sgd", loss, weighted_metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)])
    else:
        model = model_of(CLASSES)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, weighted_metrics=["accuracy"])
    model([members[0].x, members[0].a.toarray()])
    expected, logits = losses_of(model, members, several)
    y = np.concatenate([g.y for g in members])
    right = (logits > 0) == (y > 0) if several else logits.argmax(1) == y
    batches = KINDS[kind](members, node_labels=True)
    found = model.evaluate(batches, return_dict=True, verbose=0)
    assert found.pop("loss") == pytest.approx(expected.mean(), rel=1e-4)
    assert list(found.values()) == pytest.approx([right.mean()], rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_class_weights_scale_the_loss_of_each_row(members, kind):
    weights = {0: 0.5, 2: 4.0}  # class 1 has weight 1
    model = model_of(CLASSES)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model([members[0].x, members[0].a.toarray()])
    losses, _ = losses_of(model, members, False)
    y = np.concatenate([g.y for g in members])
    expected = np.mean(np.array([0.5, 1, 4])[y] * losses)
    batches = KINDS[kind](members, node_labels=True, class_weight=weights)
    assert model.evaluate(batches, verbose=0) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_class_weights_of_graphs(members, kind):
    members = [dataclasses.replace(g, y=k % 2) for k, g in enumerate(members)]
    batches = KINDS[kind](members, class_weight={1: 3.0})
    found = [w.numpy() for *_, w in batches]
    labels = [np.resize([0, 1], len(one)) for one in found]
    scale = found[0][0]
    assert scale == (pytest.approx(6 / 5) if kind == "static unions" else 1)
    for one, y in zip(found, labels, strict=True):
        real = one > 0
        np.testing.assert_allclose(one[real], (scale * np.array([1, 3])[y])[real], rtol=1e-6)
    assert sum((one > 0).sum() for one in found) == 5


@pytest.fixture
def graph(rng):
    a = sp.random_array((12, 12), density=0.4, rng=rng)
    y = np.array([0, 0, 0, 0, 1, 1, 2, 0, 1, 2, 2, 0])
    return graphs.Graph(rng.normal(size=(12, 4)), a, y=y, splits={"train": np.arange(12) < 7})


def weights_of(form, graph, class_weight):
    """The weight of each node of the split, of an average of 1 without weights of classes."""
    if form == "whole graph":
        ((_, _, weights),) = data.single_graph(graph, "train", class_weight=class_weight)
        return weights.numpy() * 7 / 12
    if form == "without split":
        split = dataclasses.replace(
            graph, x=graph.x[:7], a=graph.a[:7, :7], y=graph.y[:7], splits={}
        )
        ((_, _, weights),) = data.single_graph(split, class_weight=class_weight)
        return np.pad(weights.numpy(), (0, 5))
    batches = data.neighbor_batches(
        graph, graph.splits["train"], [2], batch_size=3, class_weight=class_weight
    )
    found = [weights.numpy()[:3] / (9 * 3 / 7) for _, _, weights in batches]
    return np.pad(np.concatenate(found)[:7], (0, 5))


@pytest.mark.parametrize("form", ["whole graph", "without split", "neighbors"])
def test_class_weights_of_nodes(graph, form):
    found = weights_of(form, graph, {1: 2.5, 2: 0.0})
    np.testing.assert_allclose(found, [1, 1, 1, 1, 2.5, 2.5, 0, 0, 0, 0, 0, 0], rtol=1e-5)


@pytest.mark.parametrize("form", ["whole graph", "without split", "neighbors"])
def test_balanced_weights_equal_scikit_learn(graph, form):
    from sklearn.utils.class_weight import compute_sample_weight

    expected = compute_sample_weight("balanced", graph.y[:7])
    np.testing.assert_allclose(weights_of(form, graph, "balanced")[:7], expected, rtol=1e-5)


def test_loss_with_class_weights_equals_keras_on_the_rows_of_the_split(graph):
    weights = {0: 1.0, 1: 2.0, 2: 0.5}
    layer = keras.layers.Dense(CLASSES)
    nodes = keras.Sequential([layer])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    nodes.compile("sgd", loss)
    rows = graph.splits["train"]
    nodes.build((None, 4))
    kernel, bias = (np.array(one) for one in layer.get_weights())
    history = nodes.fit(
        graph.x[rows], graph.y[rows], batch_size=7, class_weight=weights, verbose=0
    ).history
    model = GraphSequential([keras.layers.Dense(CLASSES)])
    model.compile("sgd", loss)
    model(graph)
    model.set_weights([kernel, bias])
    found = model.fit(data.single_graph(graph, "train", class_weight=weights), verbose=0).history
    assert found["loss"] == pytest.approx(history["loss"], rel=1e-5)
    np.testing.assert_allclose(model.get_weights()[0], layer.get_weights()[0], rtol=1e-4, atol=1e-6)


def test_one_hot_labels_have_classes(graph):
    one_hot = dataclasses.replace(graph, y=np.eye(3)[graph.y])
    column = dataclasses.replace(graph, y=graph.y[:, None])
    for form in (one_hot, column):
        np.testing.assert_array_equal(
            weights_of("whole graph", form, "balanced"),
            weights_of("whole graph", graph, "balanced"),
        )


def test_bad_arguments_raise(members, graph, rng):
    with pytest.raises(ValueError, match=r"labels of nodes need `node_labels=True`"):
        data.disjoint_batches(members, 2)
    with pytest.raises(ValueError, match=r"row of `y` for each node.*4 nodes with y of shape \(\)"):
        data.padded_batches([dataclasses.replace(g, y=0) for g in members], 2, node_labels=True)
    with pytest.raises(ValueError, match=r"one class for each row.*shape"):
        data.disjoint_batches(
            multi_label(members, rng), 2, node_labels=True, class_weight="balanced"
        )
    with pytest.raises(TypeError, match=r"'balanced'.*Received: class_weight='even'"):
        data.single_graph(graph, "train", class_weight="even")
    with pytest.raises(ValueError, match=r"class_weight\[1\]"):
        data.single_graph(graph, "train", class_weight={1: -1.0})
    with pytest.raises(TypeError, match="integers as keys"):
        data.single_graph(graph, "train", class_weight={"a": 1.0})
    with pytest.raises(ValueError, match=r"one class for each row.*None"):
        data.single_graph(dataclasses.replace(graph, y=None), class_weight={1: 1.0})
    with pytest.raises(ValueError, match=r"labels from 0.*-1"):
        unlabelled = dataclasses.replace(graph, y=graph.y - 1)
        data.single_graph(unlabelled, "train", class_weight="balanced")
