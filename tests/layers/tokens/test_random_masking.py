"""Masks: as many tokens in every example, uniform or in rectangles, compiled by XLA."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase
from scipy import ndimage, stats

from keras_ssl import layers
from keras_ssl.layers.tokens.random_masking import visible_indices


class TestConformance(TestCase):
    def check(self, layer, tokens, **arguments):
        self.run_layer_test(
            layer,
            init_kwargs=arguments,
            input_shape=(2, tokens, 3),
            expected_output_shape=(2, tokens),
            expected_output_dtype="bool",
            expected_num_trainable_weights=0,
            expected_num_seed_generators=1,
            run_training_check=False,
            run_mixed_precision_check=False,
        )

    def test_layers(self):
        self.check(layers.RandomMasking, 8, ratio=0.5, seed=1)
        self.check(layers.BlockMasking, 20, grid=(4, 5), ratio=0.5, min_tokens=3)


def masks(layer, batch, tokens):
    return ops.convert_to_numpy(layer(np.zeros((batch, tokens, 1), "float32")))


def test_uniform_masks_hide_every_token_alike():
    found = masks(layers.RandomMasking(0.6, seed=0), 5000, 10)
    assert found.dtype == bool and np.all(found.sum(axis=1) == 6)
    assert stats.chisquare(found.sum(axis=0)).pvalue > 1e-3
    # drawn without replacement: the covariance of two tokens is -var / (n - 1)
    covariance = np.cov(found.T.astype(float))
    np.testing.assert_allclose(covariance[np.triu_indices(10, 1)], -0.24 / 9, atol=0.02)


def test_draws_differ_and_seeds_repeat():
    layer = layers.RandomMasking(0.5, seed=3)
    first, second = masks(layer, 4, 32), masks(layer, 4, 32)
    assert not np.array_equal(first, second)
    assert len({row.tobytes() for row in first}) == 4
    np.testing.assert_array_equal(masks(layers.RandomMasking(0.5, seed=3), 4, 32), first)


@pytest.mark.parametrize("ratio", [0.2, 0.4, 0.75])
def test_blocks_mask_equally_many_tokens_in_few_pieces(ratio):
    found = masks(layers.BlockMasking((14, 14), ratio, seed=0), 200, 196)
    assert np.all(found.sum(axis=1) == round(ratio * 196))

    def pieces(rows):
        return np.mean([ndimage.label(row.reshape(14, 14))[1] for row in rows])

    uniform = masks(layers.RandomMasking(ratio, seed=0), 200, 196)
    assert pieces(found) < 4 and pieces(found) < 0.5 * pieces(uniform)
    # every token is hidden at times, those in the middle more often
    share = found.mean(axis=0).reshape(14, 14)
    assert share.min() > 0 and share[5:9, 5:9].mean() > share[:2, :2].mean()


def test_rectangles_have_their_aspect_ratios():
    layer = layers.BlockMasking((20, 20), 0.04, min_tokens=16, aspect_ratio=(4, 4), seed=1)
    for row in masks(layer, 50, 400).reshape(-1, 20, 20):
        places = np.argwhere(row)
        height, width = np.ptp(places, axis=0) + 1
        assert (height, width) == (8, 2)


def test_masks_that_no_rectangles_fill_are_filled_by_any_tokens():
    layer = layers.BlockMasking((4, 4), 0.9, min_tokens=14, aspect_ratio=(1e-3, 2e-3), seed=0)
    layer.rectangles = 1
    assert np.all(masks(layer, 50, 16).sum(axis=1) == 14)


def test_indices_of_visible_and_masked_tokens(rng):
    is_masked = np.array([rng.permutation([True] * 3 + [False] * 4) for _ in range(20)])
    visible, masked = map(ops.convert_to_numpy, visible_indices(is_masked, 3))
    np.testing.assert_array_equal(visible, [np.flatnonzero(~row) for row in is_masked])
    np.testing.assert_array_equal(masked, [np.flatnonzero(row) for row in is_masked])


@pytest.mark.parametrize(
    "layer",
    [layers.RandomMasking(0.5, seed=0), layers.BlockMasking((4, 4), 0.5, min_tokens=3, seed=0)],
    ids=["uniform", "blocks"],
)
def test_xla_compiles_masks(layer):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA by tf.function")
    import tensorflow as tf

    compiled = tf.function(layer, jit_compile=True)
    found = compiled(tf.zeros((64, 16, 2))).numpy()
    assert np.all(found.sum(axis=1) == 8) and found.any(axis=0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomMasking(0.0), "`ratio`"),
        (lambda: layers.RandomMasking(1.0), "`ratio` must be between 0 and 1"),
        (lambda: masks(layers.RandomMasking(0.1), 1, 4), "leave at least one.*of 4 tokens"),
        (lambda: layers.RandomMasking()(keras.Input((None, 3))), "whose number is known"),
        (lambda: layers.BlockMasking((4, 4), 0.5, min_tokens=9), "`min_tokens` must be at most"),
        (lambda: layers.BlockMasking((9, 9), aspect_ratio=(0, 1)), "`aspect_ratio`"),
        (lambda: masks(layers.BlockMasking((9, 9)), 1, 80), "has 81 tokens. Received: 80"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
