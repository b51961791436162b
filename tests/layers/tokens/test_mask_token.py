import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl.layers import MaskToken
from tests.losses.gradients import value_and_gradients


class TestConformance(TestCase):
    def test_rows(self):
        self.check((6, 3))

    def test_batch_of_rows(self):
        self.check((2, 6, 3), initializer="ones")

    def check(self, shape, **arguments):
        rng = np.random.default_rng(0)
        x = rng.normal(size=shape).astype("float32")
        self.run_layer_test(
            MaskToken,
            init_kwargs=arguments,
            input_data=(x, rng.uniform(size=shape[:-1]) < 0.5),
            expected_output_shape=shape,
            expected_num_trainable_weights=1,
        )


def test_masked_rows_become_the_token(rng):
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    is_masked = np.array([[True, False, False, True], [False, False, True, False]])
    layer = MaskToken()
    np.testing.assert_array_equal(layer([x, is_masked]), np.where(is_masked[..., None], 0, x))
    layer.token.assign([1.0, 2.0, 3.0])
    expected = np.where(is_masked[..., None], [1.0, 2.0, 3.0], x)
    np.testing.assert_array_equal(layer([x, is_masked]), expected)


def test_gradient_of_rows_that_are_not_masked(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    is_masked = np.array([True, False, False, True])
    layer = MaskToken()
    layer([x, is_masked])
    _, (gradient,) = value_and_gradients(lambda x: ops.sum(layer([x, is_masked])), x)
    np.testing.assert_array_equal(gradient, np.where(is_masked[:, None], 0, np.ones_like(x)))


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4)])
def test_mask_of_another_shape_raises(shape):
    with pytest.raises(ValueError, match=r"\[x, is_masked\].*Received"):
        MaskToken()([np.ones((4, 3)), np.ones(shape, bool)])
