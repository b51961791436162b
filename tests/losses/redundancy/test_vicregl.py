"""VICRegL: equal to Lightly's, its terms, matches, replicas, errors."""

import json
from pathlib import Path

import numpy as np
import pytest

from keras_ssl import losses
from tests.losses.gradients import BACKEND, value_and_gradients

REFERENCE = Path(__file__).parents[2] / "reference" / "local_losses.json"


def stored():
    return json.loads(REFERENCE.read_text())["vicregl"]


def tensors(lists):
    return [np.asarray(one, "float32") for one in lists]


@pytest.mark.parametrize("number", [0, 1], ids=["two views", "with a local view"])
def test_value_and_gradients_equal_those_of_lightly(number):
    numbers = stored()
    case = numbers["cases"][number]
    count = case["count"]
    views, maps, places = (tensors(numbers[key][:count]) for key in ("views", "maps", "places"))
    loss = losses.VICRegLLoss(matches=numbers["matches"], global_weight=case["weight"])

    def function(*inputs):
        return loss(list(inputs[:count]), list(inputs[count:]), places)

    value, gradients = value_and_gradients(function, *views, *maps)
    np.testing.assert_allclose(value, case["loss"], rtol=1e-5)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-5)
    terms = loss.terms(views, maps, places)
    np.testing.assert_allclose(sum(float(v[0]) for v in terms.values()), case["loss"], rtol=1e-5)


def data(rng, batch=6, positions=9, count=2):
    views = [rng.normal(size=(batch, 4)).astype("float32") for _ in range(count)]
    maps = [rng.normal(size=(batch, positions, 3)).astype("float32") for _ in range(count)]
    places = [rng.uniform(size=(batch, positions, 2)).astype("float32") for _ in range(count)]
    return views, maps, places


def test_global_term_is_vicreg_of_two_views(rng):
    views, maps, places = data(rng)
    found = losses.vicregl_terms(views, maps, places, covariance_weight=3.0)
    expected = losses.vicreg(*views, covariance_weight=1.5)  # the mean of both, not their sum
    np.testing.assert_allclose(found["global"], expected, rtol=1e-5)


def test_order_of_positions_matters_to_neither_kind_of_match(rng):
    views, maps, places = data(rng)
    order = rng.permutation(9)
    shuffled = [maps[0], maps[1][:, order]], [places[0], places[1][:, order]]
    before = losses.vicregl_terms(views, maps, places, matches=(3, 2))
    after = losses.vicregl_terms(views, *shuffled, matches=(3, 2))
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5)


def test_equal_maps_at_equal_places_match_exactly(rng):
    views, maps, places = data(rng)
    order = rng.permutation(9)
    pair = [maps[0], maps[0][:, order]], [places[0], places[0][:, order]]
    only_invariance = {"variance_weight": 0.0, "covariance_weight": 0.0}
    terms = losses.vicregl_terms(views, *pair, **only_invariance)
    assert float(terms["features"]) < 1e-9 and float(terms["places"]) < 1e-9
    # other places, and the features still match
    terms = losses.vicregl_terms(views, pair[0], places, **only_invariance)
    assert float(terms["features"]) < 1e-9 and float(terms["places"]) > 1


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs tf.distribute")
def test_terms_of_two_replicas_are_those_of_one(rng, two_replicas):
    import tensorflow as tf

    inputs = data(rng)
    inputs[1].append(inputs[1].pop()[:, :4])  # maps of two sizes
    inputs[2].append(inputs[2].pop()[:, :4])
    loss = losses.VICRegLLoss(matches=(3, 5))
    expected = loss.terms(*inputs)

    def step():
        start = 3 * tf.distribute.get_replica_context().replica_id_in_sync_group
        return loss.terms(*([x[start : start + 3] for x in map(tf.constant, xs)] for xs in inputs))

    found = tf.function(lambda: two_replicas.run(step))()
    for name, values in found.items():
        for value in two_replicas.experimental_local_results(values):
            np.testing.assert_allclose(value, expected[name], rtol=1e-5)


def test_config_makes_an_equal_loss():
    loss = losses.VICRegLLoss(1, (5, 2), 0.5, 1.0, 2.0, 3.0, 1e-3, name="both")
    config = loss.get_config()
    assert losses.VICRegLLoss.from_config(config).get_config() == config


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda v, m, p: (v[:1], m, p), ValueError, "at least 2 views"),
        (lambda v, m, p: (v, m[:1], p), ValueError, "`maps` must be a list.*each of the 2 views"),
        (lambda v, m, p: (v, m, p[0]), ValueError, "`places` must be a list.*ndarray"),
        (lambda v, m, p: (v, [m[0], m[1][..., :2]], p), ValueError, r"maps\[1\].shape=\(6, 9, 2\)"),
        (lambda v, m, p: (v, m, [p[0], p[1][:, :4]]), ValueError, r"places\[1\].shape=\(6, 4, 2\)"),
        (lambda v, m, p: (v, m, [p[0], m[1]]), ValueError, r"places\[1\].shape=\(6, 9, 3\)"),
        (lambda v, m, p: (v, [m[0], m[1][:3]], p), ValueError, r"maps\[1\].shape=\(3, 9, 3\)"),
        (
            lambda v, m, p: (v, [m[0], m[1].astype("int32")], p),
            TypeError,
            r"dtype of `maps\[1\]` must be floating-point",
        ),
    ],
    ids=["one view", "one map", "no list", "dim", "positions", "axes", "batch", "integers"],
)
def test_invalid_inputs_are_rejected(rng, change, error, message):
    inputs = change(*data(rng))
    for function in (losses.vicregl_terms, losses.VICRegLLoss(), losses.VICRegLLoss().terms):
        with pytest.raises(error, match=message):
            function(*inputs)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"matches": 20}, ValueError, "`matches` must be two integers.*matches=20"),
        ({"matches": (20, 0)}, ValueError, "matches=0"),
        ({"matches": (20, 1.5)}, TypeError, r"matches=1\.5"),
        ({"global_count": 0}, ValueError, "global_count=0"),
        ({"covariance_weight": -1}, ValueError, "covariance_weight=-1"),
        ({"epsilon": 0}, ValueError, "epsilon=0"),
    ],
)
def test_invalid_arguments_are_rejected(rng, arguments, error, message):
    with pytest.raises(error, match=message):
        losses.VICRegLLoss(**arguments)
    with pytest.raises(error, match=message):
        losses.vicregl_terms(*data(rng), **arguments)


def test_share_of_the_global_term_and_number_of_views_are_checked(rng):
    with pytest.raises(ValueError, match=r"global_weight=1\.5"):
        losses.VICRegLLoss(global_weight=1.5)
    with pytest.raises(ValueError, match="2 views and global_count=3"):
        losses.VICRegLLoss(global_count=3)(*data(rng))
    with pytest.raises(ValueError, match="does not weigh examples"):
        losses.VICRegLLoss()(*data(rng), sample_weight=np.ones(6))
