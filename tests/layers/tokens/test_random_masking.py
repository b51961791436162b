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
        self.check(layers.RandomMasking, 24, ratio=0.5, unit=2, grid=(4, 6))
        self.check(layers.BlockMasking, 20, grid=(4, 5), ratio=0.5, min_tokens=3)
        self.check(layers.InverseBlockMasking, 20, grid=(4, 5), ratio=0.5)

    def test_lengths(self):
        self.run_layer_test(
            layers.RandomPrefix,
            init_kwargs={"seed": 1},
            input_shape=(2, 8, 3),
            expected_output_shape=(2,),
            expected_output_dtype="int32",
            expected_num_seed_generators=1,
            run_training_check=False,
            run_mixed_precision_check=False,
        )

    def test_blocks_and_context(self):
        self.run_layer_test(
            layers.MultiBlockMasking,
            init_kwargs={"grid": (4, 5), "targets": 2, "seed": 1},
            input_shape=(2, 20, 3),
            expected_output_shape=((2, 12), (2, 2, 4)),
            expected_output_dtype=("int32", "int32"),
            expected_num_seed_generators=1,
            run_training_check=False,
            run_mixed_precision_check=False,
        )


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


def test_squares_are_masked_as_one():
    layer = layers.RandomMasking(0.6, seed=0, unit=3, grid=(6, 12))
    found = masks(layer, 400, 72).reshape(400, 2, 3, 4, 3)
    np.testing.assert_array_equal(found.all(axis=(2, 4)), found.any(axis=(2, 4)))
    squares = found.all(axis=(2, 4)).reshape(400, 8)
    assert np.all(squares.sum(axis=1) == 5) and layer.count(72) == 45
    assert stats.chisquare(squares.sum(axis=0)).pvalue > 1e-3
    # without a grid, tokens form a square
    found = masks(layers.RandomMasking(0.5, seed=0, unit=2), 3, 16).reshape(3, 2, 2, 2, 2)
    np.testing.assert_array_equal(found.all(axis=(2, 4)), found.any(axis=(2, 4)))


def test_prefixes_of_all_lengths_are_equally_likely():
    lengths = ops.convert_to_numpy(layers.RandomPrefix(seed=0)(np.zeros((6000, 7, 1), "float32")))
    found, counts = np.unique(lengths, return_counts=True)
    assert found.tolist() == [1, 2, 3, 4, 5, 6] and stats.chisquare(counts).pvalue > 1e-3


def blocks(layer, batch):
    rows, columns = layer.grid
    found = layer(np.zeros((batch, rows * columns, 1), "float32"))
    return tuple(map(ops.convert_to_numpy, found))


@pytest.mark.parametrize(
    ("grid", "arguments"),
    [
        ((14, 14), {}),
        ((4, 9), {"targets": 3, "target_scale": (0.2, 0.3), "context_scale": (0.3, 0.5)}),
        ((8, 3), {"targets": 1, "aspect_ratio": (0.2, 4.0)}),
    ],
)
def test_targets_are_rectangles_and_the_context_has_none_of_them(grid, arguments):
    layer = layers.MultiBlockMasking(grid, seed=0, **arguments)
    context, targets = blocks(layer, 100)
    tokens, size = grid[0] * grid[1], round(np.mean(layer.target_scale) * grid[0] * grid[1])
    assert targets.shape == (100, layer.targets, size)
    assert context.shape == (100, tokens - layer.targets * size)
    for places in (context, targets):
        assert places.min() >= 0 and places.max() < tokens
        assert np.all(np.diff(places, axis=-1) > 0)  # in order, none twice
    for seen, hidden in zip(context, targets, strict=True):
        assert not np.isin(seen, hidden).any()
    for target in targets.reshape(-1, size):
        places = np.stack(np.divmod(target, grid[1]), axis=-1)
        height, width = np.ptp(places, axis=0) + 1
        # all rows are whole but the first or the last
        assert 0 <= height * width - size < width
        lengths = np.bincount(places[:, 0])[-height:]
        assert np.all(lengths[1:] == width) or np.all(lengths[:-1] == width)


def test_draws_of_blocks_follow_their_ranges():
    layer = layers.MultiBlockMasking((20, 20), targets=2, target_scale=(0.1, 0.1), seed=0)
    context, targets = blocks(layer, 4000)
    places = np.stack(np.divmod(targets.reshape(-1, 40), 20), axis=-1)
    height, width = (np.ptp(places, axis=1) + 1).T
    # sqrt(40 / aspect) from 5.2 to 7.3, rounded; the height follows
    assert set(width) == {5, 6, 7} and set(height) == {6, 7, 8}
    # the corners of the grid are hidden less often than its middle
    share = np.bincount(targets.ravel(), minlength=400).reshape(20, 20) / 4000
    assert share.min() > 0 and share[8:12, 8:12].mean() > 3 * share[:2, :2].mean()
    assert np.bincount(context.ravel(), minlength=400).min() > 0


def test_context_keeps_to_its_square_and_loses_a_side_of_it():
    layer = layers.MultiBlockMasking(
        (10, 10), targets=1, target_scale=(0.1, 0.1), context_scale=(0.49, 0.49), seed=0
    )
    layer.context_tokens = 21  # fewer than the square has without the target
    context, _ = blocks(layer, 300)
    rows, columns = np.divmod(context, 10)
    height, width = np.ptp(rows, axis=1) + 1, np.ptp(columns, axis=1) + 1
    assert height.max() == width.max() == 7
    # three rows or columns and what the target takes of them
    assert np.minimum(height, width).max() <= 6 and np.minimum(height, width).min() == 3
    assert 0.35 < np.mean(height < width) < 0.65


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


def test_xla_compiles_blocks():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("XLA by tf.function")
    import tensorflow as tf

    layer = layers.MultiBlockMasking((6, 6), seed=0)
    context, targets = tf.function(layer, jit_compile=True)(tf.zeros((64, 36, 2)))
    assert context.shape == (64, 12) and targets.shape == (64, 4, 6)
    for seen, hidden in zip(context.numpy(), targets.numpy(), strict=True):
        assert not np.isin(seen, hidden).any()


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
        (lambda: layers.RandomMasking(unit=0), "`unit`"),
        (lambda: masks(layers.RandomMasking(unit=2), 1, 8), "`unit` divides.*8 tokens, grid=None"),
        (lambda: masks(layers.RandomMasking(unit=2, grid=(3, 4)), 1, 12), r"grid=\(3, 4\), unit=2"),
        (lambda: masks(layers.RandomMasking(unit=2), 1, 4), "in 1 squares, unit=2"),
        (lambda: layers.RandomPrefix()(np.zeros((2, 1, 3))), "at least 2 tokens. Received: 1"),
        (lambda: layers.MultiBlockMasking((4, 4), targets=0), "`targets`"),
        (lambda: layers.MultiBlockMasking((4, 4), target_scale=(0.3, 0.2)), "`target_scale`"),
        (lambda: layers.MultiBlockMasking((4, 4), target_scale=(0.1, 1.2)), "`target_scale`"),
        (lambda: layers.MultiBlockMasking((4, 4), aspect_ratio=(0, 1)), "`aspect_ratio`"),
        (lambda: layers.MultiBlockMasking((4, 4), context_scale=(0.0, 1)), "`context_scale`"),
        (lambda: layers.MultiBlockMasking((4, 4), targets=6), "leave tokens.*which is 18 of 16"),
        (lambda: masks(layers.MultiBlockMasking((9, 9)), 1, 80), "has 81 tokens. Received: 80"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("grid", "ratio"), [((14, 14), 0.65), ((4, 9), 0.7), ((6, 4), 0.5)])
def test_one_rectangle_stays_visible(grid, ratio):
    rows, columns = grid
    count = rows * columns - round(ratio * rows * columns)
    layer = layers.InverseBlockMasking(grid, ratio, roll=False, seed=0)
    visible = ~masks(layer, 300, rows * columns).reshape(300, rows, columns)
    assert np.all(visible.sum(axis=(1, 2)) == count)
    aspects = []
    for one in visible:
        box = ndimage.find_objects(one.astype(int))[0]
        height, width = one[box].shape
        # at most one row and one column larger than the visible tokens need
        assert (height - 1) * (width - 1) < count <= height * width
        assert np.all(one[box].ravel()[:count])  # all but the end of the last rows
        aspects.append(height / width)
    assert len(set(aspects)) > 1


def test_rolled_rectangles_show_every_token_alike():
    found = masks(layers.InverseBlockMasking((5, 6), 0.6, seed=0), 6000, 30)
    assert np.all(found.sum(axis=1) == 18)
    visible = 1 - found.mean(axis=0)
    np.testing.assert_allclose(visible, 0.4, atol=0.03)
    inside = masks(layers.InverseBlockMasking((5, 6), 0.6, roll=False, seed=0), 2000, 30)
    visible = (1 - inside.mean(axis=0)).reshape(5, 6)
    assert visible[0, 0] < 0.2 < 0.5 < visible[2, 2]
