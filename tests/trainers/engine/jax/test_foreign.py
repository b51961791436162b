"""What only TensorFlow has is refused before training, with the way out."""

import keras
import numpy as np
import pytest
from keras import ops

if keras.backend.backend() != "jax":
    pytest.skip("the JAX backend's engine", allow_module_level=True)

from keras_ssl import data, distribute, evaluate, graphs, networks, trainers

tf = pytest.importorskip("tensorflow")
X = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")


def encoder():
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])


class Squares(trainers.SelfSupervisedModel):
    def embed(self, batch, training):
        return {"squares": self.square(self.encoder(batch.x, training=training))}

    def square(self, x):
        return ops.square(x)


class ByTensorFlow(Squares):
    def square(self, x):
        return tf.square(x)


class ByNumPy(Squares):
    def square(self, x):
        return np.square(np.asarray(x))


class AfterUpdate(Squares):
    def after_update(self):
        self.norm = tf.norm(self.encoder.weights[0])


class Doubled(keras.layers.Layer):
    def call(self, x, training=None):
        return tf.add(x, x)


def fitted(trainer, x=X):
    trainer.compile("sgd")
    trainer.fit(x, verbose=0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: ByTensorFlow(encoder()), r"TensorFlow .*ByTensorFlow\.square \(.*line \d+"),
        (lambda: AfterUpdate(encoder()), r"TensorFlow .*AfterUpdate\.after_update \("),
        (lambda: Squares(encoder(), augment=Doubled()), r"TensorFlow .*Doubled\.call \("),
        (lambda: ByNumPy(encoder()), r"NumPy .*ByNumPy\.square \("),
    ],
    ids=["embed", "after_update", "augment", "NumPy"],
)
def test_a_call_of_another_library_is_named(make, named):
    trainer = make()
    before = trainer.encoder.get_weights()
    with pytest.raises(TypeError, match=f"calls {named}.*Use `keras.ops` there.*Received"):
        fitted(trainer)
    np.testing.assert_array_equal(trainer.encoder.get_weights()[0], before[0])


def test_errors_of_jax_in_a_layer_are_shown():
    class Branch(keras.layers.Layer):
        def call(self, x):
            return x if ops.max(x) > 0 else -x

    with pytest.raises(Exception, match="boolean conversion of traced array"):
        fitted(Squares(encoder(), augment=Branch()))


def test_strategies_of_tensorflow():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope(), pytest.raises(ValueError, match=r"OneDeviceStrategy.*'jax'"):
        Squares(encoder())
    trainer = Squares(encoder())
    with strategy.scope(), pytest.raises(ValueError, match=r"leave its scope.*DataParallel"):
        fitted(trainer)


def test_data_of_tensorflow():
    ragged = tf.ragged.constant([[1.0, 2.0], [3.0]])
    words = tf.constant(["a", "b"])
    for x, message in ((ragged, "one shape per batch.*ragged"), (words, "no strings.*token ids")):
        for one in (x, tf.data.Dataset.from_tensors(x)):
            with pytest.raises(ValueError, match=message):
                fitted(Squares(encoder()), one)


def test_sparse_adjacencies():
    graph = graphs.Graph(a=np.eye(6), x=np.eye(6, dtype="float32"))
    sparse, edges = (data.single_graph(graph, adjacency=one) for one in ("sparse", "edges"))
    trainer = trainers.DGI(networks.gcn((4,)))
    with pytest.raises(ValueError, match=r'no sparse tensors.*adjacency="edges".*1 of them sparse'):
        fitted(trainer, sparse)
    with pytest.raises(ValueError, match=r'no sparse tensors.*adjacency="edges"'):
        evaluate.extract_features(trainer.encoder, sparse)
    trainer.fit(edges, verbose=0)
    features, _ = evaluate.extract_features(trainer, edges)
    np.testing.assert_allclose(features, trainer.predict(edges, verbose=0), rtol=1e-5)


def test_a_pool_must_know_how_many_graphs_there_are():
    some = [graphs.Graph(a=np.eye(n), x=np.ones((n, 3), "float32")) for n in (3, 4, 5, 6)]
    batches = data.disjoint_batches(some, 2, adjacency="edges")
    with pytest.raises(ValueError, match="told how many graphs"):
        fitted(trainers.InfoGraph(networks.gin((4,))), batches)


def test_devices():
    assert distribute.devices("one_device", seed=0).num_replicas_in_sync == 1
    with pytest.raises(ValueError, match=r"keras\.distribution.*name='mirrored'"):
        distribute.devices("mirrored")
    with pytest.raises(ValueError, match=r"replicas=2"):
        distribute.devices(replicas=2)
    with pytest.raises(ValueError, match="`name` must be one of"):
        distribute.devices("gpu")
    try:
        distribute.devices("auto")
        found = keras.distribution.distribution()
        assert (found is None) == (len(keras.distribution.list_devices()) == 1)
    finally:
        keras.distribution.set_distribution(None)
