"""Tests of node2vec: its loss, saving, what it learns, errors."""

import keras
import networkx as nx
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import evaluate, graphs, trainers
from keras_ssl.graphs.random_walks import draw_steps, walk
from tests.trainers.case import Case, zeros
from tests.trainers.small import block_graph

CASES = {
    "Node2Vec": Case(
        make=lambda: trainers.Node2Vec(
            block_graph()[0],
            dim=8,
            walk_length=6,
            context_size=3,
            p=0.5,
            q=2.0,
            negative_samples=2,
            seed=0,
        ),
        x=lambda: np.arange(256) % 128,
        decreasing_loss="loss",
        decrease=0.35,
        optimizer=lambda: keras.optimizers.Adam(5e-2),
        sgd=lambda: keras.optimizers.SGD(5.0),  # gradients of the first steps are small
        bad_data=(
            (zeros(64), "`x` must hold indices of nodes, integers"),
            (zeros(64, 1, dtype="int32"), r"`x` must have shape \(batch,\)"),
            (np.arange(65, 129), "from 0 to 127.*indices from 65 to 128"),
            (zeros(0, dtype="int32"), "no data"),
        ),
    ),
}


LENGTH, WINDOW, NEGATIVES = 7, 3, 2


def weighted_graph():
    graph = nx.gnp_random_graph(12, 0.35, seed=1)
    for number, (u, v) in enumerate(graph.edges):
        graph[u][v]["weight"] = 1.0 + number % 4
    graph.add_node(12)  # isolated
    return graph


def directed_graph():
    return nx.DiGraph([(0, 1), (1, 2), (2, 3), (0, 3), (4, 0)])  # walks end at node 3


def trainer_of(graph, **arguments):
    keras.utils.set_random_seed(4)
    settings = {
        "dim": 5,
        "walk_length": LENGTH,
        "context_size": WINDOW,
        "negative_samples": NEGATIVES,
        "p": 0.5,
        "q": 2.0,
        "seed": 3,
    }
    trainer = trainers.Node2Vec(graph, **{**settings, **arguments})
    trainer.contexts.set_weights([np.random.default_rng(0).normal(size=(trainer.nodes, 5))])
    trainer.encoder.set_weights([np.random.default_rng(1).normal(size=(trainer.nodes, 5))])
    trainer.compile(keras.optimizers.SGD(0.1))
    return trainer


def next_draws(trainer, graph, nodes):
    """Return the walks and negatives of the next step."""
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(trainer.seed_generator.state)
    drawn = draw_steps(len(nodes), LENGTH, generator)
    negatives = trainer.noise.draw((len(nodes), LENGTH + 1, NEGATIVES), generator)
    walks = walk(graphs.neighbors_of(graph), np.asarray(nodes), drawn, trainer.p, trainer.q)
    return np.asarray(walks), np.asarray(negatives)


def loss_float64(z, c, walks, negatives, ends):
    """Compute the loss pair by pair; walks end at the nodes of `ends`."""
    values = []
    for places, noise in zip(walks, negatives, strict=True):
        reached = 1
        while reached <= LENGTH and places[reached - 1] not in ends:
            reached += 1
        pairs = []
        for i in range(reached):
            for j in range(max(0, i - WINDOW), min(reached, i + WINDOW + 1)):
                if i != j:
                    u, v = places[i], places[j]
                    value = np.log1p(np.exp(-z[u] @ c[v]))
                    value += sum(np.log1p(np.exp(z[u] @ c[n])) for n in noise[i])
                    pairs.append(value)
        values.append(np.mean(pairs) if pairs else 0.0)
    return np.mean(values)


@pytest.mark.parametrize(
    ("graph", "ends"),
    [(weighted_graph(), {12}), (directed_graph(), {3})],
    ids=["weighted with an isolated node", "directed with an end"],
)
def test_step_follows_the_formula_and_its_gradient(graph, ends):
    trainer = trainer_of(graph)
    nodes = np.arange(len(graph))
    walks, negatives = next_draws(trainer, graph, nodes)
    tables = [np.asarray(one.embeddings, "float64") for one in (trainer.encoder, trainer.contexts)]
    logs = trainer.train_on_batch(nodes, return_dict=True)
    expected = loss_float64(*tables, walks, negatives, ends)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)

    # the step of SGD against finite differences of the formula
    rng = np.random.default_rng(2)
    for number, table in enumerate((trainer.encoder, trainer.contexts)):
        gradient = (tables[number] - np.asarray(table.embeddings, "float64")) / 0.1
        direction = rng.normal(size=gradient.shape)
        ahead, back = ([*tables], [*tables])
        ahead[number] = tables[number] + 1e-5 * direction
        back[number] = tables[number] - 1e-5 * direction
        ends_of = [loss_float64(*one, walks, negatives, ends) for one in (ahead, back)]
        slope = (ends_of[0] - ends_of[1]) / 2e-5
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_isolated_nodes_have_no_loss_and_are_not_drawn_as_negatives():
    graph = weighted_graph()
    trainer = trainer_of(graph)
    logs = trainer.evaluate(np.full(4, 12), verbose=0, return_dict=True)
    assert logs["loss"] == 0
    drawn = np.asarray(trainer.noise.draw((20_000,), keras.random.SeedGenerator(0)))
    weights = np.array([graph.degree(v, weight="weight") for v in graph]) ** 0.75
    shares = np.bincount(drawn, minlength=13) / 20_000
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.015)
    assert shares[12] == 0


def test_initial_weights_are_those_of_word2vec():
    trainer = trainers.Node2Vec(nx.cycle_graph(6), dim=4, walk_length=5, context_size=2)
    trainer.compile("adam")
    logs = trainer.evaluate(np.arange(6), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(6 * np.log(2), rel=1e-6)
    assert 0 < np.abs(trainer.embeddings).max() <= 1 / 8


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.5, 2.0)])
def test_embeddings_predict_the_blocks_of_a_graph(p, q):
    from sklearn.linear_model import LogisticRegression

    chance = 0.11 * np.eye(4) + 0.01
    graph, blocks = nx.stochastic_block_model([32] * 4, chance, seed=1), np.repeat(range(4), 32)
    trainer = trainers.Node2Vec(graph, 16, walk_length=20, context_size=4, p=p, q=q, seed=0)
    trainer.compile(keras.optimizers.Adam(2e-2))
    before = np.asarray(trainer.embeddings)
    trainer.fit(np.arange(128), batch_size=32, epochs=20, verbose=0)

    few = np.arange(128) % 8 == 0

    def accuracy(features):
        probe = LogisticRegression(max_iter=1000).fit(features[few], blocks[few])
        return probe.score(features[~few], blocks[~few])

    # trained on four nodes per block, a probe is better than on rows of the adjacency
    learned = accuracy(np.asarray(trainer.embeddings))
    assert learned > accuracy(nx.to_numpy_array(graph)) + 0.15
    assert learned > accuracy(before) + 0.3


def test_embeddings_predict_hidden_edges():
    split = graphs.split_edges(block_graph()[0], seed=0)
    trainer = trainers.Node2Vec(split.a, 16, walk_length=20, context_size=2, seed=0)
    trainer.compile(keras.optimizers.Adam(2e-2))
    trainer.fit(np.arange(128), batch_size=32, epochs=20, verbose=0)
    z = np.asarray(trainer.embeddings)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    assert evaluate.link_prediction(z, split.test, split.test_negatives)["auc"] > 0.67


@pytest.mark.parametrize("graph", [weighted_graph(), directed_graph()], ids=["weighted", "plain"])
def test_saved_trainer_contains_the_graph(graph, tmp_path):
    trainer = trainer_of(graph)
    trainer.train_on_batch(np.arange(4))
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")  # safe mode is the default
    stored, read = trainer.walkable.neighbors, loaded.walkable.neighbors
    assert (stored.shares is None) == (read.shares is None) == (graph.is_directed())
    for one, other in zip(stored, read, strict=True):
        if one is not None:
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded.embeddings, trainer.embeddings)


def test_trainer_from_a_configuration_does_not_train_without_weights():
    trainer = trainer_of(nx.cycle_graph(6))
    copy = trainers.Node2Vec.from_config(trainer.get_config())
    copy.compile("sgd")
    with pytest.raises(ValueError, match="must hold its graph"):
        copy.fit(np.arange(6), verbose=0)


def test_only_the_two_embedding_tables_are_trained():
    trainer = trainer_of(weighted_graph())
    assert [w.path.split("/")[-2] for w in trainer.trainable_weights] == ["embedding", "contexts"]
    assert trainer(np.array([3, 12])).shape == (2, 5)


def test_defaults_are_those_of_the_paper():
    config = trainers.Node2Vec(nx.cycle_graph(6)).get_config()
    expected = {"dim": 128, "walk_length": 80, "context_size": 10, "p": 1.0, "q": 1.0}
    assert expected.items() <= config.items()


def test_index_out_of_range_in_a_dataset_is_rejected_by_the_step():
    trainer = trainer_of(nx.cycle_graph(6))
    dataset = tf.data.Dataset.from_tensors(np.array([0, 6]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 5"):
        trainer.fit(dataset, verbose=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"graph": np.zeros((3, 3))}, ValueError, "`graph` must have edges"),
        ({"graph": np.ones((2, 3))}, ValueError, "square"),
        ({"graph": "karate"}, TypeError, "`graph`"),
        ({"p": 0}, ValueError, "`p` must be a positive number"),
        ({"q": -2.0}, ValueError, "`q` must be a positive number"),
        ({"dim": 0}, ValueError, "`dim`"),
        ({"dim": 8.0}, TypeError, "`dim`"),
        ({"walk_length": 0}, ValueError, "`walk_length`"),
        ({"context_size": 0}, ValueError, "`context_size`"),
        ({"walk_length": 4, "context_size": 5}, ValueError, "at most `walk_length`=4"),
        ({"negative_samples": 0}, ValueError, "`negative_samples`"),
        ({"noise_exponent": -1.0}, ValueError, "`noise_exponent`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.Node2Vec(**{"graph": nx.cycle_graph(6), **arguments})


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.array([0, -1]), ValueError, "from 0 to 5.*indices from -1 to 0"),
        ((np.arange(2), np.arange(2)), ValueError, "one array of indices of nodes"),
    ],
)
def test_bad_data_is_rejected_before_training(x, error, message):
    trainer = trainer_of(nx.cycle_graph(6))
    with pytest.raises(error, match=message):
        trainer.fit(x, verbose=0)
    assert int(trainer.optimizer.iterations) == 0
