"""FroSSL, W-MSE, LeJEPA and MMCR: what every loss of a list of views promises."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses import formulas
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

REFERENCE = json.loads((Path(__file__).parents[2] / "reference" / "newest_losses.json").read_text())
DIRECTIONS = np.random.default_rng(1).normal(size=(3, 5)).astype("float32")
ORDER = np.random.default_rng(2).permutation(8)


def of(loss, **arguments):
    """The loss of views that are given one by one."""
    return lambda *views: loss(list(views), **arguments)


def w_mse_formula(*views):
    return formulas.w_mse(views, ORDER, 4, 0.1)


# by name: the loss of views, and the formula in float64
LOSSES = {
    "FroSSL": (of(losses.FroSSLLoss(2.0)), lambda *z: formulas.frossl(z, 2.0)),
    "WMSE": (of(losses.WMSELoss(4, 0.1), order=ORDER), w_mse_formula),
    "LeJEPA": (
        of(losses.LeJEPALoss(2, 0.3), directions=DIRECTIONS),
        lambda *z: formulas.lejepa(z, DIRECTIONS, 2, 0.3),
    ),
    "MMCR": (of(losses.MMCRLoss(0.1)), lambda *z: formulas.mmcr(z, 0.1)),
}
FUNCTIONS = {
    "FroSSL": losses.frossl,
    "WMSE": losses.w_mse,
    "LeJEPA": lambda views: losses.lejepa(views, DIRECTIONS),
    "MMCR": losses.mmcr,
}
each = pytest.mark.parametrize("name", LOSSES)


def views(count=3, examples=8, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(examples, 3))
    return [(common + 0.5 * rng.normal(size=(examples, 3))).astype("float32") for _ in range(count)]


STORED = {
    "frossl": lambda case: of(losses.FroSSLLoss(case["weight"])),
    "wmse": lambda case: of(losses.WMSELoss(8, case["epsilon"]), order=np.array(case["order"])),
    "lejepa": lambda case: of(
        losses.LeJEPALoss(2, case["weight"]), directions=np.array(case["directions"], "float32")
    ),
    "mmcr": lambda case: of(losses.MMCRLoss(case["weight"])),
}


@pytest.mark.parametrize(
    ("name", "number"),
    [(name, number) for name in STORED for number in range(len(REFERENCE[name]))],
)
def test_equals_lightly(name, number):
    case = REFERENCE[name][number]
    given = [np.array(view, "float32") for view in case["views"]]
    value, gradients = value_and_gradients(STORED[name](case), *given)
    np.testing.assert_allclose(value, case["loss"], rtol=2e-6, atol=2e-6)
    for gradient, expected in zip(gradients, case["gradients"], strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=2e-6)


@each
@pytest.mark.parametrize("count", [2, 4])
def test_equals_the_formula(name, count):
    loss, formula = LOSSES[name]
    given = views(count)
    np.testing.assert_allclose(loss(*given), formula(*given), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [3, 20])
def test_frossl_equals_the_formula_for_many_and_few_features(rng, dim):
    given = rng.normal(size=(2, 8, dim)).astype("float32")
    np.testing.assert_allclose(losses.frossl(given), formulas.frossl(given), rtol=1e-5)


@each
def test_gradient_equals_finite_differences_of_the_formula(name):
    loss, formula = LOSSES[name]
    given = views()
    _, gradients = value_and_gradients(loss, *given)
    for gradient, expected in zip(
        gradients, formulas.finite_differences(formula, *given), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.few(2)
@each
def test_compiled_equals_uncompiled(name):
    loss, given = LOSSES[name][0], views()
    value, gradients = value_and_gradients(loss, *given)
    jit_value, jit_gradients = compiled_value_and_gradients(loss, *given)
    np.testing.assert_allclose(jit_value, value, rtol=1e-5, atol=1e-6)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-3, atol=1e-5)


@each
def test_two_replicas_equal_one_on_the_global_batch(two_replicas, name):
    loss, given = LOSSES[name][0], views()
    value, gradients = value_and_gradients(loss, *given)
    values, whole = replica_values_and_gradients(two_replicas, loss, *given)
    np.testing.assert_allclose(sum(values), value, rtol=1e-5, atol=1e-6)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=3e-6)


@each
def test_half_the_batch_has_another_loss(name):
    """So that the test of two replicas can fail."""
    function, given = FUNCTIONS[name], views()
    halves = [float(function([z[part] for z in given])) for part in (slice(4), slice(4, 8))]
    assert abs(np.mean(halves) - float(function(given))) > 0.003


@each
def test_zeros_and_identical_rows_stay_finite(name):
    loss, (z1, z2) = LOSSES[name][0], views(2)
    zero, same = np.zeros_like(z1), np.repeat(z1[:1], 8, axis=0)
    flat = z1 * np.array([1, 0, 1], "float32")  # a feature without variance
    double = z1[:, [0, 0, 1]]  # two features that are equal
    for given in ((zero, zero), (same, same), (same, z2), (flat, z2), (double, double)):
        value, gradients = value_and_gradients(loss, *given)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(g)) for g in gradients)


@each
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_loss_of_nan_and_infinity_is_nan(name, bad):
    given = views(2)
    given[1][2, 1] = bad
    assert np.isnan(LOSSES[name][0](*given))


@pytest.mark.parametrize("name", ["FroSSL", "WMSE", "MMCR"])
@pytest.mark.parametrize("fill", [1e20, 3e38])
def test_huge_values_stay_finite(name, fill):
    loss, (z1, z2) = LOSSES[name][0], views(2)
    z1[0], z2[1] = fill, -fill
    value, gradients = value_and_gradients(loss, z1, z2)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(g)) for g in gradients)


@each
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(name, dtype):
    loss, formula = LOSSES[name]
    given = [ops.cast(z, dtype) for z in views()]
    wide = [ops.convert_to_numpy(ops.cast(z, "float32")) for z in given]
    value = loss(*given)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(*wide), rtol=2e-5, atol=2e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX has no float64 by default")
def test_float64_is_computed_in_float64(rng):
    given = rng.normal(size=(2, 8, 3))
    made = [
        (losses.FroSSLLoss(dtype="float64")(given), formulas.frossl(given)),
        (losses.WMSELoss(dtype="float64")(given), formulas.w_mse(given)),
        (
            losses.LeJEPALoss(dtype="float64")(given, DIRECTIONS),
            formulas.lejepa(given, DIRECTIONS),
        ),
        (losses.MMCRLoss(dtype="float64")(given), formulas.mmcr(given)),
    ]
    for value, expected in made:
        np.testing.assert_allclose(value, expected, rtol=1e-10)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
@each
def test_unknown_batch_size(name):
    import tensorflow as tf

    loss, formula = LOSSES[name]
    if name == "WMSE":  # a given order knows the number of examples
        loss, formula = of(losses.WMSELoss(4)), lambda *z: formulas.w_mse(z, sub_batch=4)
    traced = tf.function(lambda *z: loss(*z), [tf.TensorSpec((None, 3))] * 2)
    given = views(2)
    np.testing.assert_allclose(traced(*given), formula(*given), rtol=1e-4, atol=1e-5)
    # a last batch of a single example
    assert np.isfinite(traced(*(z[:1] for z in given)))


def test_w_mse_divides_what_is_no_multiple_into_larger_parts():
    given = views(2, examples=11)
    # two sub-batches of 5; the last example is left out
    expected = formulas.w_mse([z[:10] for z in given], sub_batch=5)
    np.testing.assert_allclose(losses.w_mse(given, sub_batch=4), expected, rtol=1e-4)
    # fewer than a sub-batch
    expected = formulas.w_mse(given)
    np.testing.assert_allclose(losses.w_mse(given, sub_batch=64), expected, rtol=1e-4)


def test_w_mse_ignores_linear_maps_of_the_features(rng):
    z1, z2 = views(2)
    lower = np.tril(rng.normal(size=(3, 3))) + 3 * np.eye(3)
    value = losses.w_mse([z1, z2])
    moved = losses.w_mse([(z1 @ lower.T + 7).astype("float32"), z2])
    np.testing.assert_allclose(moved, value, rtol=1e-3)


def test_w_mse_averages_orders(rng):
    given, orders = views(2), [rng.permutation(8) for _ in range(2)]
    expected = np.mean([formulas.w_mse(given, one, 4) for one in orders])
    found = losses.w_mse(given, np.stack(orders), 4)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_sig_reg_tells_normal_numbers_from_others(rng):
    normal = rng.normal(size=(2, 2000, 3)).astype("float32")
    np.testing.assert_allclose(
        losses.sig_reg(normal, DIRECTIONS), formulas.sig_reg(normal, DIRECTIONS), rtol=1e-3
    )
    value = float(losses.sig_reg(normal, DIRECTIONS))
    for other in (0.5 * normal, normal + 0.5, np.sign(normal), np.abs(normal)):
        assert losses.sig_reg(other, DIRECTIONS) > 20 * value


def test_sig_reg_ignores_the_length_of_directions():
    given = views(2)
    value = losses.sig_reg(given, DIRECTIONS)
    np.testing.assert_allclose(losses.sig_reg(given, 9 * DIRECTIONS), value, rtol=1e-5)


CONFIGURED = {
    "FroSSL": losses.FroSSLLoss(2.0, name="a"),
    "WMSE": losses.WMSELoss(16, 0.1, name="a"),
    "LeJEPA": losses.LeJEPALoss(1, 0.1, 9, 4.0, name="a"),
    "MMCR": losses.MMCRLoss(0.5, name="a"),
}


@pytest.mark.parametrize("loss", CONFIGURED.values(), ids=CONFIGURED)
def test_config_round_trip(loss):
    config = keras.losses.serialize(loss)
    copy = keras.losses.deserialize(json.loads(json.dumps(config)))
    assert type(copy) is type(loss) and copy.get_config() == loss.get_config()
    assert set(copy.get_config()) >= {"name", "dtype"}


GOOD = views(2)


@each
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (GOOD[0], ValueError, r"list of embeddings.*shape \(8, 3\)"),
        (GOOD[:1], ValueError, "at least 2 views. Received: 1"),
        (None, ValueError, "list of embeddings.*NoneType"),
        ([GOOD[0], None], ValueError, r"`views\[1\]` must be a tensor"),
        ([GOOD[0], GOOD[1][:4]], ValueError, r"same shape.*\(8, 3\), \(4, 3\)"),
        ([GOOD[0][0], GOOD[1][0]], ValueError, r"`views\[0\]` must have rank 2"),
        ([z[:1] for z in GOOD], ValueError, r"at least 2 examples.*\(1, 3\)"),
        ([z.astype("int32") for z in GOOD], TypeError, "must be floating-point.*int32"),
    ],
)
def test_bad_views(name, given, error, message):
    loss = {"LeJEPA": lambda z: CONFIGURED["LeJEPA"](z, DIRECTIONS)}.get(name, CONFIGURED[name])
    for function in (loss, FUNCTIONS[name]):
        with pytest.raises(error, match=message):
            function(given)


@pytest.mark.parametrize("value", [-1, float("nan"), "1", True])
@pytest.mark.parametrize(
    ("loss", "argument"),
    [
        (losses.FroSSLLoss, "invariance_weight"),
        (losses.WMSELoss, "epsilon"),
        (losses.LeJEPALoss, "regularization_weight"),
        (losses.LeJEPALoss, "t_max"),
        (losses.MMCRLoss, "local_weight"),
    ],
)
def test_bad_numbers(loss, argument, value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    error = ValueError if is_number else TypeError
    with pytest.raises(error, match=f"`{argument}` must.*Received: {argument}="):
        loss(**{argument: value})


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="`knots` must be an integer of at least 2"):
        losses.LeJEPALoss(knots=1)
    with pytest.raises(ValueError, match="`sub_batch` must be an integer of at least 2"):
        losses.WMSELoss(sub_batch=1)
    with pytest.raises(ValueError, match=r"at least `global_count` views\. Received: 2 views"):
        losses.LeJEPALoss(global_count=3)(GOOD, DIRECTIONS)
    with pytest.raises(ValueError, match=r"as long as the embeddings.*\(5, 3\)"):
        losses.LeJEPALoss()(GOOD, DIRECTIONS.T)
    with pytest.raises(ValueError, match="sub-batches of 3 examples with 3 features"):
        losses.w_mse([z[:6] for z in GOOD], sub_batch=3)
    with pytest.raises(ValueError, match=r"index of each example.*7"):
        losses.w_mse(GOOD, order=np.arange(7))
    with pytest.raises(TypeError, match="dtype of `order` must be integer"):
        losses.WMSELoss()(GOOD, order=np.zeros(8))
    with pytest.raises(ValueError, match="does not weigh examples"):
        losses.MMCRLoss()(GOOD, sample_weight=np.ones(8))
