"""CPC and SequenceCPC: losses, directions, representation, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, evaluate, layers, losses, trainers
from tests.trainers.case import BAD_IMAGES, Case, zeros
from tests.trainers.small import encoder, images, scaled_images


def small_cpc() -> trainers.CPC:
    return trainers.CPC(
        encoder(size=None),
        augment=augment.PatchViews(12, 8, augment.ColorJitter(0.2, 0.2), seed=0),
        context=layers.MaskedContext(blocks=1, width=8),
        projector=keras.layers.Dense(8),
        steps=(1,),
        directions=("down", "left"),
    )


def small_sequence_cpc() -> trainers.SequenceCPC:
    return trainers.SequenceCPC(
        keras.Sequential(
            [
                keras.layers.Input((28, 28)),
                keras.layers.Conv1D(16, 4, strides=2, activation="relu"),
                keras.layers.Conv1D(16, 3, activation="relu"),
            ]
        ),
        context=keras.layers.GRU(8, return_sequences=True),
        steps=2,
    )


CASES = {
    "CPC": Case(
        make=small_cpc,
        decreasing_loss="loss",
        decrease=0.38,
        bad_data=(*BAD_IMAGES, (zeros(64, 10, 10, 1), "`size` must not be larger")),
    ),
    "SequenceCPC": Case(
        make=small_sequence_cpc,
        x=lambda: scaled_images().reshape(256, 28, 28),
        decreasing_loss="step_1",
        decrease=0.75,
        bad_data=(
            (zeros(64, 28), "incompatible shape"),
            (zeros(64, 28, 3), "axis -1 of input shape to have value 28|incompatible shape"),
            (zeros(0, 28, 28), "no data"),
        ),
    ),
}


def photos(count=8):
    return images()[0][:count]


def rows(count=64):
    """Return images as sequences of their rows."""
    return scaled_images()[:count].reshape(count, 28, 28)


def cpc(**arguments):
    keras.utils.set_random_seed(4)
    defaults = {
        "augment": augment.PatchViews(12, 4),
        "context": layers.MaskedContext(blocks=1, width=8),
        "steps": (1, 3),
    }
    trainer = trainers.CPC(encoder(size=None), **{**defaults, **arguments})
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


def sequence_cpc(**arguments):
    keras.utils.set_random_seed(4)
    convolutions = keras.Sequential(
        [
            keras.layers.Input((28, 28)),
            keras.layers.Conv1D(16, 4, strides=2, activation="relu"),
            keras.layers.Conv1D(8, 3, activation="relu"),
        ]
    )
    context = keras.layers.GRU(16, return_sequences=True)
    defaults = {"context": context, "steps": (1, 2)}
    trainer = trainers.SequenceCPC(convolutions, **{**defaults, **arguments})
    trainer.compile(keras.optimizers.Adam(3e-3))
    return trainer


def float64(x):
    return np.asarray(keras.ops.convert_to_numpy(x), "float64")


def info_nce(context, target, weight, step, temperature=1.0):
    """The loss of the papers, one context of `(batch, positions, ..., width)` at a time."""
    candidates = target.reshape(-1, target.shape[-1])
    values = []
    for index in np.ndindex(*context.shape[:-1]):
        example, position, *column = index
        if position + step < context.shape[1]:
            prediction = context[index] @ weight / temperature
            right = target[(example, position + step, *column)]
            values.append(np.log(np.exp(candidates @ prediction).sum()) - right @ prediction)
    return np.mean(values)


def patches_of(x, size=12, stride=4):
    starts = range(0, 28 - size + 1, stride)
    return np.array([[x[:, i : i + size, j : j + size] for j in starts] for i in starts])


def features_of(trainer, x):
    """Return the features of all patches, encoded one position of the grid at a time."""
    z = [[float64(trainer.encoder(patch)) for patch in row] for row in patches_of(x)]
    return np.moveaxis(np.array(z), 2, 0)


def test_loss_matches_the_paper_on_grids():
    trainer = cpc()
    logs = trainer.evaluate(photos(), batch_size=8, verbose=0, return_dict=True)
    z = features_of(trainer, photos().astype("float32"))
    assert z.shape == (8, 5, 5, 16)
    c = float64(trainer.contexts[0](z))
    for step, weight in zip((1, 3), trainer.predictors[0].trainable_weights, strict=True):
        expected = info_nce(c, z, float64(weight), step)
        assert logs[f"step_{step}"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["step_1"] + logs["step_3"], rel=1e-5)


def test_version_2_predicts_projections_in_four_directions():
    """Reading in a direction equals reading the rotated image from top to bottom."""
    directions = ("down", "up", "right", "left")
    trainer = cpc(
        projector=keras.layers.Dense(6),
        loss=losses.CPCLoss(temperature=10),
        steps=(2,),
        directions=directions,
    )
    logs = trainer.evaluate(photos(), batch_size=8, verbose=0, return_dict=True)
    z = features_of(trainer, photos().astype("float32"))
    w, b = (float64(one) for one in trainer.projector.trainable_weights)
    turned = {
        "down": z,
        "up": z[:, ::-1],
        "right": np.swapaxes(z, 1, 2),
        "left": np.swapaxes(z[:, :, ::-1], 1, 2),
    }
    expected = []
    for number, direction in enumerate(directions):
        one = turned[direction]
        c = float64(trainer.contexts[number](one))
        (weight,) = trainer.predictors[number].trainable_weights
        expected.append(info_nce(c, one @ w + b, float64(weight), 2, temperature=10))
    assert np.std(expected) > 1e-4  # each direction has its own context network
    assert logs["loss"] == pytest.approx(np.mean(expected), rel=1e-4)


def test_loss_matches_the_paper_on_sequences():
    trainer = sequence_cpc(directions=("forward", "backward"))
    logs = trainer.evaluate(rows(8), batch_size=8, verbose=0, return_dict=True)
    z = float64(trainer.encoder(rows(8)))
    assert z.shape == (8, 11, 8)
    for number, step in enumerate((1, 2)):
        values = []
        for which, turned in enumerate((z, z[:, ::-1])):
            c = float64(trainer.contexts[which](turned))
            weight = float64(trainer.predictors[which].trainable_weights[number])
            values.append(info_nce(c, turned, weight, step))
        assert logs[f"step_{step}"] == pytest.approx(np.mean(values), rel=1e-4)


@pytest.mark.few(1)
@pytest.mark.parametrize("chunk_size", [None, 50])
def test_negatives_come_from_both_replicas(two_replicas, chunk_size):
    one = cpc(loss=losses.CPCLoss(chunk_size=chunk_size))
    with two_replicas.scope():
        two = cpc(loss=losses.CPCLoss(chunk_size=chunk_size))
    results = [t.evaluate(photos(), batch_size=8, verbose=0, return_dict=True) for t in (one, two)]
    assert results[0]["step_1"] == pytest.approx(results[1]["step_1"], rel=1e-5)
    # with half the negatives, the loss is about log 2 lower
    half = one.evaluate(photos(4), batch_size=4, verbose=0, return_dict=True)
    assert results[0]["step_1"] - half["step_1"] > 0.3


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    whole, parts = cpc(directions=("down", "left")), cpc(directions=("down", "left"))
    parts.compile(keras.optimizers.SGD(0.05), micro_batch_size=4)
    for trainer in (whole, parts):
        trainer.fit(photos(), batch_size=8, verbose=0)
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_representation_is_the_mean_over_positions():
    trainer = cpc(augment=augment.PatchViews(12, 4, augment.ColorJitter(0.8)))
    features = trainer.predict(photos(), verbose=0)
    z = features_of(trainer, photos().astype("float32"))
    np.testing.assert_allclose(features, z.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    sequences = sequence_cpc()
    z = float64(sequences.encoder(rows(8)))
    np.testing.assert_allclose(sequences(rows(8)), z.mean(axis=1), rtol=1e-5, atol=1e-6)


def test_trainer_can_be_evaluated_as_an_encoder():
    trainer, (x, y) = cpc(), images()
    accuracy = evaluate.knn_accuracy(trainer, (x[:128], y[:128]), (x[128:], y[128:]))
    assert 0 < accuracy < 1


def test_data_may_hold_patches():
    trainer = cpc()
    whole = trainer.evaluate(photos(), batch_size=8, verbose=0, return_dict=True)
    ready = cpc(augment=None)
    patches = np.moveaxis(patches_of(photos()), 2, 0)
    assert patches.dtype == "uint8"
    logs = ready.evaluate(patches, batch_size=8, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    np.testing.assert_allclose(ready(patches), trainer(photos()), rtol=1e-5)


def test_encoder_is_built_for_patches(tmp_path):
    layer = [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    trainer = trainers.CPC(
        keras.Sequential(layer), augment.PatchViews(12, 8), layers.MaskedContext(1, 4), steps=1
    )
    features = trainer(photos())
    assert features.shape == (8, 4)
    trainer.compile("sgd")
    trainer.fit(photos(), batch_size=8, verbose=0)
    trainer.save(tmp_path / "cpc.keras")
    loaded = keras.saving.load_model(tmp_path / "cpc.keras")
    np.testing.assert_allclose(loaded(photos()), trainer(photos()), rtol=1e-5)


def test_sequence_cpc_learns():
    """The target is at least twice as probable as by chance among 64 sequences of 11 features."""
    trainer = sequence_cpc()
    history = trainer.fit(rows(), batch_size=64, epochs=60, verbose=0).history["step_1"]
    chance = np.log(64 * 11)
    assert history[0] == pytest.approx(chance, rel=0.1)
    assert history[-1] < chance - np.log(2)


def test_defaults_are_version_1():
    trainer = trainers.CPC(encoder(size=None))
    assert trainer.steps == (1, 2, 3, 4, 5) and trainer.directions == ("down",)
    assert trainer.loss_function.temperature == 1.0
    assert trainers.SequenceCPC(encoder()).contexts[0].units == 256


def test_too_few_positions_are_rejected_before_the_first_step():
    trainer = cpc(steps=5)
    with pytest.raises(ValueError, match=r"`steps` must be below.*steps=\(1, 2, 3, 4, 5\).*5 pos"):
        trainer.fit(photos(), batch_size=8, verbose=0)
    assert int(trainer.optimizer.iterations) == 0
    wide = augment.PatchViews(12, (8, 4))  # three rows of five columns
    cpc(augment=wide, directions=("right",)).fit(photos(), batch_size=8, verbose=0)
    with pytest.raises(ValueError, match="and 3 positions"):
        cpc(augment=wide).fit(photos(), batch_size=8, verbose=0)
    with pytest.raises(ValueError, match="and 11 positions"):
        sequence_cpc(steps=11).fit(rows(), verbose=0)


def test_incompatible_parts_are_rejected_before_the_first_step():
    with pytest.raises(ValueError, match="`size` must not be larger than the images"):
        cpc(augment=augment.PatchViews(29)).fit(photos(), verbose=0)
    with pytest.raises(ValueError, match=r"grids of patches.*Received: shape"):
        cpc(augment=augment.ColorJitter(0.4)).fit(photos(), verbose=0)
    with pytest.raises(ValueError, match=r"grids of patches.*Received: a tuple"):
        cpc(augment=augment.SimCLRViews(28)).fit(photos(), verbose=0)
    with pytest.raises(ValueError, match="return_sequences=True"):
        sequence_cpc(context=keras.layers.GRU(4)).fit(rows(), verbose=0)
    flat = keras.Sequential([keras.layers.Input((28, 28)), keras.layers.Flatten()])
    trainer = trainers.SequenceCPC(flat)
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=r"\(batch, steps, features\).*Received: shape"):
        trainer.fit(rows(), verbose=0)


@pytest.mark.parametrize("directions", [(), "down", ("down", "down"), ("forward",), None])
def test_invalid_directions_are_rejected(directions):
    with pytest.raises(ValueError, match=r"`directions` must be.*'down'.*Received"):
        cpc(directions=directions)


@pytest.mark.parametrize(("steps", "error"), [(0, ValueError), ((), ValueError), (1.5, TypeError)])
def test_invalid_steps_are_rejected(steps, error):
    with pytest.raises(error, match="`steps` must be"):
        cpc(steps=steps)


@pytest.mark.parametrize("part", ["encoder", "augment", "context", "projector", "loss"])
@pytest.mark.parametrize("method", [trainers.CPC, trainers.SequenceCPC])
def test_parts_of_the_wrong_type_are_rejected(method, part):
    with pytest.raises(TypeError, match=part):
        method(**{"encoder": encoder(), part: "cnn"})
