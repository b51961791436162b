import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import MaskedContext

to_numpy = keras.ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, blocks, **arguments):
        self.run_layer_test(
            MaskedContext,
            init_kwargs={"blocks": blocks, **arguments},
            input_shape=(2, 5, 4, 6),
            expected_output_shape=(2, 5, 4, 6),
            expected_num_trainable_weights=8 * blocks,
        )

    def test_of_cpc(self):
        self.check(2, width=3)

    def test_wide_rows(self):
        self.check(1, width=3, kernel_size=5)


def randomized(rng, channels, **arguments):
    layer = MaskedContext(**arguments)
    layer.build((None, None, None, channels))
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def formula(layer, z):
    """The blocks in float64, one position at a time, with masked kernels of full height."""
    weights = [to_numpy(w.value).astype("float64") for w in layer.trainable_weights]
    context, reach = z.astype("float64"), layer.kernel_size // 2
    for block in range(layer.blocks):
        w1, b1, vh, bh, vv, bv, w3, b3 = weights[8 * block : 8 * block + 8]
        # vertical kernel of 3 rows, the last of which is masked
        vertical = np.stack([vv[0, 0], vv[1, 0], np.zeros_like(vv[0, 0])])
        x = np.maximum(context @ w1[0, 0] + b1, 0)
        padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (0, 0)))
        x = bh + sum(padded[:, :, j : j + z.shape[2]] @ vh[0, j] for j in range(layer.kernel_size))
        padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
        x = np.maximum(bv + sum(padded[:, i : i + z.shape[1]] @ vertical[i] for i in range(3)), 0)
        context = context + x @ w3[0, 0] + b3
    return np.maximum(context, 0)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_equals_masked_convolutions(rng, kernel_size):
    layer = randomized(rng, 4, blocks=2, width=3, kernel_size=kernel_size)
    z = rng.normal(size=(2, 5, 6, 4)).astype("float32")
    np.testing.assert_allclose(layer(z), formula(layer, z), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("row", range(5))
def test_rows_do_not_depend_on_rows_below(rng, row):
    layer = randomized(rng, 16, blocks=5, width=8)
    z = rng.normal(size=(2, 5, 6, 16)).astype("float32")
    before = to_numpy(layer(z))
    z[:, row:] = rng.normal(size=z[:, row:].shape)
    after = to_numpy(layer(z))
    np.testing.assert_array_equal(after[:, :row], before[:, :row])
    # five blocks reach that far, so everything below sees the change
    for below in range(row, 5):
        assert np.all(np.any(after[:, below] != before[:, below], axis=-1))


def test_change_of_one_position_spreads_down_and_sideways(rng):
    layer = randomized(rng, 16, blocks=2, width=8)
    z = rng.normal(size=(1, 6, 7, 16)).astype("float32")
    before = to_numpy(layer(z))
    z[:, 2, 3] += 1
    changed = np.any(to_numpy(layer(z)) != before, axis=-1)[0]
    expected = np.zeros((6, 7), bool)
    expected[2:5, 1:6] = True  # two rows below, two columns to each side
    np.testing.assert_array_equal(changed, expected)


def test_saved_with_its_model(rng, tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 3)), MaskedContext(2, 5)])
    z = rng.normal(size=(2, 4, 4, 3)).astype("float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(z), model(z), atol=1e-6)


@pytest.mark.parametrize("name", ["blocks", "width", "kernel_size"])
def test_wrong_arguments_raise(name):
    for value, error in ((0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match=f"`{name}` must be.*Received: {name}={value}"):
            MaskedContext(**{name: value})


def test_even_kernel_and_inputs_of_other_rank_raise():
    with pytest.raises(ValueError, match=r"`kernel_size` must be odd.*4"):
        MaskedContext(kernel_size=4)
    for shape in ((2, 4, 3), (2, 4, 4, None)):
        with pytest.raises(ValueError, match=r"`inputs` must be grids.*Received"):
            MaskedContext().build(shape)
