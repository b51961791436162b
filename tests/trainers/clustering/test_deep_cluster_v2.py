"""DeepCluster-v2: its loss, memory bank, clusters, k-means, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, trainers
from keras_ssl.trainers.clustering.deep_cluster_v2 import _spherical_k_means
from tests.trainers.case import BAD_IMAGES, Case, with_indices, zeros
from tests.trainers.small import encoder, images


def small_deep_cluster() -> trainers.DeepClusterV2:
    # similar views, since clusters of few images generalise little
    views = augment.MultiCropViews(
        28,
        14,
        local_count=2,
        global_scale=(0.7, 1.0),
        local_scale=(0.3, 0.7),
        solarize_probability=(0.0, 0.0, 0.0),
        seed=0,
    )
    trainer = trainers.DeepClusterV2(
        encoder(size=None),
        layers.MemoryBank(256, momentum=0.0, seed=0),
        layers.ProjectionHead((32, 16), normalization=False, last_normalization=True),
        prototypes=(8, 6),
        augment=views,
        temperature=0.2,
        seed=0,
    )
    # without clusters, the first epoch would have no gradient
    trainer.assignments.assign([np.arange(256) % 8, np.arange(256) % 6])
    return trainer


CASES = {
    "DeepClusterV2": Case(
        make=small_deep_cluster,
        x=lambda: with_indices(images()[0]),
        decreasing_loss="loss",
        decrease=0.07,
        bad_data=(
            (zeros(64, 28, 28, 1), "with_index"),
            *((with_indices(x), message) for x, message in BAD_IMAGES),
        ),
        normalized=True,
    ),
}


COUNT = 32
INDEX = np.arange(COUNT)[::-1]


def crops(count=COUNT):
    """Two global views and one local one."""
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1], x[:, 8:22, 8:22]


def indexed(rows=slice(None), index=INDEX):
    return {"image": tuple(view[rows] for view in crops()), "index": index[rows]}


def deep_cluster(rate=0.1, size=COUNT, **arguments):
    keras.utils.set_random_seed(4)
    arguments = {
        "bank": layers.MemoryBank(size, momentum=0.0, seed=0),
        "projector": layers.ProjectionHead((16, 4), normalization=False),
        "prototypes": (5, 3),
        "seed": 0,
        **arguments,
    }
    trainer = trainers.DeepClusterV2(encoder(size=None), **arguments)
    trainer.compile(keras.optimizers.SGD(rate))
    return trainer


def fit(trainer, epochs=1, **arguments):
    arguments = {"batch_size": 16, "shuffle": False, "verbose": 0, "epochs": epochs, **arguments}
    return trainer.fit(indexed(), **arguments).history["loss"]


def directions(x, axis=-1):
    x = np.asarray(x, "float64")
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def embeddings(trainer):
    """Return the embeddings of all views in the order of the indices."""
    z = [directions(trainer.projector(trainer.encoder(view))) for view in crops()]
    return np.stack(z)[:, np.argsort(INDEX)]


def loss_float64(z, kernel, clusters, temperature=0.1):
    """Return the cross-entropy, one view at a time."""
    total = 0.0
    for view in z:
        p = np.exp(view @ directions(kernel, axis=0) / temperature)
        p /= p.sum(axis=1, keepdims=True)
        total -= np.log(p[np.arange(len(view)), clusters]).mean() / len(z)
    return total


def test_first_epoch_fills_the_bank_without_training():
    trainer = deep_cluster()
    trainer.evaluate(indexed(), batch_size=16, verbose=0)  # builds
    assert not np.any(np.asarray(trainer.seen))
    before = trainer.encoder.get_weights()
    loss = fit(trainer)[0]
    assert loss == pytest.approx((np.log(5) + np.log(3)) / 2, rel=1e-5)
    for one, other in zip(before, trainer.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = np.asarray(trainer.bank.embeddings).reshape(COUNT, 2, -1)
    np.testing.assert_allclose(directions(rows), embeddings(trainer)[:2].swapaxes(0, 1), atol=1e-5)
    assert np.all(np.asarray(trainer.seen) == 1)


def test_clusters_are_those_of_the_bank_and_views_take_turns():
    trainer = deep_cluster(iterations=50, prototypes=(5, 3, 4))
    fit(trainer)
    rows = np.asarray(trainer.bank.embeddings).reshape(COUNT, 2, -1)
    trainer.assign_clusters()
    for head, prototypes in enumerate(trainer.prototypes):
        points = directions(rows[:, head % 2])
        kernel, clusters = np.asarray(prototypes.kernel), np.asarray(trainer.assignments[head])
        np.testing.assert_array_equal(clusters, np.argmax(points @ kernel, axis=1))
        for k in range(prototypes.count):
            if np.any(clusters == k):
                mean = directions(points[clusters == k].sum(axis=0))
                np.testing.assert_allclose(kernel[:, k], mean, atol=1e-5)
        assert len(set(clusters)) >= 2


@pytest.mark.parametrize("micro_batch_size", [None, 8])
def test_loss_matches_the_formula_and_prototypes_are_not_trained(micro_batch_size):
    trainer = deep_cluster(rate=0.0)
    trainer.compile(keras.optimizers.SGD(0.0), micro_batch_size=micro_batch_size)
    fit(trainer)
    trainer.assign_clusters()
    kernels = [np.asarray(one.kernel) for one in trainer.prototypes]
    clusters = np.asarray(trainer.assignments)
    expected = [
        loss_float64(embeddings(trainer), kernel, of_head)
        for kernel, of_head in zip(kernels, clusters, strict=True)
    ]
    logs = []
    for rows in (slice(16), slice(16, 32)):
        trainer.reset_metrics()
        logs.append(trainer.train_on_batch(indexed(rows), return_dict=True)["loss"])
    assert np.mean(logs) == pytest.approx(np.mean(expected), rel=1e-5)
    for before, after in zip(kernels, trainer.prototypes, strict=True):
        np.testing.assert_array_equal(after.kernel, before)
    assert not {id(p.kernel) for p in trainer.prototypes} & {
        id(v) for v in trainer.trainable_variables
    }


def test_evaluation_uses_the_nearest_cluster():
    trainer = deep_cluster()
    fit(trainer, epochs=2)
    logs = trainer.evaluate(indexed(), batch_size=16, verbose=0, return_dict=True)
    views = tf.data.Dataset.from_tensors((crops(),))  # no indices
    assert trainer.evaluate(views, verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-5)
    z, expected = embeddings(trainer), []
    for head, prototypes in enumerate(trainer.prototypes):
        kernel = directions(prototypes.kernel, axis=0)
        expected.append(loss_float64(z, kernel, np.argmax(z[head] @ kernel, axis=1)))
    assert logs["loss"] == pytest.approx(np.mean(expected), rel=1e-5)


def test_clusters_are_learned():
    trainer = deep_cluster()
    trainer.compile(keras.optimizers.Adam(1e-2))
    fit(trainer)
    trainer.assign_clusters()
    trainer.assign_clusters = lambda: None  # the same clusters in every epoch
    losses = fit(trainer, epochs=40)
    assert losses[-1] < 0.8 * losses[0]


def test_unseen_examples_have_no_cluster():
    trainer = deep_cluster(size=COUNT + 8)
    fit(trainer, epochs=2)
    clusters = np.asarray(trainer.assignments)
    assert np.all(clusters[:, :COUNT] >= 0) and np.all(clusters[:, COUNT:] == -1)
    before = trainer.encoder.get_weights()
    trainer.reset_metrics()
    unseen = indexed(slice(8), index=np.arange(COUNT, COUNT + 8))
    loss = trainer.train_on_batch(unseen, return_dict=True)["loss"]
    assert loss == pytest.approx((np.log(5) + np.log(3)) / 2, rel=1e-5)
    for one, other in zip(before, trainer.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_second_epoch_is_the_same_on_two_replicas(two_replicas):
    one = deep_cluster()
    with two_replicas.scope():
        two = deep_cluster()
    logs = [fit(trainer, epochs=2) for trainer in (one, two)]
    np.testing.assert_array_equal(one.assignments, two.assignments.numpy())
    np.testing.assert_allclose(logs[0], logs[1], rtol=1e-4)
    for expected, found in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_loaded_trainer_computes_the_same_clusters(tmp_path):
    trainer = deep_cluster()
    fit(trainer)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    for one in (trainer, loaded):
        one.assign_clusters()
    np.testing.assert_array_equal(trainer.assignments, loaded.assignments)
    assert np.all(np.asarray(loaded.assignments) >= 0)


def test_clusters_are_computed_once_per_epoch_with_any_form_of_callbacks():
    trainer = deep_cluster()
    calls = []
    make = trainer.assign_clusters
    trainer.assign_clusters = lambda: (calls.append(1), make())
    fit(trainer, epochs=2, callbacks=keras.callbacks.TerminateOnNaN())
    assert len(calls) == 2
    fit(trainer, callbacks=keras.callbacks.CallbackList(model=trainer, add_history=True))
    assert len(calls) == 3


def test_defaults_match_the_paper():
    trainer = trainers.DeepClusterV2(encoder(), layers.MemoryBank(4000, momentum=0.0))
    assert trainer.projector.widths == (2048, 128)
    assert [one.count for one in trainer.prototypes] == [3000] * 3
    assert (trainer.temperature, trainer.iterations) == (0.1, 10)


@pytest.mark.parametrize(
    ("prototypes", "error", "message"),
    [
        (1, ValueError, "`count` must be an integer of at least 2"),
        ((5, 1), ValueError, "`count` must be an integer of at least 2"),
        (33, ValueError, r"32 entries of `bank`.*\(33,\)"),
        ((5, 40), ValueError, r"32 entries of `bank`.*\(5, 40\)"),
        ((), ValueError, r"`prototypes`.*\(\)"),
        (2.5, TypeError, "`count` must be an integer"),
    ],
)
def test_invalid_numbers_of_prototypes_are_rejected(prototypes, error, message):
    with pytest.raises(error, match=message):
        deep_cluster(prototypes=prototypes)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("temperature", 0, ValueError),
        ("iterations", -1, ValueError),
        ("iterations", 1.5, TypeError),
        ("seed", -1, ValueError),
        ("bank", 32, TypeError),
        ("loss", "mse", TypeError),
        ("projector", 4, TypeError),
    ],
)
def test_invalid_arguments_are_rejected(argument, value, error):
    with pytest.raises(error, match=argument):
        deep_cluster(**{argument: value})


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (INDEX + 1, ValueError, "from 0 to 31.*from 1 to 32"),
        (INDEX - 1, ValueError, "from 0 to 31.*from -1 to 30"),
        (INDEX.astype("float32"), TypeError, "one integer per example"),
        (np.stack([INDEX, INDEX], axis=1), TypeError, "one integer per example"),
    ],
)
def test_invalid_indices_are_rejected_before_the_first_step(index, error, message):
    trainer = deep_cluster()
    with pytest.raises(error, match=message):
        trainer.fit(indexed(index=index), batch_size=16, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_data_without_indices_is_rejected():
    with pytest.raises(ValueError, match="with_index"):
        deep_cluster().fit(crops(), batch_size=16, verbose=0)


def test_local_views_larger_than_global_ones_are_rejected():
    with pytest.raises(ValueError, match="2 global views of one shape"):
        deep_cluster().fit({"image": crops()[::-1], "index": INDEX}, batch_size=16, verbose=0)


def k_means_float64(points, centroids, iterations):
    """Spherical k-means, one cluster at a time."""
    for _ in range(iterations):
        nearest = np.argmax(points @ centroids.T, axis=1)
        for k in range(len(centroids)):
            if np.any(nearest == k):
                total = points[nearest == k].sum(axis=0)
                centroids[k] = total / np.linalg.norm(total)
    return centroids, np.argmax(points @ centroids.T, axis=1)


def blobs(rng, count=60, dim=6, clusters=4, spread=0.1):
    labels = np.arange(count) % clusters
    return np.eye(dim)[labels] + rng.normal(0, spread, (count, dim)), labels


@pytest.mark.parametrize("chunk_size", [7, 8192])
def test_k_means_equals_a_float64_loop(rng, chunk_size):
    points = rng.normal(size=(60, 6))
    expected, labels = k_means_float64(directions(points), directions(points[:5]), 6)
    points = points.astype("float32")
    centroids, nearest = _spherical_k_means(points, points[:5], 6, chunk_size)
    np.testing.assert_allclose(centroids, expected, atol=1e-5)
    np.testing.assert_array_equal(nearest, labels)


def test_k_means_finds_the_clusters_of_scikit_learn(rng):
    cluster = pytest.importorskip("sklearn.cluster")
    points, labels = blobs(rng)
    centroids, nearest = _spherical_k_means(points.astype("float32"), points[:4].astype("float32"))
    means = cluster.KMeans(4, init=directions(points[:4]), n_init=1).fit(directions(points))
    np.testing.assert_array_equal(nearest, means.labels_)
    np.testing.assert_array_equal(nearest, labels)
    # the mean of a cluster has the direction of the sum
    np.testing.assert_allclose(centroids, directions(means.cluster_centers_), atol=1e-5)


def test_k_means_keeps_centroids_without_points(rng):
    points = np.abs(rng.normal(size=(20, 3))).astype("float32")
    start = np.array([[1, 1, 1], [-1, -1, -1]], "float32")
    centroids, nearest = _spherical_k_means(points, start, 3)
    assert np.all(np.asarray(nearest) == 0)
    np.testing.assert_allclose(centroids[1], start[1] / np.sqrt(3), rtol=1e-6)
    assert np.abs(centroids[0] - start[0] / np.sqrt(3)).max() > 1e-3


def test_k_means_without_iterations_assigns_to_the_initial_centroids(rng):
    points = rng.normal(size=(20, 3)).astype("float32")
    centroids, nearest = _spherical_k_means(points, points[:2], 0)
    np.testing.assert_allclose(centroids, directions(points[:2]), rtol=1e-6)
    np.testing.assert_array_equal(nearest, np.argmax(points @ directions(points[:2]).T, axis=1))
