"""Objectives of GANs against their formulas, and the gradient penalty."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.gradients import compiled_value_and_gradients, value_and_gradients


def log_sigmoid(d):
    return -np.logaddexp(0, -d)


# class, function, and the values of discriminator and generator as the papers write them
OBJECTIVES = {
    "minimax": (
        losses.MinimaxGAN,
        losses.minimax_gan,
        lambda d, f: -log_sigmoid(d) - log_sigmoid(-f),
        lambda f: log_sigmoid(-f),
    ),
    "non-saturating": (
        losses.NonSaturatingGAN,
        losses.non_saturating_gan,
        lambda d, f: -log_sigmoid(d) - log_sigmoid(-f),
        lambda f: -log_sigmoid(f),
    ),
    "least squares": (
        losses.LeastSquaresGAN,
        losses.least_squares_gan,
        lambda d, f: (d - 1) ** 2 / 2 + f**2 / 2,
        lambda f: (f - 1) ** 2 / 2,
    ),
    "hinge": (
        losses.HingeGAN,
        losses.hinge_gan,
        lambda d, f: np.maximum(0, 1 - d) + np.maximum(0, 1 + f),
        lambda f: -f,
    ),
    "wasserstein": (
        losses.WassersteinGAN,
        losses.wasserstein_gan,
        lambda d, f: f - d,
        lambda f: -f,
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_equals_the_formula(name, rng):
    make, function, of_discriminator, of_generator = OBJECTIVES[name]
    real, fake = rng.normal(0, 2, size=(2, 6, 3, 1))
    expected = [of_discriminator(real, fake).mean((1, 2)), of_generator(fake).mean((1, 2))]
    inputs = real.astype("float32"), fake.astype("float32")
    for found, values in zip(function(*inputs), expected, strict=True):
        np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-6)
    loss, weights = make(), rng.uniform(size=6).astype("float32")
    for found, values in (
        (loss(*inputs, sample_weight=weights), expected[0]),
        (loss.generator(inputs[1], sample_weight=weights), expected[1]),
    ):
        np.testing.assert_allclose(found, np.mean(weights * values), rtol=1e-5)
    assert make(reduction=None)(*inputs).shape == (6,)
    assert make(reduction=None).generator(inputs[1]).shape == (6,)
    # gradients by finite differences
    _, gradients = value_and_gradients(loss, *inputs)
    _, (of_fake,) = compiled_value_and_gradients(loss.generator, inputs[1])
    step, at = 1e-6, (2, 1, 0)
    moved = np.zeros_like(real)
    moved[at] = step
    slopes = [
        np.mean(of_discriminator(real + moved, fake) - of_discriminator(real - moved, fake)),
        np.mean(of_discriminator(real, fake + moved) - of_discriminator(real, fake - moved)),
        np.mean(of_generator(fake + moved) - of_generator(fake - moved)),
    ]
    for gradient, slope in zip((*gradients, of_fake), slopes, strict=True):
        assert gradient[at] == pytest.approx(slope / (2 * step), rel=1e-3, abs=1e-7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config() and type(again) is make


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
def test_sure_logits_are_finite(name):
    """Also those of float16, which are computed in float32."""
    make, function, *_ = OBJECTIVES[name]
    real, fake = (ops.convert_to_tensor([[s * 6e4], [0.0]], "float16") for s in (-1, 1))
    for values in function(real, fake):
        assert keras.backend.standardize_dtype(values.dtype) == "float32"
        assert np.all(np.isfinite(values))
    np.testing.assert_allclose(make(reduction=None)(real, fake)[0], 2 * 60_000, rtol=1e-6)
    huge = np.array([[-1e30], [1e30]], "float32")
    for value, gradients in (
        value_and_gradients(make(), huge, -huge),
        value_and_gradients(make().generator, huge),
    ):
        assert np.isfinite(value) and all(np.all(np.isfinite(one)) for one in gradients)


def test_gradient_penalty(rng):
    g = rng.normal(size=(5, 2, 3)).astype("float32")
    norms = np.linalg.norm(g.reshape(5, -1).astype("float64"), axis=1)
    np.testing.assert_allclose(losses.gradient_penalty(g), (norms - 1) ** 2, rtol=1e-5)
    parts = {"a": g[:, 0], "b": g[:, 1]}
    np.testing.assert_allclose(losses.gradient_penalty(parts), (norms - 1) ** 2, rtol=1e-5)
    value, (gradient,) = value_and_gradients(
        lambda x: ops.sum(losses.gradient_penalty(x)), np.zeros((2, 3), "float32")
    )
    assert value == 2 and np.all(gradient == 0)


def test_bad_outputs_are_refused():
    good = np.ones((4, 1), "float32")
    with pytest.raises(ValueError, match=r"`real` and `fake` must have the same shape.*\(4,\)"):
        losses.HingeGAN()(good, good[:, 0])
    with pytest.raises(TypeError, match=r"`fake`.*int32"):
        losses.HingeGAN().generator(good.astype("int32"))
    with pytest.raises(TypeError, match=r"`gradients`.*int32"):
        losses.gradient_penalty(good.astype("int32"))
