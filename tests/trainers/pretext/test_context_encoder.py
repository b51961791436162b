"""ContextEncoder: holes, the losses and steps, inpainting, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import losses, trainers
from tests.trainers.case import BAD_SINGLE_VIEW, Case, zeros
from tests.trainers.small import encoder, images

SIDE = 12


def flat_encoder():
    """An encoder that tells where the hole is."""
    return keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(16, "tanh"),
        ]
    )


def decoder(channels=1, last="sigmoid"):
    return keras.Sequential(
        [
            keras.layers.Input((16,)),
            keras.layers.Dense(64, "relu"),
            keras.layers.Dense(SIDE * SIDE * channels),
            keras.layers.Reshape((SIDE, SIDE, channels)),
            keras.layers.Activation(last),
        ]
    )


def discriminator(channels=1):
    return keras.Sequential(
        [
            keras.layers.Input((SIDE, SIDE, channels)),
            keras.layers.Flatten(),
            keras.layers.Dense(16, "leaky_relu"),
            keras.layers.Dense(1, dtype="float32"),
        ]
    )


def unit_images():
    return images()[0].astype("float32") / 255


def both(make, *arguments):
    """An optimizer for each side."""
    return {name: make(*arguments) for name in ("generator", "discriminator")}


CASES = {
    "ContextEncoder": Case(
        make=lambda: trainers.ContextEncoder(
            flat_encoder(), decoder(), discriminator(), SIDE, random=True, overlap=2, seed=0
        ),
        x=unit_images,
        decreasing_loss="reconstruction",
        decrease=0.1,
        epochs=20,
        optimizer=lambda: {
            "generator": keras.optimizers.Adam(3e-3),
            "discriminator": keras.optimizers.Adam(1e-3),
        },
        sgd=lambda: both(keras.optimizers.SGD, 0.05),
        bad_data=(
            *BAD_SINGLE_VIEW,
            (zeros(64, 28, 28), "batch, height, width, channels"),
            (zeros(64, 28, SIDE, 1), "`block_size` must be smaller than the images.*28x12"),
            (zeros(64, 28, 28, 1) + 2, "`decoder` ends in the activation sigmoid"),
        ),
    ),
}


def make(**arguments):
    keras.utils.set_random_seed(2)
    trainer = trainers.ContextEncoder(encoder(), decoder(), discriminator(), SIDE, **arguments)
    trainer.compile(both(keras.optimizers.SGD, 0.05))
    return trainer


def holes(x, places, overlap=0):
    """Images with holes, and the hidden blocks, in NumPy."""
    with_hole, blocks = x.astype("float64"), []
    for one, (row, column) in zip(with_hole, places, strict=True):
        blocks.append(one[row : row + SIDE, column : column + SIDE].copy())
        hidden = np.zeros(one.shape[:2], bool)
        inner = slice(row + overlap, row + SIDE - overlap)
        hidden[inner, column + overlap : column + SIDE - overlap] = True
        one[hidden] = one[~hidden].mean(axis=0)
    return with_hole, np.array(blocks)


def softplus(x):
    return np.log1p(np.exp(x))


@pytest.mark.parametrize("overlap", [0, 3])
def test_losses_are_those_of_the_paper(overlap):
    x = unit_images()[:8]
    trainer = make(overlap=overlap, reconstruction_weight=0.9, adversary_weight=0.2)
    logs = trainer.evaluate(x, batch_size=8, verbose=0, return_dict=True)
    with_hole, blocks = holes(x, [(8, 8)] * 8, overlap)
    features = trainer.encoder(with_hole.astype("float32"))
    painted = np.asarray(trainer.decoder(features), "float64")
    weights = np.full((SIDE, SIDE, 1), 10.0)
    weights[overlap : SIDE - overlap, overlap : SIDE - overlap] = 1
    error = (weights * (painted - blocks) ** 2).mean()
    real, fake = (
        np.asarray(trainer.discriminator(one.astype("float32")), "float64")
        for one in (blocks, painted)
    )
    assert logs["reconstruction"] == pytest.approx(error, rel=1e-4)
    assert logs["adversary"] == pytest.approx(softplus(-fake).mean(), rel=1e-4)
    judged = (softplus(-real) + softplus(fake)).mean()
    assert logs["discriminator"] == pytest.approx(judged, rel=1e-4)
    total = 0.9 * error + 0.2 * softplus(-fake).mean() + judged
    assert logs["loss"] == pytest.approx(total, rel=1e-4)


def test_each_step_moves_its_own_networks():
    trainer = make()
    trainer.build((None, 28, 28, 1))
    parts = {name: getattr(trainer, name) for name in ("encoder", "decoder", "discriminator")}
    for still, moving in (
        ("generator", ["discriminator"]),
        ("discriminator", ["encoder", "decoder"]),
    ):
        trainer.compile({**both(keras.optimizers.SGD, 0.1), still: keras.optimizers.SGD(0.0)})
        before = {name: [w.copy() for w in part.get_weights()] for name, part in parts.items()}
        trainer.train_on_batch(unit_images()[:8])
        for name, part in parts.items():
            pairs = zip(before[name], part.get_weights(), strict=True)
            moved = any((one != other).any() for one, other in pairs)
            assert moved == (name in moving)


def test_random_blocks_lie_everywhere():
    rows, columns = np.meshgrid(np.arange(28), np.arange(26), indexing="ij")
    x = np.repeat(np.stack([rows, columns], -1)[None], 1000, axis=0).astype("float32")
    trainer = trainers.ContextEncoder(
        keras.layers.Flatten(), decoder(2), discriminator(2), SIDE, random=True, seed=1
    )
    found_rows, found_columns = map(np.asarray, trainer._places(x))
    assert set(found_rows) == set(range(17)) and set(found_columns) == set(range(15))
    places = list(zip(found_rows, found_columns, strict=True))
    with_hole, _ = holes(x[:20], places[:20])
    found = trainer._with_hole(x[:20], found_rows[:20], found_columns[:20])
    np.testing.assert_allclose(found, with_hole, rtol=1e-5)


def test_inpaint_fills_the_hole_alone():
    trainer, x = make(overlap=2), unit_images()[:4]
    with_hole, filled = map(np.array, trainer.inpaint(x))
    expected, _ = holes(x, [(8, 8)] * 4, overlap=2)
    np.testing.assert_allclose(with_hole, expected, atol=1e-6)
    block = np.asarray(trainer.decoder(trainer.encoder(with_hole)))
    hole = (slice(None), slice(10, 18), slice(10, 18))
    np.testing.assert_allclose(filled[hole], block[:, 2:-2, 2:-2], atol=1e-6)
    filled[hole] = x[hole]
    np.testing.assert_array_equal(filled, x)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"block_size": 0}, ValueError, "`block_size`"),
        ({"overlap": 6}, ValueError, "`overlap` must leave a hole.*overlap=6"),
        ({"overlap": 0.5}, TypeError, "`overlap`"),
        ({"loss": "hinge"}, TypeError, r"`loss` must be a `keras_ssl\.losses\.GANLoss`"),
        ({"loss": losses.NTXent()}, TypeError, "`loss`"),
        ({"adversary_weight": -1}, ValueError, "`adversary_weight`"),
        ({"reconstruction_weight": -1}, ValueError, "`reconstruction_weight`"),
        ({"encoder": None}, TypeError, "`encoder`"),
        ({"decoder": None}, TypeError, "`decoder`"),
        ({"discriminator": None}, TypeError, "`discriminator`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    given = {
        "encoder": encoder(),
        "decoder": decoder(),
        "discriminator": discriminator(),
        "block_size": SIDE,
    }
    with pytest.raises(error, match=message):
        trainers.ContextEncoder(**{**given, **arguments})


def test_networks_that_do_not_fit_are_rejected_before_the_first_step():
    trainer = make()
    trainer.block_size = (10, 12)
    with pytest.raises(ValueError, match=r"`decoder` must return blocks.*10, 12, 1.*12, 12, 1"):
        trainer.fit(unit_images()[:8], verbose=0)
    trainer = trainers.ContextEncoder(keras.layers.Conv2D(4, 3), decoder(), discriminator(), SIDE)
    trainer.compile(both(keras.optimizers.SGD, 0.05))
    with pytest.raises(ValueError, match="must return features of shape"):
        trainer.fit(unit_images()[:8], verbose=0)
