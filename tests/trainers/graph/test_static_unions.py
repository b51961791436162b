"""Tests that unions padded to static shapes have the losses of plain unions."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, data, graphs, trainers
from keras_ssl.layers import PredictionHead, ProjectionHead, SyncBatchNormalization
from keras_ssl.layers.graph import GCNConv, GINConv, GraphSequential, MeanPool, SumPool
from tests.trainers.graph.small_graphs import encoder, graph, losses_of, padded


@keras.saving.register_keras_serializable(package="tests")
class OppositeFeatures(keras.layers.Layer):
    """A deterministic corruption."""

    def call(self, inputs):
        return (-inputs[0], *inputs[1:])

    def compute_output_spec(self, inputs, **_):
        return inputs


def same_views():
    return augment.graph.GraphViews([augment.graph.RandomEdgeDrop(0.0)])


def certain_vgae(**arguments):
    """Return a VGAE whose samples are the means: the standard deviation is exp(-30)."""
    head = GCNConv(2, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(-30))
    return trainers.VGAE(encoder(), GCNConv(2, normalize=True), head, **arguments)


METHODS = {
    "GAE": lambda: trainers.GAE(encoder()),
    "VGAE": certain_vgae,
    "DGI": lambda: trainers.DGI(encoder(), corruption=OppositeFeatures()),
    "InfoGraph": lambda: trainers.InfoGraph(encoder()),
    "BGRL": lambda: trainers.BGRL(encoder(), predictor=keras.layers.Dense(3), augment=same_views()),
    "GraphMAE": lambda: trainers.GraphMAE(
        encoder(), GCNConv(5, normalize=True, bias_initializer="ones"), mask_rate=1.0
    ),
}


def members(sizes):
    return [graphs.Graph(*graph(number, nodes)) for number, nodes in enumerate(sizes)]


def unions(sizes=(5, 9, 6, 7, 4), static_shapes=False):
    """Return unions of two graphs; the first has 14 nodes, and 16 with static shapes."""
    return data.disjoint_batches(
        members(sizes), 2, adjacency="edges", static_shapes=static_shapes, drop_remainder=True
    )


@pytest.mark.few(3)
@pytest.mark.parametrize("name", METHODS)
def test_losses_equal_those_of_plain_unions(name):
    trainer = METHODS[name]()
    found = [
        [losses_of(trainer, *inputs) for (inputs,) in unions(static_shapes=static)]
        for static in (False, True)
    ]
    for plain, static in zip(*found, strict=True):
        for key in plain.keys() - {"representation"}:
            np.testing.assert_allclose(
                static[key].mean(), plain[key].mean(), rtol=1e-5, err_msg=key
            )


@pytest.mark.parametrize("make", [trainers.GAE, certain_vgae], ids=["GAE", "VGAE"])
def test_random_pairs_of_a_padded_union_estimate_the_loss_of_all_pairs(make):
    """Includes pairs of the last graph, whose first node follows from the sizes of the others."""
    (inputs,) = next(iter(unions((3, 9, 12, 11), static_shapes=True)))
    assert (inputs[2].numpy() == -1).sum() == 11
    arguments = {} if make is certain_vgae else {"encoder": encoder()}
    exact = losses_of(make(**arguments), *inputs)["reconstruction"]
    arguments = {} if make is certain_vgae else {"encoder": encoder()}
    sampled = losses_of(make(**arguments, negatives_per_edge=5000, seed=0), *inputs)
    np.testing.assert_allclose(sampled["reconstruction"], exact, rtol=0.02)


def test_grace_rejects_padded_nodes():
    trainer = trainers.GRACE(encoder(), augment=same_views())
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=r"padded nodes are not supported.*2 of 16 nodes"):
        trainer.fit(unions(static_shapes=True), verbose=0)
    assert int(trainer.optimizer.iterations) == 0
    assert np.isfinite(trainer.fit(unions(), verbose=0).history["loss"][0])


def test_padded_union_trains_with_xla():
    trainer = trainers.GAE(GraphSequential([GCNConv(3, normalize=True)]))
    trainer.compile(keras.optimizers.SGD(0.0), jit_compile=True)
    found = trainer.fit(unions(static_shapes=True), verbose=0).history["loss"]
    plain = trainers.GAE(trainer.encoder)
    plain.compile(keras.optimizers.SGD(0.0))
    wanted = plain.fit(unions(), verbose=0).history["loss"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def normalized(width=4, momentum=0.5):
    """Return dense layers with batch normalization."""
    normalization = SyncBatchNormalization(momentum=momentum)
    return ProjectionHead((width, width), normalization, last_normalization=normalization)


def gin():
    return GraphSequential([GINConv(normalized()), GINConv(normalized())])


def small_vgae(places):
    head = GCNConv(2, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(-30))
    return trainers.VGAE(gin(), normalized(2), head)


NORMALIZED = {
    "GAE": lambda places: trainers.GAE(gin()),
    "VGAE": small_vgae,
    "DGI": lambda places: trainers.DGI(
        gin(), corruption=OppositeFeatures(), readout=MeanPool(places)
    ),
    "InfoGraph": lambda places: trainers.InfoGraph(
        gin(), SumPool(places), normalized(3), normalized(3)
    ),
    "BGRL": lambda places: trainers.BGRL(
        gin(), projector=normalized(3), predictor=PredictionHead(4), augment=same_views()
    ),
    "GraphMAE": lambda places: trainers.GraphMAE(gin(), normalized(5), mask_rate=1.0),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NORMALIZED)
def test_padding_enters_no_batch_statistics(name):
    """Two graphs in the last batch of four: losses, weights and moving averages are equal."""
    results = []
    for static in (False, True):
        keras.utils.set_random_seed(0)
        trainer = NORMALIZED[name](4 if static else None)
        trainer.compile(keras.optimizers.SGD(0.01))
        batches = data.disjoint_batches(
            members((5, 9, 6, 7, 4, 8)), 4, adjacency="edges", static_shapes=static
        )
        history = trainer.fit(batches, validation_data=batches, verbose=0).history
        moving = [one for one in trainer.weights if "moving_" in one.path]
        assert moving
        results.append((history, trainer.get_weights()))
    (plain, weights), (static, found) = results
    assert plain.keys() == static.keys()
    for key, value in plain.items():
        np.testing.assert_allclose(static[key], value, rtol=1e-4, atol=1e-5, err_msg=key)
    for one, other in zip(found, weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.few(1)
@pytest.mark.parametrize("static", [False, True])
def test_losses_of_an_epoch_are_means_over_all_graphs_or_nodes(static):
    """BGRL's loss is a mean over nodes, DGI's one over graphs: whatever the batches."""
    sizes = (5, 9, 6, 7, 4)
    for name in ("BGRL", "DGI"):
        trainer = METHODS[name]()
        trainer.compile(keras.optimizers.SGD(0.0))
        found = [
            trainer.evaluate(
                data.disjoint_batches(
                    members(sizes), batch_size, adjacency="edges", static_shapes=static
                ),
                verbose=0,
                return_dict=True,
            )["loss"]
            for batch_size in (5, 2, 3)
        ]
        np.testing.assert_allclose(found, found[0], rtol=1e-5)
        alone = [
            losses_of(trainer, *graph(number, nodes), training=False)
            for number, nodes in enumerate(sizes)
        ]
        alone = [next(v for k, v in one.items() if k != "representation").mean() for one in alone]
        weights = sizes if name == "BGRL" else None
        np.testing.assert_allclose(found[0], np.average(alone, weights=weights), rtol=1e-5)


def test_losses_of_padded_batches_are_means_over_graphs():
    trainer = trainers.BGRL(encoder(), predictor=keras.layers.Dense(3), augment=same_views())
    trainer.compile(keras.optimizers.SGD(0.0))
    found = trainer.evaluate(
        data.padded_batches(members((5, 9, 6, 7, 4)), 2), verbose=0, return_dict=True
    )["loss"]
    alone = [
        losses_of(trainer, *graph(number, nodes), training=False)["regression"].mean()
        for number, nodes in enumerate((5, 9, 6, 7, 4))
    ]
    np.testing.assert_allclose(found, np.mean(alone), rtol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("name", ["BGRL", "DGI", "GraphMAE"])
def test_neighbor_batches_have_the_losses_and_statistics_of_their_nodes(name):
    """Unused places change nothing: a batch equals the same batch without them."""
    x, a = graph(1, 12)
    batches = data.neighbor_batches(graphs.Graph(x, a), [0, 1, 2], [5, 2], 4, seed=0)
    ((x, a, mask),) = next(iter(batches))
    keep = np.flatnonzero(mask)
    assert len(keep) < len(mask)
    place = np.zeros(len(mask), int)
    place[keep] = np.arange(len(keep))
    edges = np.flatnonzero(a["weights"])
    small = {
        end: place[a[end].numpy()[edges]].astype("int32") for end in ("senders", "receivers")
    } | {"weights": a["weights"].numpy()[edges]}
    results = []
    for inputs in ((x.numpy()[keep], small), (x, a, mask)):
        keras.utils.set_random_seed(0)
        trainer = NORMALIZED[name](None)
        trainer.compile(keras.optimizers.SGD(0.01))
        losses = trainer.train_on_batch(inputs, return_dict=True)
        results.append((losses, trainer.get_weights()))
    for key, value in results[0][0].items():
        np.testing.assert_allclose(results[1][0][key], value, rtol=1e-4, err_msg=key)
    for one, other in zip(results[1][1], results[0][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.full
def test_the_probe_counts_the_seeds_of_neighbor_batches():
    """Statistics, accuracy and loss are those of the seeds, whatever fills the batches."""
    x, a = graph(1, 12)
    y = np.arange(12) % 2
    seeds = np.arange(7)
    batches = data.neighbor_batches(graphs.Graph(x, a, y=y), seeds, [12], 4)
    trainer = trainers.DGI(encoder())
    probe = trainers.OnlineProbe(2, keras.optimizers.SGD(0.0))
    trainer.compile(keras.optimizers.SGD(0.0), probe=probe)
    trainer.fit(batches, verbose=0)
    h = np.concatenate([trainer(inputs).numpy()[:4] for inputs, *_ in batches])[:7]
    h = h.astype("float64")
    mean, variance = np.zeros(3), np.ones(3)
    for rows in (h[:4], h[4:]):
        mean, variance = 0.9 * mean + 0.1 * rows.mean(0), 0.9 * variance + 0.1 * rows.var(0)
    np.testing.assert_allclose(probe.standardize.moving_mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(probe.standardize.moving_variance, variance, rtol=1e-4)
    logits = probe(h.astype("float32")).numpy().astype("float64")
    found = trainer.evaluate(batches, return_dict=True, verbose=0)
    np.testing.assert_allclose(found["probe_accuracy"], np.mean(logits.argmax(1) == y[:7]))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.log(chances[seeds, y[:7]]).mean()
    np.testing.assert_allclose(found["probe_loss"], loss, rtol=1e-5)


@pytest.mark.full
def test_the_probe_leaves_out_padded_nodes():
    sizes = (5, 9, 6)
    x, a, mask = padded(*(graph(number, nodes) for number, nodes in enumerate(sizes)), nodes=9)
    y = np.arange(27).reshape(3, 9) % 2
    trainer = trainers.BGRL(encoder(), predictor=keras.layers.Dense(3), augment=same_views())
    probe = trainers.OnlineProbe(2, keras.optimizers.SGD(0.0), by_position=True)
    trainer.compile(keras.optimizers.SGD(0.0), probe=probe)
    trainer.fit((x, a, mask), y, batch_size=3, verbose=0)
    h = np.asarray(trainer([x, a, mask]))[mask].astype("float64")
    np.testing.assert_allclose(probe.standardize.moving_mean, 0.1 * h.mean(0), rtol=1e-4, atol=1e-6)
    right = probe(h.astype("float32")).numpy().argmax(1) == y[mask]
    found = trainer.evaluate((x, a, mask), y, return_dict=True, verbose=0)
    np.testing.assert_allclose(found["probe_accuracy"], right.mean(), rtol=1e-6)
