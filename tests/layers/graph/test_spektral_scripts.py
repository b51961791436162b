"""Scripts written as Spektral's examples are, with our layers: docs/graphs.md says what changes.

Spektral's data sets, loaders and transforms are its own; data are small and random.
"""

import keras
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data, layers
from keras_ssl.layers.graph import (
    ARMAConv,
    ChebConv,
    GATConv,
    GCNConv,
    GCSConv,
    GINConv,
    MinCutPool,
    NodeMask,
    TopKPool,
)
from keras_ssl.layers.graph import EdgeConditionedConv as ECCConv
from keras_ssl.layers.graph import MeanPool as GlobalAvgPool
from keras_ssl.layers.graph import SumPool as GlobalSumPool

if keras.backend.backend() != "tensorflow":
    pytest.skip("Spektral needs TensorFlow", allow_module_level=True)

spektral_data = pytest.importorskip("spektral.data")

import tensorflow as tf  # noqa: E402
from spektral.transforms import AdjToSpTensor, LayerPreprocess, NormalizeAdj  # noqa: E402
from spektral.utils.sparse import sp_matrix_to_sp_tensor  # noqa: E402

# Spektral shuffles datasets with np.random, which warns
pytestmark = pytest.mark.filterwarnings("ignore:you are shuffling")
NODES, FEATURES, CLASSES = 20, 5, 3


def adjacency(rng, n):
    a = np.triu(rng.uniform(size=(n, n)) < 0.5, 1) * 1.0
    a[0, 1] = 1
    return sp.csr_matrix(a + a.T)


class OneGraph(spektral_data.Dataset):
    """As a citation graph."""

    def read(self):
        rng = np.random.default_rng(0)
        self.train = np.arange(NODES) < 12
        x = rng.normal(size=(NODES, FEATURES)).astype("float32")
        y = np.eye(CLASSES)[np.arange(NODES) % CLASSES]
        return [spektral_data.Graph(x=x, a=adjacency(rng, NODES), y=y)]


class Molecules(spektral_data.Dataset):
    """As QM9 or a TU dataset."""

    def __init__(self, with_edges=False, **kwargs):
        self.with_edges = with_edges
        super().__init__(**kwargs)

    def read(self):
        rng = np.random.default_rng(0)
        members = []
        for number in range(9):
            a = adjacency(rng, 4 + number % 3)
            e = rng.normal(size=(a.nnz, 2)) if self.with_edges else None
            x = rng.normal(size=(a.shape[0], FEATURES))
            members.append(spektral_data.Graph(x=x, a=a, e=e, y=np.eye(2)[number % 2]))
        return members


def gat(channels, **arguments):
    penalty = keras.regularizers.L2(1e-4)
    return GATConv(channels, attn_heads=2, attn_kernel_regularizer=penalty, **arguments)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("conv", "make"),
    [
        (GCNConv, GCNConv),
        (ChebConv, lambda c, **k: ChebConv(c, K=2, **k)),
        (ARMAConv, lambda c, **k: ARMAConv(c, order=2, gcn_activation="elu", **k)),
        (GATConv, gat),
    ],
)
def test_functional_model_of_sparse_inputs_on_a_single_loader(conv, make):
    dataset = OneGraph(transforms=[LayerPreprocess(conv)])
    x = keras.Input(shape=(FEATURES,))
    a = keras.Input((NODES,), sparse=True, dtype=dataset[0].a.dtype)
    h = make(4, activation="elu", kernel_regularizer=keras.regularizers.L2(1e-4))([x, a])
    last = {"concat_heads": False} if conv is GATConv else {}
    h = make(CLASSES, activation="softmax", **last)([keras.layers.Dropout(0.5)(h), a])
    model = keras.Model(inputs=[x, a], outputs=h)
    model.compile("adam", "categorical_crossentropy", weighted_metrics=["acc"])
    loader = spektral_data.SingleLoader(dataset, sample_weights=dataset.train)
    steps = {"steps_per_epoch": loader.steps_per_epoch, "validation_steps": 1}
    history = model.fit(
        loader.load(), validation_data=loader.load(), epochs=1, verbose=0, **steps
    ).history
    assert np.isfinite(history["loss"] + history["val_loss"]).all()
    # one graph as arrays has no batches: the model is called
    out = model([tf.convert_to_tensor(dataset[0].x), sp_matrix_to_sp_tensor(dataset[0].a)])
    np.testing.assert_allclose(np.sum(out, axis=1), 1, rtol=1e-5)


def train(model, batches, loss, signature=None):
    """A training loop as in the examples, and the losses of its steps."""
    optimizer = keras.optimizers.Adam(0.01)

    @tf.function(input_signature=signature, reduce_retracing=True)
    def step(inputs, target):
        with tf.GradientTape() as tape:
            predictions = model(inputs, training=True)
            value = loss(target, predictions) + sum(model.losses)
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    return [float(step(*batch)) for batch in batches]


class EdgeNetwork(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv1 = ECCConv(4, activation="relu", aggregation="sum")
        self.conv2 = ECCConv(4, activation="relu", aggregation="sum")
        self.pool = GlobalSumPool()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        x, a, e, i = inputs
        return self.dense(self.pool([self.conv2([self.conv1([x, a, e]), a, e]), i]))


class Isomorphism(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = GINConv(layers.ProjectionHead([8, 4]), epsilon=0)
        self.pool = GlobalAvgPool()
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        x, a, i = inputs
        return self.dense(self.pool([self.conv([x, a]), i]))


@pytest.mark.parametrize(("network", "with_edges"), [(EdgeNetwork, True), (Isomorphism, False)])
def test_training_loop_with_the_signature_of_a_disjoint_loader(network, with_edges):
    loader = spektral_data.DisjointLoader(Molecules(with_edges), batch_size=4, epochs=2)
    losses = train(network(), loader, keras.losses.MeanSquaredError(), loader.tf_signature())
    assert len(losses) == 6 and np.isfinite(losses).all()


def test_functional_model_of_unions_with_pooling():
    loader = spektral_data.DisjointLoader(
        Molecules(transforms=NormalizeAdj()), batch_size=4, epochs=1
    )
    x = keras.Input(shape=(FEATURES,))
    a = keras.Input(shape=(None,), sparse=True)
    i = keras.Input(shape=(), dtype="int64")
    h, a_1, i_1 = TopKPool(ratio=0.5)([GCSConv(4, activation="relu")([x, a]), a, i])
    h = GlobalAvgPool()([GCSConv(4, activation="relu")([h, a_1]), i_1])
    model = keras.Model([x, a, i], keras.layers.Dense(2, activation="softmax")(h))
    losses = train(model, loader, keras.losses.CategoricalCrossentropy(), loader.tf_signature())
    assert np.isfinite(losses).all()


class Clusters(keras.Model):
    def __init__(self):
        super().__init__()
        self.mask = NodeMask()  # instead of `GraphMasking()`
        self.conv1 = GCSConv(4, activation="relu")
        self.pool = MinCutPool(2)
        self.conv2 = GCSConv(4, activation="relu")
        self.dense = keras.layers.Dense(2)

    def call(self, inputs):
        x, a, mask = inputs  # instead of `x, a`
        x = self.conv1([self.mask([x, mask]), a])
        x, a = self.pool([x, a])
        return self.dense(GlobalSumPool()(self.conv2([x, a])))


def test_padded_batches_with_masks_and_clusters():
    loader = spektral_data.BatchLoader(Molecules(), batch_size=4, mask=True)
    model = Clusters()
    model.compile("adam", "mse", jit_compile=False)
    # instead of `loader.load(), steps_per_epoch=...`, which Keras 3 does not take
    history = model.fit(data.from_spektral_loader(loader), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert len(model.losses) == 2


def test_clustering_of_one_graph():
    dataset = OneGraph(transforms=[LayerPreprocess(GCSConv), AdjToSpTensor()])
    x, a = keras.Input(shape=(FEATURES,)), keras.Input(shape=(None,), sparse=True)
    pooled, _, s = MinCutPool(3, return_selection=True)([GCSConv(4)([x, a]), a])
    model = keras.Model([x, a], [pooled, s])
    inputs = [tf.convert_to_tensor(dataset[0].x), dataset[0].a]
    losses = train(model, [(inputs, 0)] * 3, lambda *_: 0.0)
    assert losses[-1] < losses[0]
    assert model(inputs)[1].shape == (NODES, 3)


class OneGridManySignals(spektral_data.Dataset):
    """As MNIST."""

    def read(self):
        rng = np.random.default_rng(0)
        self.a = sp_matrix_to_sp_tensor(GCNConv.preprocess(adjacency(rng, 9)))
        signals = rng.normal(size=(8, 9, 1)).astype("float32")
        return [spektral_data.Graph(x=x, y=number % 2) for number, x in enumerate(signals)]


class SignalNetwork(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = GCNConv(4, activation="elu")
        self.flatten = keras.layers.Flatten()  # needs a static number of nodes
        self.dense = keras.layers.Dense(2, activation="softmax")

    def call(self, inputs):
        return self.dense(self.flatten(self.conv(inputs)))


def test_mixed_loader_before_a_dense_layer_on_all_nodes():
    loader = spektral_data.MixedLoader(OneGridManySignals(), batch_size=4, epochs=2)
    losses = train(SignalNetwork(), loader, keras.losses.SparseCategoricalCrossentropy())
    assert len(losses) == 4 and np.isfinite(losses).all()
