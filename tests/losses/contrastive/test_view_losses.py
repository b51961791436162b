"""What holds for every loss that takes views as lists, or maps: checked by name."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses import view_formulas as formulas
from tests.losses.gradients import (
    compiled_value_and_gradients,
    replica_values_and_gradients,
    value_and_gradients,
)

BACKEND = keras.backend.backend()
only_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")


def scores(rng, views):
    """Similar scores of views of 6 examples for 4 prototypes."""
    base = rng.normal(size=(6, 4))
    return [
        np.tanh(base + 0.5 * rng.normal(size=base.shape)).astype("float32") for _ in range(views)
    ]


def maps(rng, _):
    summary = rng.normal(size=(6, 4))
    local = summary[:, None] + rng.normal(size=(6, 3, 4))
    return [local.astype("float32"), summary.astype("float32")]


def case(loss, call, formula, inputs=scores, views=4, constant=(), arguments=None):
    return SimpleNamespace(
        loss=loss,
        arguments=arguments or {},
        # flat tensors in, for gradients of each
        call=lambda one, *x: one(*call(x)),
        formula=lambda *x: formula(*call(x)),
        inputs=lambda rng: inputs(rng, views),
        constant=constant,  # inputs without gradient
    )


CASES = {
    # two global views; their codes are constants, their predictions are not
    "SwAV": case(
        losses.SwAVLoss,
        lambda x: (list(x[:2]), list(x[2:])),
        lambda a, b: formulas.swav([*a, *b]),
    ),
    # two of the teacher, then three of the student
    "DINO": case(
        losses.DINOLoss,
        lambda x: (list(x[:2]), list(x[2:])),
        formulas.dino,
        views=5,
        constant=(0, 1),
    ),
    "MSN": case(
        losses.MSNLoss, lambda x: (x[0], list(x[1:])), formulas.msn, views=3, constant=(0,)
    ),
    "MSN balanced": case(
        losses.MSNLoss,
        lambda x: (x[0], list(x[1:])),
        lambda a, b: formulas.msn(a, b, temperature=0.5, weight=2.0, iterations=3),
        views=2,
        constant=(0,),
        arguments={"temperature": 0.5, "regularization_weight": 2.0, "sinkhorn_iterations": 3},
    ),
    "JensenShannonMI": case(
        losses.JensenShannonMI, lambda x: x, formulas.jensen_shannon_mi, inputs=maps
    ),
    "InfoNCEMI": case(losses.InfoNCEMI, lambda x: x, formulas.info_nce_mi, inputs=maps),
}
every_loss = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def function(case, **arguments):
    loss = case.loss(**case.arguments, **arguments)
    return lambda *x: case.call(loss, *x)


def of_all_inputs(loss):
    """The same, with a gradient of zeros in place of TensorFlow's None."""
    return lambda *x: loss(*x) + sum(ops.sum(0 * one) for one in x)


@every_loss
def test_equals_the_formula(rng, case):
    inputs = case.inputs(rng)
    expected = case.formula(*inputs)
    values = function(case, reduction=None)(*inputs)
    assert tuple(values.shape) == (6,)
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(function(case)(*inputs), expected.mean(), rtol=1e-5)


@every_loss
@only_tensorflow  # JAX has no float64 by default
def test_equals_the_formula_in_float64(rng, case):
    inputs = [x.astype("float64") for x in case.inputs(rng)]
    value = function(case, dtype="float64")(*inputs)
    np.testing.assert_allclose(value, case.formula(*inputs).mean(), rtol=1e-12)


@every_loss
def test_gradient_equals_finite_differences_of_the_formula(rng, case):
    inputs = case.inputs(rng)
    loss = of_all_inputs(function(case))
    _, gradients = value_and_gradients(loss, *inputs)
    step = 1e-6
    is_swav = case is CASES["SwAV"]
    codes = [formulas.sinkhorn_knopp(x) for x in inputs[:2]] if is_swav else None
    for which, gradient in enumerate(gradients):
        if which in case.constant:
            np.testing.assert_array_equal(gradient, 0)
            continue
        for index in np.ndindex(*gradient.shape):
            ends = []
            for sign in (1, -1):
                moved = [x.astype("float64") for x in inputs]
                moved[which][index] += sign * step
                value = formulas.swav(moved, codes=codes) if is_swav else case.formula(*moved)
                ends.append(value.mean())
            expected = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(gradient[index], expected, rtol=1e-3, atol=5e-6)


@every_loss
def test_order_of_the_examples_does_not_matter(rng, case):
    inputs = case.inputs(rng)
    order = rng.permutation(6)
    values = ops.convert_to_numpy(function(case, reduction=None)(*inputs))
    moved = function(case, reduction=None)(*(x[order] for x in inputs))
    np.testing.assert_allclose(moved, values[order], rtol=1e-4, atol=1e-6)
    # one input in another order: views of other examples
    other = float(function(case)(inputs[0][order], *inputs[1:]))
    assert abs(other - values.mean()) > 0.02


@every_loss
@pytest.mark.parametrize("fill", [0.0, 1e-30, 1e4, 1e15, -1e15])
def test_extreme_values_stay_finite(rng, case, fill):
    inputs = case.inputs(rng)
    for x in inputs:
        x[0] = fill
        x[1, ..., 0] = -fill
    loss = of_all_inputs(function(case))
    value, gradients = value_and_gradients(loss, *inputs)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)
    zeros = [np.zeros_like(x) for x in inputs]
    value, gradients = value_and_gradients(loss, *zeros)
    # the logarithm of the prototypes, or of the places that are candidates
    expected = {"JensenShannonMI": 0, "InfoNCEMI": np.log(16)}.get(case.loss.__name__, np.log(4))
    np.testing.assert_allclose(value, expected, atol=1e-6)
    assert all(np.allclose(gradient, 0, atol=1e-6) for gradient in gradients)


@every_loss
def test_identical_rows_have_the_closed_form(case, rng):
    inputs = [np.repeat(x[:1], 6, axis=0) for x in case.inputs(rng)]
    values = ops.convert_to_numpy(function(case, reduction=None)(*inputs))
    np.testing.assert_allclose(values, case.formula(*inputs), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values, values[0], rtol=1e-5)


@every_loss
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(rng, case, dtype):
    inputs = [ops.cast(x, dtype) for x in case.inputs(rng)]
    wide = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in inputs]
    value = function(case)(*inputs)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(value, case.formula(*wide).mean(), rtol=1e-5)


@pytest.mark.few(3)
@every_loss
def test_compiled_equals_uncompiled(rng, case):
    inputs = case.inputs(rng)
    loss = of_all_inputs(function(case))
    value, gradients = value_and_gradients(loss, *inputs)
    jit_value, jit_gradients = compiled_value_and_gradients(loss, *inputs)
    np.testing.assert_allclose(jit_value, value, rtol=1e-6, atol=2e-7)
    for jit_gradient, gradient in zip(jit_gradients, gradients, strict=True):
        np.testing.assert_allclose(jit_gradient, gradient, rtol=1e-4, atol=1e-6)


@every_loss
@only_tensorflow
def test_unknown_batch_size(rng, case):
    import tensorflow as tf

    inputs = case.inputs(rng)
    signature = [tf.TensorSpec((None, *x.shape[1:])) for x in inputs]
    traced = tf.function(function(case), input_signature=signature)
    np.testing.assert_allclose(traced(*inputs), case.formula(*inputs).mean(), rtol=1e-5)
    assert np.isfinite(traced(*(x[:1] for x in inputs)))


@pytest.mark.few(3)
@every_loss
def test_two_replicas_equal_one_on_the_global_batch(rng, two_replicas, case):
    inputs = case.inputs(rng)
    loss = of_all_inputs(function(case))
    value, gradients = value_and_gradients(loss, *inputs)
    values, whole = replica_values_and_gradients(two_replicas, loss, *inputs)
    np.testing.assert_allclose(sum(values), value, rtol=1e-6, atol=2e-7)
    for gradient, expected in zip(whole, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


@every_loss
def test_config_round_trip_and_sample_weight(rng, case):
    loss = case.loss(**case.arguments, reduction="sum", name="mine")
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is case.loss
    assert copy.get_config() == loss.get_config()
    inputs = case.inputs(rng)
    np.testing.assert_allclose(case.call(copy, *inputs), case.formula(*inputs).sum(), rtol=1e-5)
    weights = rng.uniform(size=6).astype("float32")
    weighted = case.call(lambda *x: case.loss(**case.arguments)(*x, sample_weight=weights), *inputs)
    np.testing.assert_allclose(weighted, (weights * case.formula(*inputs)).mean(), rtol=1e-5)


@every_loss
def test_saves_with_a_compiled_model(case, tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile(optimizer="sgd", loss=case.loss(**case.arguments))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is case.loss
    assert loaded.loss.get_config() == model.loss.get_config()
