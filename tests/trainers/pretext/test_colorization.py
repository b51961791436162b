"""Colorization: colours, their frequencies, the losses, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, trainers
from keras_ssl.trainers.pretext._lab import colors_of_grid, lab_to_rgb, rgb_to_lab
from tests.trainers.case import Case, zeros
from tests.trainers.small import images


def maps(channels=1, features=16):
    return keras.Sequential(
        [
            keras.layers.Input((28, 28, channels)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(features, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(features, 3, strides=2, padding="same", activation="relu"),
        ]
    )


def colored():
    """The images in colours that follow from their lightness: blue, red, yellow."""
    gray = images()[0].astype("float32") / 255
    rgb = np.concatenate([gray, gray**2, 0.5 * (1 - gray)], axis=-1)
    return np.rint(255 * rgb).astype("uint8")


CASES = {
    "Colorization": Case(
        make=lambda: trainers.Colorization(maps(), augment.RandomHorizontalFlip(seed=0)),
        x=colored,
        decreasing_loss="loss",
        decrease=1.8,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        bad_data=(
            (zeros(64, 28, 28), "rank 4|batch, height, width, channels"),
            (zeros(64, 28, 28, 1), "Grey images have none.*images of 1 channel$"),
            (zeros(64, 28, 26, 3) + np.arange(3), "divide those of the images|incompatible"),
            (zeros(64, 28, 28, 3), "the images are grey|values from 0 to 0"),
            (zeros(0, 28, 28, 3), "no data"),
        ),
    ),
}


def make(**arguments):
    keras.utils.set_random_seed(2)
    trainer = trainers.Colorization(maps(), **arguments)
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


def lab64(rgb):
    """CIE Lab of sRGB in [0, 1], in float64, from the definitions."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x = linear @ [0.4124564, 0.3575761, 0.1804375] / 0.95047
    y = linear @ [0.2126729, 0.7151522, 0.0721750]
    z = linear @ [0.0193339, 0.1191920, 0.9503041] / 1.08883
    x, y, z = (
        np.where(v > 216 / 24389, np.cbrt(v), (24389 / 27 * v + 16) / 116) for v in (x, y, z)
    )
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def test_colors_are_those_of_cie_lab(rng):
    rgb = np.concatenate([rng.random((500, 3)), rng.random((50, 3)) * 0.05, np.eye(3)])
    lab = np.asarray(rgb_to_lab(rgb))
    np.testing.assert_allclose(lab, lab64(rgb), atol=2e-3)
    np.testing.assert_allclose(lab_to_rgb(lab), rgb, atol=1e-4)
    # published values of red, green and blue
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab[-3:], expected, atol=0.01)


def test_grid_holds_the_nearest_points_of_all_colors(rng):
    colors = colors_of_grid(10)
    assert (colors % 10 == 0).all() and len(np.unique(colors, axis=0)) == len(colors)
    nearest = np.rint(lab64(rng.random((20_000, 3)))[:, 1:] / 10) * 10
    assert {tuple(one) for one in nearest} <= {tuple(one) for one in colors.tolist()}


def test_loss_is_the_rebalanced_cross_entropy_of_soft_targets():
    trainer, x = make(sigma=4.0, uniform_weight=0.3), colored()[:8]
    logs = trainer.evaluate(x, batch_size=8, verbose=0, return_dict=True)
    colors = trainer.colors.astype("float64")
    lab = lab64(x / 255.0)

    # frequencies of the nearest colours of all pixels, smoothed
    distance = np.square(lab[..., None, 1:] - colors).sum(-1)
    counts = np.bincount(distance.argmin(-1).ravel(), minlength=len(colors))
    kernel = np.exp(-np.square(colors[:, None] - colors).sum(-1) / (2 * 4.0**2))
    prior = (kernel / kernel.sum(axis=0)) @ counts
    prior /= prior.sum()
    np.testing.assert_allclose(np.asarray(trainer.color_prior), prior, atol=2e-3)
    prior = np.asarray(trainer.color_prior, "float64")
    weights = 1 / (0.7 * prior + 0.3 / len(colors))
    weights /= prior @ weights

    features = np.asarray(trainer.encoder((lab[..., :1] * 2.55).astype("float32")), "float64")
    kernel, bias = (np.asarray(w, "float64") for w in trainer.head.weights)
    scores = np.exp(features @ kernel[0, 0] + bias)
    log_p = np.log(scores / scores.sum(-1, keepdims=True))
    ab = lab[..., 1:].reshape(8, 7, 4, 7, 4, 2).mean(axis=(2, 4))
    values = []
    for place in np.ndindex(8, 7, 7):
        squares = np.square(ab[place] - colors).sum(-1)
        five = np.argsort(squares)[:5]
        target = np.exp(-squares[five] / (2 * 4.0**2))
        target /= target.sum()
        values.append(-weights[five[0]] * target @ log_p[place][five])
    assert logs["loss"] == pytest.approx(np.mean(values), rel=2e-3)


def test_regression_is_half_the_squared_distance():
    trainer, x = make(regression=True), colored()[:8]
    logs = trainer.evaluate(x, batch_size=8, verbose=0, return_dict=True)
    lab = lab64(x / 255.0)
    ab = lab[..., 1:].reshape(8, 7, 4, 7, 4, 2).mean(axis=(2, 4)) / 110
    found = np.asarray(trainer.head(trainer.encoder(trainer.lightness(x))), "float64")
    assert logs["loss"] == pytest.approx(np.square(found - ab).sum(-1).mean() / 2, rel=1e-4)
    assert float(trainer.is_measured) == 0


def test_frequencies_are_measured_once_and_saved(tmp_path):
    trainer, x = make(), colored()
    uniform = np.asarray(trainer.color_prior)
    trainer.fit(x[:32], batch_size=16, verbose=0)
    measured = np.asarray(trainer.color_prior)
    assert np.abs(measured - uniform).max() > 0.01 and measured.sum() == pytest.approx(1, abs=1e-5)
    trainer.evaluate(x[32:64, :, :, ::-1], verbose=0)
    np.testing.assert_array_equal(trainer.color_prior, measured)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    np.testing.assert_array_equal(loaded.color_prior, measured)
    trainer.measure_colors(x[:, :, :, ::-1])
    assert np.abs(np.asarray(trainer.color_prior) - measured).max() > 0.01


def test_colorize_keeps_lightness_and_learns_colors():
    trainer, x = make(uniform_weight=1.0), colored()
    trainer.compile(keras.optimizers.Adam(1e-2))
    trainer.fit(x, batch_size=32, epochs=4, verbose=0)
    made = np.asarray(trainer.colorize(x[:32]))
    assert made.shape == x[:32].shape and made.min() >= 0 and made.max() <= 255
    lightness = np.asarray(trainer.lightness(x[:32])).repeat(3, axis=-1)
    error = np.abs(lab64(made / 255) - lab64(x[:32] / 255.0))[..., 1:].mean()
    of_gray = np.abs(lab64(x[:32] / 255.0))[..., 1:].mean()
    assert lightness.max() <= 255.01 and error < 0.6 * of_gray


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.repeat(images()[0][:8], 3, axis=-1), "the images are grey.*channels are equal"),
        (colored()[:8].astype("float32") / 255, r"from 0 to `pixel_scale`, 255.*to 1$"),
        (colored()[:8].astype("float32") * 2, r"from 0 to `pixel_scale`, 255.*to 510$"),
        (colored()[:8].astype("float32") - 128, r"from 0 to `pixel_scale`.*from -128"),
        (zeros(8, 28, 28, 4), "images of 4 channels"),
    ],
)
def test_bad_images_are_rejected_before_the_first_step(x, message):
    trainer = make()
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, batch_size=8, verbose=0)
    assert int(trainer.optimizer.iterations) == 0 and float(trainer.is_measured) == 0


def test_bad_parts_are_rejected():
    for arguments, error in (
        ({"sigma": 0}, ValueError),
        ({"uniform_weight": 1.5}, ValueError),
        ({"pixel_scale": -1}, ValueError),
        ({"encoder": None}, TypeError),
        ({"augment": "flip"}, TypeError),
    ):
        with pytest.raises(error, match=f"`{next(iter(arguments))}`"):
            trainers.Colorization(**{"encoder": maps(), **arguments})
    pooled = keras.Sequential([*maps().layers, keras.layers.GlobalAveragePooling2D()])
    for encoder in (pooled, keras.layers.Conv2D(4, 3)):
        trainer = trainers.Colorization(encoder)
        trainer.compile("sgd")
        with pytest.raises(ValueError, match=r"`encoder` must return feature maps.*28x28"):
            trainer.fit(colored()[:8], verbose=0)
