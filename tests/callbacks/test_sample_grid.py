"""Grids of samples along training: what is in them, and that training does not notice."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import trainers
from keras_ssl.callbacks import SampleGrid
from tests.trainers.generative.denoisers import image_denoiser, small_images
from tests.trainers.small import dense, scaled_images


def image_generator(inputs):
    return keras.Sequential([dense(16, 64, inputs=inputs), keras.layers.Reshape((8, 8, 1))])


def vae():
    encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(16, "relu")])
    return trainers.VAE(encoder, image_generator(2), latent_dim=2, seed=0), 1 / 255, 0.0


def gan():
    discriminator = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    trainer = trainers.GAN(image_generator(4), discriminator, 4, ema_momentum=0.5, seed=0)
    return trainer, 1 / 127.5, -1.0


def diffusion():
    return trainers.Diffusion(image_denoiser(), ema_momentum=0.5, seed=0), 1.0, 0.0


def fit(made, **arguments):
    trainer, scale, offset = made
    names = trainer.optimizer_names
    optimizers = {name: keras.optimizers.Adam(1e-2) for name in names}
    trainer.compile(optimizers if len(names) > 1 else optimizers["main"])
    x = scale * small_images()[:32] + offset
    trainer.fit(x, batch_size=16, epochs=2, verbose=0, **arguments)
    return trainer


def read(path):
    return keras.utils.img_to_array(keras.utils.load_img(path, color_mode="grayscale"))[..., 0]


def holds_samples(grid, images, low, high):
    """Whether a grid of three columns holds five images in place, up to rounding."""
    assert grid.shape == (18, 28)
    for number, image in enumerate(images):
        top, left = 10 * (number // 3), 10 * (number % 3)
        expected = np.clip((image[..., 0] - low) / (high - low), 0, 1)
        np.testing.assert_allclose(grid[top : top + 8, left : left + 8], 255 * expected, atol=0.51)
    return np.all(grid[10:, 20:] == 255)  # there is no sixth one


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("make", "value_range", "arguments"), [(vae, (0, 1), {}), (gan, (-1, 1), {"averaged": False})]
)
def test_grids_hold_the_samples_of_their_epochs(make, value_range, arguments, tmp_path):
    folder = tmp_path / "new" / "grids"
    options = {"n": 5, "columns": 3, "seed": 7, "value_range": value_range, **arguments}
    trainer = fit(make(), callbacks=[SampleGrid(folder, **options)])
    found = {path.name: read(path) for path in folder.iterdir()}
    assert sorted(found) == [f"epoch_000{number}.png" for number in range(3)]
    assert holds_samples(
        found["epoch_0002.png"], trainer.sample(5, seed=7, **arguments), *value_range
    )
    assert not np.array_equal(found["epoch_0000.png"], found["epoch_0002.png"])


def test_tensorboard_has_the_same_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    folder, log_dir = tmp_path / "files", tmp_path / "logs"
    grids = SampleGrid(folder, log_dir, n=3, value_range=(0, 1))
    grids.set_params({"epochs": 2})
    grids.set_model(Random(dense(8, inputs=784), dense(784, inputs=8)))
    grids.model.compile("adam")
    grids.on_train_begin()
    for epoch in range(2):
        grids.on_epoch_end(epoch)
    grids.on_train_end()
    (events,) = log_dir.iterdir()
    pictures = {}
    for event in tf.compat.v1.train.summary_iterator(str(events)):
        for value in event.summary.value:
            assert value.tag == "samples"
            image = tf.io.decode_png(value.tensor.string_val[2])  # after width and height
            pictures[event.step] = image.numpy()
    assert sorted(pictures) == [0, 1, 2]
    assert not np.array_equal(pictures[0], pictures[1])
    for number, picture in pictures.items():
        saved = keras.utils.load_img(folder / f"epoch_000{number}.png")
        np.testing.assert_array_equal(picture, keras.utils.img_to_array(saved))


def test_a_trainer_that_cannot_sample_yet_is_drawn_after_the_first_epoch(tmp_path):
    grids = SampleGrid(tmp_path, n=1, value_range=(0, 1))
    grids.set_model(Random(dense(8, inputs=784), dense(784, inputs=8)))
    grids.model.can_sample = False
    grids.model.compile("adam")
    grids.on_train_begin()
    grids.on_epoch_end(0)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch_0001.png"]


def test_equal_weights_make_equal_grids_and_a_run_that_goes_on_leaves_the_first_alone(tmp_path):
    trainer, _, _ = vae()
    trainer.compile("adam")
    trainer.build((None, 8, 8, 1))

    def run(seed, start, end):
        grids = SampleGrid(tmp_path / str(seed), n=4, every=2, seed=seed, value_range=(0, 1))
        grids.set_params({"epochs": end})
        grids.set_model(trainer)
        grids.on_train_begin()
        for epoch in range(start, end):
            grids.on_epoch_end(epoch)
        return {path.name: read(path) for path in (tmp_path / str(seed)).iterdir()}

    found, other = (run(seed, 0, 3) for seed in (0, 1))
    # every second one and the last
    assert sorted(found) == [f"epoch_000{number}.png" for number in (0, 2, 3)]
    first = found["epoch_0000.png"]
    assert not np.array_equal(first, other["epoch_0000.png"])
    trainer.optimizer.iterations.assign(6)
    (tmp_path / "0" / "epoch_0000.png").unlink()
    found = run(0, 3, 5)
    assert sorted(found) == [f"epoch_000{number}.png" for number in (2, 3, 4, 5)]
    for one in found.values():
        np.testing.assert_array_equal(one, first)


def test_training_is_the_same_with_and_without(deterministic, tmp_path):
    """The trainer is one that says what its values are between."""
    ends = []
    for callbacks in ([], [SampleGrid(tmp_path, n=5, columns=3, steps=2)]):
        keras.utils.set_random_seed(1)
        trainer = fit(diffusion(), callbacks=callbacks)
        variables = [one for group in trainer.training_variables().values() for one in group]
        drawn = [random.random(), np.random.rand(), keras.random.uniform(())]
        ends.append([np.asarray(one) for one in (*variables, *drawn)])
    made = trainer.sample(5, steps=2, seed=0)
    assert holds_samples(read(tmp_path / "epoch_0002.png"), made, 0, 255)
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


class Random(trainers.Autoencoder):
    """An autoencoder whose samples are random colors, others at each call."""

    def sample(self, n, seed=None):
        return np.random.rand(n, 8, 8, 3)


class OfVectors(trainers.Autoencoder):
    """An autoencoder whose samples are not images."""

    def sample(self, n, seed=None):
        return np.zeros((n, 784), "float32")


class OfPairs(OfVectors):
    def sample(self, n, seed=None):
        return {"a": np.zeros((n, 2)), "b": np.zeros((n, 3))}


@pytest.mark.parametrize(
    ("kind", "options", "error", "message"),
    [
        (trainers.Autoencoder, {}, ValueError, "trainers.Diffusion.*Received: Autoencoder"),
        (OfVectors, {"value_range": None}, ValueError, "OfVectors does not say.*`value_range`"),
        (OfVectors, {}, ValueError, r"channels.*\(64, 784\)"),
        (OfPairs, {}, ValueError, r"one array.*'a': \(64, 2\)"),
        (OfVectors, {"stepz": 2}, TypeError, "stepz"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_the_first_step(
    kind, options, error, message, tmp_path
):
    trainer = kind(dense(8, inputs=784), dense(784, inputs=8))
    trainer.compile("adam")
    grids = SampleGrid(tmp_path, **{"value_range": (0, 1), **options})
    with pytest.raises(error, match=message):
        trainer.fit(scaled_images()[:32], verbose=0, callbacks=[grids])
    assert int(trainer.optimizer.iterations) == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folder": None}, "`folder`, `log_dir` or both"),
        ({"n": 0}, "`n` must be a positive integer"),
        ({"columns": 0}, "`columns`"),
        ({"every": 0}, "`every`"),
        ({"value_range": (1, 0)}, "value_range=.1, 0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        SampleGrid(**{"folder": "grids", **options})
