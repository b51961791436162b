"""JigsawPuzzle: permutations, where patches are cut, the loss, shortcuts, errors."""

from itertools import permutations

import keras
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from keras_ssl import augment, trainers
from tests.trainers.case import BAD_IMAGES, Case, zeros
from tests.trainers.pretext.small_patches import (
    any_size,
    batch_of,
    border_encoder,
    cross_entropy,
    gain_over_chance,
    make,
    photos,
)
from tests.trainers.small import encoder

CASES = {
    "JigsawPuzzle": Case(
        make=lambda: trainers.JigsawPuzzle(
            any_size(),
            patch_size=8,
            permutation_count=4,
            augment=augment.RandomHorizontalFlip(seed=0),
            head=keras.layers.Dense(64, "relu"),
            seed=0,
        ),
        decreasing_loss="loss",
        decrease=0.8,
        epochs=20,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=(*BAD_IMAGES, (zeros(64, 28, 26, 1), "room for nine patches.*images of 28x26")),
    ),
}


def task(**arguments):
    settings = {"patch_size": 8, "permutation_count": 6, "seed": 0, **arguments}
    return make(trainers.JigsawPuzzle, any_size(), **settings)


def test_permutations_are_those_of_the_greedy_algorithm():
    """Each has the largest mean Hamming distance, by SciPy, from all before it."""
    every = np.array(list(permutations(range(9))), "uint8")
    found = task(permutation_count=12).permutations
    assert found.shape == (12, 9) and (np.sort(found) == np.arange(9)).all()
    assert len(np.unique(found, axis=0)) == 12
    for count in (1, 2, 9, 11):
        largest = cdist(found[:count], every, "hamming").mean(axis=0).max()
        own = cdist(found[:count], found[count : count + 1], "hamming").mean()
        assert own == pytest.approx(largest)
    first = cdist(found[:9], found[:9], "hamming")
    np.testing.assert_array_equal(first, 1 - np.eye(9))


def test_permutations_follow_from_the_seed_and_start_alike():
    one, more = task(), task(permutation_count=30)
    np.testing.assert_array_equal(more.permutations[:6], one.permutations)
    np.testing.assert_array_equal(task(seed=None).permutations, one.permutations)
    assert (task(seed=1).permutations != one.permutations).any()
    # stored, so that saved trainers find their permutations again
    assert one.permutations[:2].tolist() == STORED


STORED = [[3, 6, 7, 2, 4, 0, 5, 1, 8], [5, 8, 1, 6, 3, 7, 2, 4, 0]]


def test_patches_come_from_their_cells_in_the_order_of_the_permutation():
    rows, columns = np.meshgrid(np.arange(40), np.arange(30), indexing="ij")
    x = np.repeat(np.stack([rows, columns], -1)[None], 600, axis=0).astype("float32")
    trainer = task(patch_size=(10, 7), normalize=False)
    patches, classes = map(np.asarray, trainer.draw_patches(x))
    assert patches.shape == (600, 9, 10, 7, 2)
    corner = patches[:, :, 0, 0]
    inner = np.stack(np.meshgrid(np.arange(10), np.arange(7), indexing="ij"), -1)
    np.testing.assert_array_equal(patches, corner[:, :, None, None] + inner)
    order = trainer.permutations[classes]
    offset = corner - np.stack([order // 3 * 13, order % 3 * 10], axis=-1)
    assert offset.min() == 0 and offset[..., 0].max() == 3 and offset[..., 1].max() == 3
    for axis in (0, 1):
        assert np.bincount(offset[..., axis].astype(int).ravel()).min() > 0.9 * 600 * 9 / 4
    assert np.bincount(classes).min() > 70


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_patches_keep_their_pixels_in_mixed_precision(policy, set_dtype_policy):
    x = np.random.default_rng(0).random((4, 30, 30, 1)).astype("float32") + 3
    expected = task(normalize=False).draw_patches(x)[0]
    set_dtype_policy(policy)
    np.testing.assert_array_equal(task(normalize=False).draw_patches(x)[0], expected)
    # layers of the user's own may compute in 16 bits
    rough = task(patch_augment=keras.layers.Identity()).draw_patches(x)[0]
    np.testing.assert_allclose(rough, task().draw_patches(x)[0], atol=0.1)


def test_loss_is_the_cross_entropy_of_the_permutation():
    trainer, x = task(), photos()
    seeds = trainer.seed_generator.state.numpy()
    found = trainer.compute_losses(batch_of(x.astype("float32")), training=False)["permutation"]
    trainer.seed_generator.state.assign(seeds)
    patches, classes = map(np.asarray, trainer.draw_patches(x))
    expected = cross_entropy(trainer, patches, classes)
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_borders_and_brightness_are_no_shortcut():
    """Light that falls from a corner gives the order, unless patches are normalised."""

    def task_of(normalize):
        settings = {"permutation_count": 6, "normalize": normalize, "seed": 0}
        return lambda: make(trainers.JigsawPuzzle, border_encoder(6), 6, **settings)

    assert gain_over_chance(task_of(False), 6) > 0.5
    assert gain_over_chance(task_of(True), 6) < 0.02


def test_matching_borders_does_not_solve_puzzles_with_gaps():
    """Of textures that go on over a pixel or two, only touching patches fit to one another."""
    noise = np.random.default_rng(0).normal(size=(300, 36, 36))
    x = gaussian_filter(noise, (0, 0.8, 0.8))[..., None].astype("float32")
    trainer = task(patch_size=6, permutation_count=6)
    patches, classes = map(np.asarray, trainer.draw_patches(x))
    order = trainer.permutations
    touching = (
        x.reshape(300, 3, 12, 3, 12, 1).transpose(0, 1, 3, 2, 4, 5).reshape(300, 9, 12, 12, 1)
    )
    touching = np.take_along_axis(touching, order[classes][..., None, None, None], axis=1)
    assert np.mean(fitting(touching, order) == classes) > 0.9
    assert np.mean(fitting(patches, order) == classes) < 1 / 6 + 0.08


def fitting(patches, orders):
    """The order of each image's patches in which the borders of neighbours differ least."""
    found = []
    for order in orders:
        inverse = np.argsort(order)
        grid = patches[:, inverse].reshape(len(patches), 3, 3, *patches.shape[2:])
        across = grid[:, :, :-1, :, -1] - grid[:, :, 1:, :, 0]
        down = grid[:, :-1, :, -1] - grid[:, 1:, :, 0]
        sums = [np.square(one).reshape(len(patches), -1).sum(axis=1) for one in (across, down)]
        found.append(sum(sums))
    return np.argmin(found, axis=0)


def test_representation_is_that_of_the_whole_image():
    trainer = task()
    np.testing.assert_allclose(trainer(photos()), trainer.encoder(photos().astype("float32")))


def test_defaults():
    trainer = trainers.JigsawPuzzle(any_size(), 64)
    assert (trainer.permutation_count, trainer.head.units) == (100, 4096)
    assert trainer.normalize and isinstance(trainer.patch_augment, keras.layers.Identity)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"permutation_count": 1}, ValueError, "`permutation_count`"),
        ({"permutation_count": 362_881}, ValueError, "at most 362880.*permutation_count=362881"),
        ({"permutation_count": 2.5}, TypeError, "`permutation_count`"),
        ({"patch_size": -8}, ValueError, "`patch_size`"),
        ({"head": "mlp"}, TypeError, "`head`"),
        ({"patch_augment": "drop"}, TypeError, "`patch_augment`"),
        ({"encoder": None}, TypeError, "`encoder`"),
        ({"seed": 0.5}, TypeError, "`seed`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.JigsawPuzzle(**{"encoder": any_size(), "patch_size": 8, **arguments})


def test_unfit_data_and_encoders_are_rejected_before_the_first_step():
    with pytest.raises(ValueError, match=r"nine patches.*at least 30x30.*patch_size=\(9, 9\)"):
        task(patch_size=9).fit(photos(), verbose=0)
    trainer = make(trainers.JigsawPuzzle, encoder(), 8)
    with pytest.raises(ValueError, match="`encoder` must take views of all sizes"):
        trainer.fit(photos(), verbose=0)
    with pytest.raises(ValueError, match="Expected one batch of images"):
        task().fit((photos(), photos()), verbose=0)
