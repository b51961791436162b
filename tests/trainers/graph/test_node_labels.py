"""The online probe on labels of the nodes of several graphs: padding does not count."""

import numpy as np
import pytest

from keras_ssl import data, graphs, networks, trainers

KINDS = {
    "unions": lambda members: data.disjoint_batches(members, 2, node_labels=True),
    "static unions": lambda members: data.disjoint_batches(
        members, 2, "edges", static_shapes=True, node_labels=True
    ),
    "padded": lambda members: data.padded_batches(members, 2, node_labels=True),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_of_the_probe_is_that_over_all_nodes(rng, kind):
    members = []
    for n in (6, 2, 7, 1, 3):
        a = np.ones((n, n), "float32")
        members.append(graphs.Graph(rng.normal(size=(n, 4)), a, y=rng.integers(3, size=n)))
    trainer = trainers.DGI(networks.gcn((5,)))
    probe = trainers.OnlineProbe(3, by_position=kind == "padded")
    trainer.compile("adam", probe=probe, jit_compile=False)
    trainer.fit(KINDS[kind](members), verbose=0)
    # weights that tell rows apart, also those of padding
    for variable in probe.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    found = trainer.evaluate(KINDS[kind](members), verbose=0, return_dict=True)
    logits = []
    for one in members:  # graph by graph, without padding
        h = trainer([one.x, one.a.toarray()])
        logits.append(np.asarray(probe(h[None] if kind == "padded" else h), "float64"))
    logits = np.concatenate(logits)
    y = np.concatenate([one.y for one in members])
    assert found["probe_accuracy"] == pytest.approx((logits.argmax(1) == y).mean(), rel=1e-5)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]
    assert found["probe_loss"] == pytest.approx(losses.mean(), rel=1e-4)
