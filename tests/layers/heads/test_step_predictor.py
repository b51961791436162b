import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import StepPredictor

to_numpy = keras.ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, context, target, outputs, weights, **arguments):
        self.run_layer_test(
            StepPredictor,
            init_kwargs=arguments,
            input_shape={"context_shape": context, "target_shape": target},
            expected_output_shape=outputs,
            expected_num_trainable_weights=weights,
            run_training_check=False,  # Keras' trains on one output
        )

    def test_sequences(self):
        self.check((2, 5, 4), (2, 5, 3), [(2, 4, 3), (2, 3, 3)], 2, steps=2)

    def test_grids(self):
        context, target = (2, 5, 3, 4), (2, 5, 3, 6)
        self.check(context, target, [(2, 2, 3, 6), (2, 4, 3, 6)], 4, steps=(3, 1), use_bias=True)


def test_equals_the_formula(rng):
    layer = StepPredictor((1, 3))
    context, target = rng.normal(size=(2, 5, 3, 4)), rng.normal(size=(2, 5, 3, 6))
    predictions = layer(context, target)
    for step, weight, p in zip((1, 3), layer.trainable_weights, predictions, strict=True):
        w = to_numpy(weight.value).astype("float64")
        for t in range(5 - step):
            np.testing.assert_allclose(to_numpy(p)[:, t], context[:, t] @ w, rtol=1e-4, atol=1e-5)


def test_integer_means_all_steps_up_to_it():
    assert StepPredictor(3).steps == (1, 2, 3)
    assert StepPredictor([2, 5]).steps == (2, 5)


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        (0, ValueError),
        ((), ValueError),
        ((1, 0), ValueError),
        ((2, 2), ValueError),
        (1.5, TypeError),
        ("12", TypeError),
        (True, TypeError),
        ((1, 2.0), TypeError),
    ],
)
def test_wrong_steps_raise(steps, error):
    with pytest.raises(error, match=r"`steps(\[1\])?` must be.*Received: steps"):
        StepPredictor(steps)


@pytest.mark.parametrize("steps", [5, (5,), (1, 7)])
def test_steps_without_targets_raise(steps):
    with pytest.raises(ValueError, match=r"`steps` must be below the number.*5 positions"):
        StepPredictor(steps)(np.zeros((2, 5, 4)), np.zeros((2, 5, 4)))


@pytest.mark.parametrize("context", [(2, 4), (2, 4, 4), (2, 5, 3, 4)])
def test_context_with_other_positions_raises(context):
    with pytest.raises(ValueError, match=r"return_sequences=True.*Received: context.shape"):
        StepPredictor(1)(np.zeros(context), np.zeros((2, 5, 4)))
