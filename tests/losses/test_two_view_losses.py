"""What every loss of two views promises, checked on each."""

import json

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


def _sup_con(z1, z2, **settings):
    """SupCon as a loss of two views, with labels of which one occurs once."""
    labels = np.array(formulas.LIGHTLY["labels"])
    return losses.SupConLoss(0.2, **settings)(labels, ops.stack([z1, z2], axis=1))


def _sup_con_formula(z1, z2):
    z = np.stack([z1, z2], axis=1)
    return formulas.sup_con(np.array(formulas.LIGHTLY["labels"]), z, 0.2).mean()


# by name of its reference: the loss, and the formula in float64
LOSSES = {
    "dcl_0.1": (losses.DCL(), lambda *z: formulas.dcl(*z).mean()),
    "dcl_0.5": (losses.DCL(0.5), lambda *z: formulas.dcl(*z, 0.5).mean()),
    "negative_cosine_similarity": (
        losses.NegativeCosineSimilarity(),
        lambda *z: formulas.negative_cosine_similarity(*z).mean(),
    ),
    "barlow_twins_0.005": (losses.BarlowTwinsLoss(), formulas.barlow_twins),
    "barlow_twins_0.5": (losses.BarlowTwinsLoss(0.5), lambda *z: formulas.barlow_twins(*z, 0.5)),
    "vicreg_25_25_1": (losses.VICRegLoss(), formulas.vicreg),
    "vicreg_1_0_0": (losses.VICRegLoss(1, 0, 0), lambda *z: formulas.vicreg(*z, (1, 0, 0))),
    "vicreg_0_1_0": (losses.VICRegLoss(0, 1, 0), lambda *z: formulas.vicreg(*z, (0, 1, 0))),
    "vicreg_0_0_1": (losses.VICRegLoss(0, 0, 1), lambda *z: formulas.vicreg(*z, (0, 0, 1))),
    "sup_con_0.2": (_sup_con, _sup_con_formula),
}
if BACKEND == "tensorflow":  # JAX compiles each loop anew, for a second
    LOSSES["dcl_0.1-chunked"] = (losses.DCL(chunk_size=5), LOSSES["dcl_0.1"][1])
    LOSSES["sup_con_0.2-chunked"] = (lambda *z: _sup_con(*z, chunk_size=5), _sup_con_formula)
# no gradient flows through their weights, which finite differences of the formula ignore
DCLW = {
    "dclw_0.1_0.5": (losses.DCLW(), lambda *z: formulas.dcl(*z, 0.1, 0.5).mean()),
    "dclw_0.5_0.2": (losses.DCLW(0.5, 0.2), lambda *z: formulas.dcl(*z, 0.5, 0.2).mean()),
}
ALL = LOSSES | DCLW

CASES = [
    (np.array(case["z1"], "float32"), np.array(case["z2"], "float32"), case["results"])
    for case in formulas.LIGHTLY["cases"]
]
# one of each class, for the checks that compile
MAIN = [
    "dcl_0.1",
    "dclw_0.1_0.5",
    "negative_cosine_similarity",
    "barlow_twins_0.5",
    "vicreg_25_25_1",
]
if BACKEND != "tensorflow":
    ALL = {name: one for name, one in ALL.items() if name in [*MAIN, "sup_con_0.2"]}
each = pytest.mark.parametrize("name", ALL)
# more examples than features, and fewer
many_or_few = pytest.mark.parametrize("case", CASES, ids=["6x4", "6x9"])


def views(rng, examples=6, dim=4):
    z1 = 0.8 * rng.normal(size=(examples, dim)).astype("float32")
    return z1, (0.5 * z1 + 0.5 * rng.normal(size=(examples, dim))).astype("float32")


@each
@many_or_few
def test_equals_the_reference(name, case):
    loss = ALL[name][0]
    z1, z2, results = case
    expected = results[name.removesuffix("-chunked")]
    value, gradients = value_and_gradients(loss, z1, z2)
    np.testing.assert_allclose(value, expected["loss"], rtol=2e-6, atol=5e-6)
    for gradient, other in zip(gradients, expected["gradients"], strict=True):
        np.testing.assert_allclose(gradient, other, rtol=2e-5, atol=5e-6)


@each
@pytest.mark.parametrize("shape", [(6, 4), (6, 9)])
def test_equals_the_formula(rng, name, shape):
    loss, formula = ALL[name]
    z1, z2 = views(rng, *shape)
    np.testing.assert_allclose(loss(z1, z2), formula(z1, z2), rtol=3e-6, atol=5e-6)


@pytest.mark.few(8)
@pytest.mark.parametrize("name", [name for name in ALL if name in LOSSES])
@many_or_few
def test_gradient_equals_finite_differences_of_the_formula(name, case):
    loss, formula = LOSSES[name]
    _, gradients = value_and_gradients(loss, *case[:2])
    for gradient, expected in zip(
        gradients, formulas.finite_differences(formula, *case[:2]), strict=True
    ):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.few(3)
@pytest.mark.parametrize("name", MAIN)
@many_or_few
def test_compiled_equals_uncompiled(name, case):
    loss = ALL[name][0]
    value, gradients = value_and_gradients(loss, *case[:2])
    jit_value, jit_gradients = compiled_value_and_gradients(loss, *case[:2])
    np.testing.assert_allclose(jit_value, value, rtol=2e-6, atol=5e-6)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=3e-6)


@pytest.mark.few(3)
@pytest.mark.parametrize("name", [*MAIN, "dcl_0.1-chunked"])
@many_or_few
def test_two_replicas_equal_one_on_the_global_batch(two_replicas, name, case):
    loss = ALL[name][0]
    value, gradients = value_and_gradients(loss, *case[:2])
    values, whole = replica_values_and_gradients(two_replicas, loss, *case[:2])
    np.testing.assert_allclose(sum(values), value, rtol=2e-6, atol=5e-6)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=3e-6)


@each
def test_swapped_views_swap_the_gradients(name):
    loss = ALL[name][0]
    z1, z2, _ = CASES[0]
    value, (g1, g2) = value_and_gradients(loss, z1, z2)
    swapped, (h2, h1) = value_and_gradients(loss, z2, z1)
    np.testing.assert_allclose(swapped, value, rtol=2e-6)
    np.testing.assert_allclose(h1, g1, rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(h2, g2, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", [name for name in ALL if "sup_con" not in name])
def test_order_of_the_examples_does_not_matter(rng, name):
    loss = ALL[name][0]
    z1, z2, _ = CASES[0]
    order = np.array([3, 0, 5, 1, 2, 4])
    value = float(loss(z1, z2))
    np.testing.assert_allclose(loss(z1[order], z2[order]), value, rtol=2e-6, atol=5e-6)
    if name not in ("vicreg_0_1_0", "vicreg_0_0_1"):  # which look at each view by itself
        assert abs(float(loss(z1[order], z2)) - value) > 0.02


@pytest.mark.few(10)
@pytest.mark.parametrize("name", [n for n in ALL if "vicreg" not in n and "barlow" not in n])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e3, 1e35])
def test_losses_of_directions_ignore_length(name, scale):
    loss = ALL[name][0]
    z1, z2, _ = CASES[0]
    value, (g1, _) = value_and_gradients(loss, z1, z2)
    scaled, (h1, _) = value_and_gradients(loss, z1 * np.float32(scale), z2)
    np.testing.assert_allclose(scaled, value, rtol=1e-5)
    if scale < 1e35:  # there the gradient is below float32's range
        np.testing.assert_allclose(h1 * np.float32(scale), g1, rtol=1e-3, atol=1e-5)


@pytest.mark.few(7)
@each
@pytest.mark.parametrize("shape", [(6, 4), (6, 9)])
def test_zeros_and_identical_rows_stay_finite(name, shape):
    loss = ALL[name][0]
    z1, z2 = views(np.random.default_rng(0), *shape)
    zero = np.zeros_like(z1)
    one_zero = np.concatenate([zero[:1], z1[1:]])
    same = np.repeat(z1[:1], 6, axis=0)
    for inputs in ((zero, zero), (one_zero, z2), (same, same), (same, z2), (1e4 * same, 1e4 * z2)):
        value, gradients = value_and_gradients(loss, *inputs)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.few(6)
@pytest.mark.parametrize("name", [name for name in ALL if "vicreg" not in name])
@pytest.mark.parametrize("fill", [1e20, 3e38])
def test_huge_values_stay_finite(name, fill):
    loss = ALL[name][0]
    z1, z2 = views(np.random.default_rng(0))
    z1[0], z2[1] = fill, -fill
    for inputs in ((z1, z2), (np.full_like(z1, fill), z2)):
        value, gradients = value_and_gradients(loss, *inputs)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(g)) for g in gradients)


@each
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, name, dtype):
    loss, formula = ALL[name]
    # squares overflow float16
    z1, z2 = (ops.cast(1e3 * z, dtype) for z in views(rng))
    wide = [ops.convert_to_numpy(ops.cast(z, "float32")) for z in (z1, z2)]
    value = loss(z1, z2)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, formula(*wide), rtol=2e-5, atol=5e-6)


def test_functions_compute_half_precision_in_float32():
    z = ops.ones((4, 3), "float16")
    for function in (
        losses.dcl,
        losses.dclw,
        losses.negative_cosine_similarity,
        losses.barlow_twins,
        losses.vicreg,
    ):
        assert keras.backend.standardize_dtype(function(z, z).dtype) == "float32"
    values = losses.sup_con(np.arange(4), z)
    assert keras.backend.standardize_dtype(values.dtype) == "float32"


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX has no float64 by default")
@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (losses.DCL(dtype="float64"), lambda *z: formulas.dcl(*z).mean()),
        (losses.DCLW(dtype="float64"), lambda *z: formulas.dcl(*z, 0.1, 0.5).mean()),
        (losses.BarlowTwinsLoss(dtype="float64"), formulas.barlow_twins),
        (losses.VICRegLoss(dtype="float64"), formulas.vicreg),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("dim", [3, 16])
def test_equals_the_formula_in_float64(rng, loss, formula, dim):
    z1, z2 = rng.normal(size=(2, 6, dim))
    np.testing.assert_allclose(loss(z1, z2), formula(z1, z2), rtol=1e-12)


CONFIGURED = [
    losses.DCL(0.3, 5, reduction="sum", name="contrastive"),
    losses.DCLW(0.3, 0.7, 5, reduction="sum", name="contrastive"),
    losses.NegativeCosineSimilarity("sum", "similarity"),
    losses.BarlowTwinsLoss(0.01, name="redundancy"),
    losses.VICRegLoss(1.0, 2.0, 3.0, 0.001, name="regularised"),
]


@pytest.mark.parametrize("loss", CONFIGURED, ids=lambda loss: type(loss).__name__)
def test_config_round_trip(rng, loss, tmp_path):
    config = keras.losses.serialize(loss)
    copy = keras.losses.deserialize(json.loads(json.dumps(config)))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    # constructor arguments are all there
    assert set(copy.get_config()) >= {"name", "dtype"}
    np.testing.assert_allclose(copy(*views(rng)), loss(*views(np.random.default_rng(0))))
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile(optimizer="sgd", loss=loss)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config()


@pytest.mark.parametrize(
    "loss", [losses.DCL(), losses.DCLW(), losses.BarlowTwinsLoss(), losses.VICRegLoss()]
)
def test_one_example_is_too_few(loss):
    z = np.ones((1, 3), "float32")
    with pytest.raises(ValueError, match=r"at least 2.*\(1, 3\)"):
        loss(z, z)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
@pytest.mark.parametrize("name", MAIN)
def test_unknown_batch_size(rng, name):
    import tensorflow as tf

    loss, formula = ALL[name]
    signature = [tf.TensorSpec((None, 4))] * 2
    traced = tf.function(lambda *z: value_and_gradients_in_graph(loss, *z), signature)
    z1, z2 = views(rng)
    np.testing.assert_allclose(traced(z1, z2)[0], formula(z1, z2), rtol=1e-5, atol=5e-6)
    # a last batch of a single example
    value, gradients = traced(z1[:1], z2[:1])
    assert np.isfinite(value) and abs(value) < 100
    assert all(np.all(np.isfinite(g)) for g in gradients)


def value_and_gradients_in_graph(loss, *inputs):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = loss(*inputs)
    return value, tape.gradient(value, inputs)


GOOD = np.ones((4, 3), "float32")


@pytest.mark.parametrize(
    ("z1", "z2", "error", "message"),
    [
        (GOOD, None, ValueError, "two views.*=None"),
        (GOOD[0], GOOD[0], ValueError, r"must have rank 2.*\(3,\)"),
        (GOOD, GOOD[:3], ValueError, r"same shape.*\(4, 3\).*\(3, 3\)"),
        (GOOD, GOOD[:, :2], ValueError, r"same shape.*\(4, 3\).*\(4, 2\)"),
        (GOOD.astype("int32"), GOOD, TypeError, "must be floating-point.*int32"),
        (GOOD, GOOD.astype("uint8"), TypeError, "must be floating-point.*uint8"),
    ],
)
@pytest.mark.parametrize(
    "loss",
    [
        *(losses.DCL(), losses.DCLW(), losses.NegativeCosineSimilarity()),
        *(losses.BarlowTwinsLoss(), losses.VICRegLoss(), losses.dcl, losses.dclw),
        *(losses.negative_cosine_similarity, losses.barlow_twins, losses.vicreg_terms),
    ],
    ids=lambda loss: getattr(loss, "__name__", type(loss).__name__),
)
def test_bad_views(loss, z1, z2, error, message):
    with pytest.raises(error, match=message):
        loss(z1, z2)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True, None, np.ones(2)])
@pytest.mark.parametrize(
    ("loss", "function", "argument"),
    [
        (losses.DCL, losses.dcl, "temperature"),
        (losses.DCLW, losses.dclw, "temperature"),
        (losses.DCLW, losses.dclw, "sigma"),
        (losses.SupConLoss, losses.sup_con, "temperature"),
        (losses.BarlowTwinsLoss, losses.barlow_twins, "off_diagonal_weight"),
        (losses.VICRegLoss, losses.vicreg, "invariance_weight"),
        (losses.VICRegLoss, losses.vicreg, "variance_weight"),
        (losses.VICRegLoss, losses.vicreg, "covariance_weight"),
        (losses.VICRegLoss, losses.vicreg, "epsilon"),
    ],
)
def test_bad_numbers(loss, function, argument, value):
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    error = ValueError if is_number else TypeError
    with pytest.raises(error, match=f"`{argument}` must.*Received: {argument}="):
        loss(**{argument: value})
    with pytest.raises(error, match=f"`{argument}` must"):
        function(GOOD, GOOD, **{argument: value})


@pytest.mark.parametrize("loss", [losses.DCL, losses.DCLW, losses.SupConLoss])
def test_bad_chunk_size(loss):
    with pytest.raises(ValueError, match="`chunk_size` must be a positive integer"):
        loss(chunk_size=0)
    with pytest.raises(TypeError, match="`chunk_size` must be a positive integer"):
        loss(chunk_size=2.0)


@pytest.mark.parametrize("loss", [losses.BarlowTwinsLoss(), losses.VICRegLoss()])
def test_batch_losses_refuse_sample_weights(loss):
    with pytest.raises(ValueError, match=r"does not weigh examples.*sample_weight="):
        loss(GOOD, GOOD, sample_weight=np.ones(4))
