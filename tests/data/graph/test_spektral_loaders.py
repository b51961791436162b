"""All Spektral loaders train a Keras model with our layers."""

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data is tested once", allow_module_level=True)

spektral_data = pytest.importorskip("spektral.data")

from keras_ssl.layers.graph import GCNConv, MeanPool  # noqa: E402

# Spektral shuffles datasets with np.random, which warns
pytestmark = pytest.mark.filterwarnings("ignore:you are shuffling")


class Members(spektral_data.Dataset):
    def __init__(self, sizes, mixed=False, node_labels=False):
        self.sizes, self.mixed, self.node_labels = sizes, mixed, node_labels
        super().__init__()

    def read(self):
        rng = np.random.default_rng(0)
        adjacency = [sp.csr_matrix((rng.uniform(size=(n, n)) < 0.5) * 1.0) for n in self.sizes]
        if self.mixed:
            self.a = adjacency[0]
        return [
            spektral_data.Graph(
                x=np.full((n, 3), number, "float32"),
                a=None if self.mixed else a,
                y=np.eye(2)[np.arange(n) % 2] if self.node_labels else np.eye(2)[number % 2],
            )
            for number, (n, a) in enumerate(zip(self.sizes, adjacency, strict=True))
        ]


class Model(keras.Model):
    def __init__(self, by_node=False):
        super().__init__()
        self.conv = GCNConv(4, normalize=True)
        self.pool = None if by_node else MeanPool()
        self.classify = keras.layers.Dense(2)

    def call(self, inputs):
        x, a, *others = inputs
        i = [one for one in others if one.dtype != "bool"]
        mask = next((one for one in others if one.dtype == "bool"), None)
        h = self.conv([x, a])
        h = h if self.pool is None else self.pool([h, *i] if i else h, mask=mask)
        return self.classify(h)


def single():
    weights = np.array([1.0, 0, 1, 0, 0, 0])
    dataset = Members([6], node_labels=True)
    return spektral_data.SingleLoader(dataset, sample_weights=weights), True


LOADERS = {
    "single": single,
    "disjoint": lambda: (spektral_data.DisjointLoader(Members(range(3, 10)), batch_size=3), False),
    "batch": lambda: (spektral_data.BatchLoader(Members(range(3, 10)), batch_size=3), False),
    "packed": lambda: (spektral_data.PackedBatchLoader(Members(range(3, 10)), batch_size=3), False),
    "mixed": lambda: (spektral_data.MixedLoader(Members([5] * 7, mixed=True), batch_size=3), False),
}


@pytest.mark.parametrize("name", LOADERS)
def test_fit_and_evaluate(name):
    loader, by_node = LOADERS[name]()
    dataset = data.from_spektral_loader(loader)
    assert len(dataset) == loader.steps_per_epoch == (1 if name == "single" else 3)
    model = Model(by_node)
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    history = model.fit(dataset, epochs=3, verbose=0).history["loss"]
    assert len(history) == 3 and np.isfinite(history).all()
    assert len(model.predict(data.from_spektral_loader(loader), verbose=0)) in (6, 7)


@pytest.mark.parametrize("name", ["disjoint", "batch", "packed", "mixed"])
def test_every_epoch_has_every_graph_once_in_a_new_order(name):
    np.random.seed(0)
    dataset = data.from_spektral_loader(LOADERS[name]()[0])
    orders = []
    for _ in range(3):
        seen = []
        for (x, *_), _ in dataset:
            rows = x.numpy().reshape(-1, 3)[:, 0] if name == "disjoint" else x.numpy()[:, 0, 0]
            seen += list(dict.fromkeys(rows.tolist()))
        assert sorted(seen) == list(range(7))
        orders.append(seen)
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_datasets_are_batched_without_a_loader():
    (x, _, i), y = next(iter(data.disjoint_batches(Members(range(3, 10)), 3)))
    assert x.shape == (12, 3) and y.shape == (3, 2)
    np.testing.assert_array_equal(np.bincount(i), [3, 4, 5])


def test_a_functional_model_as_in_spektrals_examples():
    """With a preprocessing transform of the dataset, sparse input, and Spektral's loader."""
    from spektral.transforms import LayerPreprocess

    members = Members([20], node_labels=True)
    members.apply(LayerPreprocess(GCNConv))
    loader = spektral_data.SingleLoader(members, sample_weights=np.ones(20))
    x, a = keras.Input((3,)), keras.Input((None,), sparse=True)
    h = keras.layers.Dropout(0.5)(GCNConv(8, activation="relu")([x, a]))
    model = keras.Model([x, a], GCNConv(2, activation="softmax")([h, a]))
    model.compile("adam", "categorical_crossentropy", weighted_metrics=["accuracy"])
    history = model.fit(
        loader.load(), steps_per_epoch=loader.steps_per_epoch, epochs=2, verbose=0
    ).history
    assert np.isfinite(history["loss"]).all()
    hat = GCNConv.preprocess(Members([20], node_labels=True)[0].a)
    assert abs(members[0].a - hat).max() < 1e-6


def padded_loader(name, mask=False, sizes=(3, 5, 4, 2), batch_size=3):
    kind = {"batch": spektral_data.BatchLoader, "packed": spektral_data.PackedBatchLoader}[name]
    return kind(Members(sizes), mask=mask, batch_size=batch_size, shuffle=False)


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("name", ["batch", "packed"])
def test_padding_is_masked(name, mask):
    """Features are those of the graphs, without a column of the mask."""
    batches = list(data.from_spektral_loader(padded_loader(name, mask)))
    assert [len(inputs) for inputs, _ in batches] == [3, 3]
    masks = np.concatenate([inputs[2].numpy().sum(axis=1) for inputs, _ in batches])
    np.testing.assert_array_equal(masks, [3, 5, 4, 2])
    for number, size in enumerate((3, 5, 4, 2)):
        (x, a, kept), y = batches[number // 3]
        x, kept = x[number % 3].numpy(), kept[number % 3].numpy()
        assert x.shape[1] == 3 and kept[:size].all() and not kept[size:].any()
        np.testing.assert_array_equal(x, kept[:, None] * np.full(3, number))
        graph = Members((3, 5, 4, 2))[number]
        found = a[number % 3].numpy()
        np.testing.assert_array_equal(found[:size, :size], graph.a.toarray())
        np.testing.assert_array_equal(y[number % 3], graph.y)


@pytest.mark.parametrize("name", ["batch", "packed"])
def test_batches_may_be_left_as_spektral_makes_them(name):
    (x, _), _ = next(iter(data.from_spektral_loader(padded_loader(name, True), node_mask=False)))
    assert x.shape == (3, 5, 4)
    inputs, _ = next(iter(data.from_spektral_loader(padded_loader(name, sizes=(4, 4, 4)))))
    assert len(inputs) == 2  # nothing is padded


def test_labels_of_padded_nodes():
    loader = spektral_data.BatchLoader(
        Members((3, 5), node_labels=True), mask=True, batch_size=2, node_level=True, shuffle=False
    )
    ((x, _, mask), y) = next(iter(data.from_spektral_loader(loader)))
    assert x.shape == (2, 5, 3) and mask.shape == (2, 5) and y.shape == (2, 5, 2)


@pytest.mark.few(1)
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("name", ["batch", "packed"])
def test_networks_and_trainers_do_not_count_padding(name, mask):
    """Vectors of padded graphs are those of the graphs alone, with a bias and batch statistics."""
    from keras_ssl import networks, trainers
    from keras_ssl.layers.graph import GraphSequential

    network = GraphSequential(
        [GCNConv(4, normalize=True, bias_initializer="ones"), MeanPool(), keras.layers.Dense(2)]
    )
    batches = data.from_spektral_loader(padded_loader(name, mask))
    found = network.predict(batches, verbose=0)
    expected = [network([one.x[None], one.a.toarray()[None]])[0] for one in Members((3, 5, 4, 2))]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-5)

    trainer = trainers.InfoGraph(networks.gin((4,)))
    trainer.compile("sgd")
    loss = trainer.evaluate(padded_loader(name, mask, batch_size=2), verbose=0)
    members = data.padded_batches(Members((3, 5, 4, 2)), 2)
    np.testing.assert_allclose(loss, trainer.evaluate(members, verbose=0), rtol=1e-5)
