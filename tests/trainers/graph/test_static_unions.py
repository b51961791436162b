"""Tests that unions padded to static shapes have the losses of plain unions."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, data, graphs, trainers
from keras_ssl.layers.graph import GCNConv, GraphSequential
from tests.trainers.graph.small_graphs import encoder, graph, losses_of


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
    # one batch only, since Keras weights the losses of batches by their rows
    found = trainer.fit(unions(static_shapes=True).take(1), verbose=0).history["loss"]
    plain = trainers.GAE(trainer.encoder)
    plain.compile(keras.optimizers.SGD(0.0))
    wanted = plain.fit(unions().take(1), verbose=0).history["loss"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
