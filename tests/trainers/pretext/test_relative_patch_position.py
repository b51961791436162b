"""RelativePatchPosition: where patches are cut, the loss, shortcuts, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, trainers
from tests.trainers.case import BAD_IMAGES, Case, zeros
from tests.trainers.pretext.small_patches import (
    any_size,
    batch_of,
    border_encoder,
    colored,
    cross_entropy,
    gain_over_chance,
    make,
    photos,
)
from tests.trainers.small import encoder

CASES = {
    "RelativePatchPosition": Case(
        make=lambda: trainers.RelativePatchPosition(
            any_size(),
            patch_size=8,
            gap=1,
            jitter=0,
            patch_augment=augment.ColorJitter(0.1, 0.1, seed=0),
            head=keras.layers.Dense(64, "relu"),
            seed=0,
        ),
        decreasing_loss="loss",
        decrease=0.34,
        epochs=20,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=(*BAD_IMAGES, (zeros(64, 20, 28, 1), "Images must be at least 26x26")),
    ),
}

PLAIN = {"patch_augment": keras.layers.Identity(), "normalize": False}


def places_image(rows=40, columns=36, count=64):
    """Images whose pixels are their own places: row and column."""
    one = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    return np.repeat(one[None], count, axis=0).astype("float32")


def task(**arguments):
    return make(trainers.RelativePatchPosition, any_size(), **arguments)


def test_patches_are_a_centre_and_its_neighbour():
    trainer = task(patch_size=(6, 5), gap=3, jitter=2, seed=4, **PLAIN)
    patches, neighbor = map(np.asarray, trainer.draw_patches(places_image(count=2000)))
    assert patches.shape == (2000, 2, 6, 5, 2)
    corner = patches[:, :, 0, 0]
    whole = corner[:, :, None, None] + np.stack(
        np.meshgrid(np.arange(6), np.arange(5), indexing="ij"), axis=-1
    )
    np.testing.assert_array_equal(patches, whole)
    sides = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    jitter = corner[:, 1] - corner[:, 0] - np.array(sides)[neighbor] * (6 + 3, 5 + 3)
    assert jitter.min() == -2 and jitter.max() == 2
    # every place, jitter and neighbour occurs, about equally often
    assert np.bincount(neighbor).min() > 0.7 * 2000 / 8
    assert len(np.unique(jitter, axis=0)) == 25
    rows, columns = corner[:, 0].T
    assert rows.min() == 11 and rows.max() == 40 - 6 - 11
    assert columns.min() == 10 and columns.max() == 36 - 5 - 10
    # where the centre lies does not tell on which side the neighbour is
    means = [rows[neighbor == k].mean() for k in range(8)]
    assert np.ptp(means) < 3 * rows.std() * np.sqrt(2 * 8 / 2000)
    others = corner[:, 1]
    assert others.min() >= 0 and (others <= (40 - 6, 36 - 5)).all()


def test_patches_have_the_mean_and_deviation_of_their_image():
    trainer = task(patch_size=7, gap=1, patch_augment=keras.layers.Identity(), seed=1)
    x = np.random.default_rng(0).normal(100, 20, size=(8, 28, 28, 2)) * (1, 2)
    x += np.arange(28)[:, None] * 3
    patches = np.asarray(trainer.draw_patches(x.astype("float32"))[0])
    for statistic in (np.mean, np.std):
        of_image = statistic(x, axis=(1, 2))[:, None]
        of_patches = statistic(patches, axis=(2, 3))
        np.testing.assert_allclose(of_patches, np.broadcast_to(of_image, (8, 2, 2)), rtol=1e-4)
    flat = np.asarray(trainer.draw_patches(np.full((2, 28, 28, 1), 7, "uint8"))[0])
    np.testing.assert_allclose(flat, 7)


def test_loss_is_the_cross_entropy_of_the_place():
    trainer = task(patch_size=8, gap=1, seed=3)
    x = photos()
    seeds = trainer.seed_generator.state.numpy()
    found = trainer.compute_losses(batch_of(x.astype("float32")), training=False)["position"]
    trainer.seed_generator.state.assign(seeds)
    patches, classes = map(np.asarray, trainer.draw_patches(x))
    expected = cross_entropy(trainer, patches, classes)
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_colors_are_dropped_by_default():
    trainer = task(patch_size=8, gap=1, normalize=False, seed=0)
    patches = np.asarray(trainer.draw_patches(colored(32))[0])
    kept = (np.abs(patches).sum(axis=(2, 3)) > 0).sum(axis=-1)
    assert kept.shape == (32, 2) and kept.max() == 1


def test_borders_and_brightness_are_no_shortcut():
    """Light that falls from a corner tells the place, unless patches are normalised."""

    def task_of(normalize):
        return lambda: make(
            trainers.RelativePatchPosition, border_encoder(6), 6, normalize=normalize, seed=0
        )

    assert gain_over_chance(task_of(False), 8) > 0.5
    assert gain_over_chance(task_of(True), 8) < 0.02


def test_representation_is_that_of_the_whole_image():
    trainer = task(patch_size=8, gap=1)
    np.testing.assert_allclose(trainer(photos()), trainer.encoder(photos().astype("float32")))


def test_encoder_that_is_not_built_takes_patches_and_images():
    layers = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    trainer = make(trainers.RelativePatchPosition, keras.Sequential(layers), 8, gap=1)
    trainer.fit(photos(), batch_size=8, verbose=0)
    assert trainer.predict(photos(), verbose=0).shape == (8, 4)


def test_defaults_are_those_of_the_paper():
    trainer = trainers.RelativePatchPosition(any_size(), 96)
    assert (trainer.gap, trainer.jitter, trainer.head.units) == (48, 7, 4096)
    assert isinstance(trainer.patch_augment, augment.RandomColorDrop)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"gap": 1, "jitter": 2}, ValueError, "`jitter` must not be larger than `gap`.*jitter=2"),
        ({"gap": -1}, ValueError, "`gap`"),
        ({"jitter": 0.5}, TypeError, "`jitter`"),
        ({"patch_size": 0}, ValueError, "`patch_size`"),
        ({"head": "mlp"}, TypeError, "`head`"),
        ({"patch_augment": "drop"}, TypeError, "`patch_augment`"),
        ({"augment": "crop"}, TypeError, "`augment`"),
        ({"encoder": None}, TypeError, "`encoder`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.RelativePatchPosition(**{"encoder": any_size(), "patch_size": 8, **arguments})


def test_encoder_of_one_size_is_rejected_before_the_first_step():
    trainer = make(trainers.RelativePatchPosition, encoder(), 8, gap=1)
    with pytest.raises(ValueError, match="`encoder` must take views of all sizes"):
        trainer.fit(photos(), verbose=0)
    trainer = make(trainers.RelativePatchPosition, keras.layers.Conv2D(4, 3), 8, gap=1)
    with pytest.raises(ValueError, match="must return features of shape"):
        trainer.fit(photos(), verbose=0)
