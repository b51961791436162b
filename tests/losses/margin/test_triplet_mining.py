import numpy as np
import pytest

from keras_ssl import losses
from tests.losses.formulas import finite_differences
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

LABELS = np.array([4, 2, 4, 4, 2, 70_000_001, 70_000_000, 2])  # two occur once


def mined(labels, z, margin, p, mining):
    """The values of all anchors, one triplet at a time."""
    z = np.asarray(z, "float64")
    values = []
    for a in range(len(z)):
        distance = [np.linalg.norm(z[a] - other, p) for other in z]
        positives = [k for k in range(len(z)) if labels[k] == labels[a] and k != a]
        negatives = [distance[k] for k in range(len(z)) if labels[k] != labels[a]]
        if not positives or not negatives:
            values.append(0.0)
        elif mining == "hardest":
            far = max(distance[k] for k in positives)
            values.append(max(0, margin + far - min(negatives)))
        else:
            terms = []
            for k in positives:
                farther = [one for one in negatives if one > distance[k]]
                negative = min(farther) if farther else max(negatives)
                terms.append(max(0, margin + distance[k] - negative))
            values.append(np.mean(terms))
    return np.array(values)


@pytest.mark.parametrize("mining", ["semi_hard", "hardest"])
@pytest.mark.parametrize("p", [1, 2])
def test_equals_the_formula(rng, mining, p):
    for scale in (1.0, 0.05):  # of a spread below the margin, all negatives are nearer at times
        z = (scale * rng.normal(size=(8, 3)) + 5).astype("float32")
        expected = mined(LABELS, z, 0.5, p, mining)
        values = losses.triplet_margin(LABELS, z, 0.5, p, mining=mining)
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)
        loss = losses.TripletMargin(0.5, p, mining=mining)
        np.testing.assert_allclose(loss(LABELS[:, None], z), expected.mean(), rtol=1e-4)
    _, (gradient,) = value_and_gradients(lambda z: loss(LABELS, z), z)
    (expected,) = finite_differences(lambda z: mined(LABELS, z, 0.5, p, mining).mean(), z)
    np.testing.assert_allclose(gradient, expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("mining", ["semi_hard", "hardest"])
def test_equal_embeddings_have_the_margin_as_their_value(mining):
    loss = losses.TripletMargin(0.5, mining=mining)
    for z in (np.zeros((8, 3), "float32"), np.full((8, 3), 1e4, "float32")):
        value, (gradient,) = value_and_gradients(lambda z: loss(LABELS, z), z)
        np.testing.assert_allclose(value, 0.5 * 6 / 8, rtol=1e-6)
        np.testing.assert_array_equal(gradient, 0)


def test_order_does_not_matter_where_distances_are_equal():
    z = np.array([[0], [1], [-1], [1], [2], [-2], [0], [0]], "float32")
    labels = np.array([0, 0, 1, 1, 0, 1, 0, 1])
    expected = mined(labels, z, 3.0, 2, "semi_hard")
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(8)
        values = losses.triplet_margin(labels[order], z[order], 3.0, mining="semi_hard")
        np.testing.assert_allclose(values, expected[order], rtol=1e-5, atol=1e-6)


def test_no_label_is_a_class_of_its_own(rng):
    z = rng.normal(size=(4, 3)).astype("float32")
    values = losses.triplet_margin(np.array([-1, -1, 5, 5]), z, mining="hardest")
    expected = mined([8, 9, 5, 5], z, 1.0, 2, "hardest")
    np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_compiles(rng):
    z = rng.normal(size=(8, 3)).astype("float32")
    loss = losses.TripletMargin(mining="semi_hard")
    plain, compiled = (
        run(lambda z: loss(LABELS.astype("int32"), z), z)
        for run in (value_and_gradients, compiled_value_and_gradients)
    )
    np.testing.assert_allclose(plain[0], compiled[0], rtol=1e-5)
    np.testing.assert_allclose(plain[1], compiled[1], rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="strategies are TensorFlow's")
def test_two_replicas_search_the_whole_batch(rng, two_replicas):
    import tensorflow as tf

    z, labels = rng.normal(size=(8, 3)).astype("float32"), LABELS.astype("int32")
    loss = losses.TripletMargin(mining="semi_hard")
    value, (expected,) = value_and_gradients(lambda z: loss(labels, z), z)

    def own_loss(z):
        start = 4 * tf.distribute.get_replica_context().replica_id_in_sync_group
        return loss(tf.slice(labels, [start], [4]), z)

    values, (gradient,) = replica_values_and_gradients(two_replicas, own_loss, z)
    np.testing.assert_allclose(sum(values), value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
