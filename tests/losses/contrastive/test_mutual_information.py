import keras
import numpy as np
import pytest

from keras_ssl import losses
from tests.losses import view_formulas as formulas
from tests.losses.gradients import (
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)


def features(rng, places=(3, 2)):
    summary = rng.normal(size=(6, 4))
    local = summary.reshape(6, *[1] * len(places), 4) + rng.normal(size=(6, *places, 4))
    return local.astype("float32"), summary.astype("float32")


def reference_code(local, summary):
    """A scalar, with a matrix of all pairs and a mask, as the authors compute it."""
    local = local.reshape(len(local), -1, local.shape[-1]).astype("float64")
    scores = np.einsum("id,jpd->ijp", summary.astype("float64"), local)
    own = np.eye(len(local))
    positive = np.mean(np.log(2) - np.log1p(np.exp(-scores)), axis=2)
    negative = np.mean(np.log1p(np.exp(-scores)) + scores - np.log(2), axis=2)
    positive = np.sum(positive * own) / np.sum(own)
    return np.sum(negative * (1 - own)) / np.sum(1 - own) - positive


def graph_formula(nodes, summary, graph):
    """As InfoGraph has it: sums over nodes, and over nodes and other graphs."""
    scores = nodes.astype("float64") @ summary.T.astype("float64")
    own = np.eye(len(summary))[graph]
    positive = np.sum(own * (np.log(2) - np.logaddexp(0, -scores))) / len(nodes)
    negative = np.sum((1 - own) * (np.logaddexp(0, scores) - np.log(2)))
    return negative / (len(nodes) * (len(summary) - 1)) - positive


@pytest.mark.parametrize("places", [(), (5,), (3, 2), (2, 2, 2)])
def test_equals_the_formula_of_the_reference_code(rng, places):
    local, summary = features(rng, places)
    loss = losses.JensenShannonMI()
    np.testing.assert_allclose(loss(local, summary), reference_code(local, summary), rtol=1e-5)
    values = losses.jensen_shannon_mi(local, summary)
    np.testing.assert_allclose(
        values, formulas.jensen_shannon_mi(local, summary), rtol=1e-5, atol=1e-6
    )


GRAPH = np.array([0, 0, 1, 2, 2, 2, 3, 5])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_positives_select_rows_of_global_features(rng, dtype):
    nodes = rng.normal(size=(8, 4)).astype("float32")
    _, summary = features(rng)
    graph = GRAPH.astype(dtype)
    value = losses.JensenShannonMI()(nodes, summary, positives=graph)
    np.testing.assert_allclose(value, graph_formula(nodes, summary, GRAPH), rtol=1e-5)
    values = losses.jensen_shannon_mi(nodes, summary, graph)
    assert tuple(values.shape) == (8,)
    np.testing.assert_allclose(np.mean(values), value, rtol=1e-5)


def test_positives_in_order_are_the_default(rng):
    local, summary = features(rng, ())
    values = losses.jensen_shannon_mi(local, summary, np.arange(6))
    np.testing.assert_allclose(values, losses.jensen_shannon_mi(local, summary), rtol=1e-5)


def test_padding_has_weight_zero(rng):
    nodes = rng.normal(size=(8, 4)).astype("float32")
    _, summary = features(rng)
    padded = np.concatenate([nodes, np.full((4, 4), 7, "float32")])
    loss = losses.JensenShannonMI(reduction="mean_with_sample_weight")
    value = loss(
        padded,
        summary,
        sample_weight=np.r_[np.ones(8), np.zeros(4)],
        positives=np.r_[GRAPH, np.zeros(4, "int64")],
    )
    np.testing.assert_allclose(value, graph_formula(nodes, summary, GRAPH), rtol=1e-5)


def test_gradient_of_positives_by_finite_differences_and_compiled(rng):
    nodes = rng.normal(size=(8, 4)).astype("float32")
    _, summary = features(rng)
    loss = losses.JensenShannonMI()

    def function(u, v):
        return loss(u, v, positives=GRAPH)

    value, gradients = value_and_gradients(function, nodes, summary)
    for which, gradient in enumerate(gradients):
        for index in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [nodes.astype("float64"), summary.astype("float64")]
                moved[which][index] += sign * 1e-6
                ends.append(graph_formula(*moved, GRAPH))
            expected = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(gradient[index], expected, rtol=1e-4, atol=2e-6)
    jit_value, jit_gradients = compiled_value_and_gradients(function, nodes, summary)
    np.testing.assert_allclose(jit_value, value, rtol=1e-5, atol=2e-7)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=1e-6)


def test_positives_on_two_replicas(rng, two_replicas):
    # the second replica's graphs are 3, 4 and 5, which it calls 0, 1 and 2
    nodes = rng.normal(size=(8, 4)).astype("float32")
    _, summary = features(rng)
    own = np.array([0, 2, 2, 1])
    graph = np.r_[own, own + 3]
    loss = losses.JensenShannonMI()
    value, gradients = value_and_gradients(lambda u, v: loss(u, v, positives=graph), nodes, summary)
    values, whole = replica_values_and_gradients(
        two_replicas, lambda u, v: loss(u, v, positives=own), nodes, summary
    )
    np.testing.assert_allclose(sum(values), value, rtol=1e-5, atol=2e-7)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_bounds_and_uninformative_features(rng):
    local, summary = features(rng)
    np.testing.assert_allclose(losses.jensen_shannon_mi(local, 0 * summary), np.zeros(6), atol=1e-6)
    far = 100 * np.eye(6, dtype="float32")
    signed = 2 * np.eye(6, dtype="float32") - 1  # 100 with its own, -100 with others
    np.testing.assert_allclose(
        losses.jensen_shannon_mi(far, signed), np.full(6, -2 * np.log(2)), rtol=1e-6
    )


GOOD = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("local", "summary", "positives", "error", "message"),
    [
        (None, GOOD, None, ValueError, "local_features=None"),
        (GOOD, None, None, ValueError, "global_features=None"),
        (GOOD, GOOD[None], None, ValueError, "`global_features` must have rank 2"),
        (GOOD[0], GOOD, None, ValueError, r"`local_features` must have shape \(batch, ..., dim\)"),
        (GOOD[None], GOOD, [0], ValueError, r"\(rows, dim\) with `positives`.*\(1, 4, 3\)"),
        (GOOD, GOOD[:, :2], None, ValueError, r"same examples and width.*\(4, 3\).*\(4, 2\)"),
        (GOOD[:3], GOOD, None, ValueError, r"same examples and width.*\(3, 3\).*\(4, 3\)"),
        (GOOD[:1], GOOD[:1], None, ValueError, r"Negatives are needed.*\(1, 3\)"),
        (GOOD, GOOD, [0, 1], ValueError, r"one integer for each row.*\(2,\).*\(4, 3\)"),
        (GOOD, GOOD, GOOD, TypeError, "dtype of `positives` must be integer.*float32"),
        (GOOD.astype("int32"), GOOD, None, TypeError, "`local_features`.*int32"),
        (GOOD, GOOD.astype("int32"), None, TypeError, "`global_features`.*int32"),
    ],
)
def test_bad_features(local, summary, positives, error, message):
    for loss in (losses.JensenShannonMI(), losses.jensen_shannon_mi):
        with pytest.raises(error, match=message):
            loss(local, summary, positives=positives)


def test_registered_name():
    name = keras.saving.get_registered_name(losses.JensenShannonMI)
    assert name == "keras_ssl>JensenShannonMI"


# value, gradient, replicas and extremes of InfoNCEMI: test_view_losses.py


@pytest.mark.parametrize("places", [(), (5,), (3, 2), (2, 2, 2)])
def test_info_nce_equals_the_formula_over_the_places_of_maps(rng, places):
    local, summary = features(rng, places)
    expected = formulas.info_nce_mi(local, summary)
    np.testing.assert_allclose(losses.info_nce_mi(local, summary), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.InfoNCEMI()(local, summary), expected.mean(), rtol=1e-5)


def test_info_nce_uninformative_features_give_the_log_of_the_number_of_candidates(rng):
    local, summary = features(rng)
    values = losses.info_nce_mi(local, 0 * summary)
    np.testing.assert_allclose(values, np.full(6, np.log(5 * 6 + 1)), rtol=1e-6)


def test_info_nce_perfect_features_give_zero():
    own = 100 * np.eye(6, dtype="float32")
    np.testing.assert_allclose(losses.info_nce_mi(own, own), np.zeros(6), atol=1e-6)


def test_info_nce_examples_have_weights(rng):
    local, summary = features(rng)
    weights = np.array([1.0, 0, 2, 0, 0, 3], "float32")
    value = losses.InfoNCEMI()(local, summary, sample_weight=weights)
    expected = np.mean(weights * formulas.info_nce_mi(local, summary))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("local", "summary", "error", "message"),
    [
        (None, GOOD, ValueError, "local_features=None"),
        (GOOD, GOOD[None], ValueError, "`global_features` must have rank 2"),
        (GOOD[:3], GOOD, ValueError, r"same examples and width.*\(3, 3\).*\(4, 3\)"),
        (GOOD[:1], GOOD[:1], ValueError, r"Negatives are needed.*\(1, 3\)"),
        (GOOD.astype("int32"), GOOD, TypeError, "`local_features`.*int32"),
    ],
)
def test_info_nce_bad_features(local, summary, error, message):
    for loss in (losses.InfoNCEMI(), losses.info_nce_mi):
        with pytest.raises(error, match=message):
            loss(local, summary)


def test_info_nce_registered_name():
    assert keras.saving.get_registered_name(losses.InfoNCEMI) == "keras_ssl>InfoNCEMI"
