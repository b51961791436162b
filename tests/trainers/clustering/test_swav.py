"""SwAV: its loss, queue, frozen prototypes, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.case import Case
from tests.trainers.small import encoder, images


def small_swav() -> trainers.SwAV:
    return trainers.SwAV(
        encoder(size=None),
        layers.ProjectionHead((32, 16), normalization=False, last_normalization=True),
        layers.Prototypes(8, kernel_constraint="unit_norm"),
        augment.MultiCropViews(28, 14, local_count=2, seed=0),
        queue=layers.FeatureQueue(64, seed=0),
        freeze_steps=2,
        queue_from_step=3,
    )


CASES = {
    "SwAV": Case(
        make=small_swav,
        decreasing_loss="loss",
        decrease=0.25,
        sgd=lambda: keras.optimizers.SGD(0.005),  # codes amplify rounding errors 20 times
        normalized=True,
    ),
}


def crops(count=16):
    """Two global views and one local one."""
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1], x[:, 8:22, 8:22]


def swav(constraint=None, queue_size=None, **arguments):
    keras.utils.set_random_seed(4)
    arguments = {
        "projector": layers.ProjectionHead((16, 4), normalization=False),
        "prototypes": layers.Prototypes(5, kernel_constraint=constraint),
        **arguments,
    }
    if queue_size is not None:
        arguments["queue"] = layers.FeatureQueue(queue_size, seed=0)
    trainer = trainers.SwAV(encoder(size=None), **arguments)
    trainer.compile(keras.optimizers.SGD(0.5))
    trainer.evaluate(crops(), batch_size=16, verbose=0)  # builds
    return trainer


def directions(x, axis=-1):
    x = np.asarray(x, "float64")
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def embeddings(trainer, views):
    return np.stack([directions(trainer.projector(trainer.encoder(view))) for view in views])


def codes_float64(scores, queue=None, epsilon=0.05):
    """Return the codes of algorithm 1: three times normalise columns, then rows."""
    q = np.exp((scores if queue is None else np.concatenate([scores, queue])) / epsilon)
    for _ in range(3):
        q = q / q.sum(axis=0)
        q = q / q.sum(axis=1, keepdims=True)
    return q[: len(scores)]


def swapped_float64(scores, codes, temperature=0.1):
    """Return the loss of equation 2, one pair of a code and another view at a time."""
    total, pairs = 0.0, 0
    for g, q in enumerate(codes):
        for v, s in enumerate(scores):
            if v != g:
                p = np.exp(s / temperature)
                p /= p.sum(axis=1, keepdims=True)
                total -= (q * np.log(p)).sum(axis=1).mean()
                pairs += 1
    return total / pairs


def expected_loss(z, prototypes, queue=None):
    """Return the loss from embeddings, prototypes as columns, and the queue."""
    scores = z @ prototypes
    of_queue = (
        [None] * 2
        if queue is None
        else [directions(half) @ prototypes for half in np.split(queue, 2, axis=1)]
    )
    codes = [codes_float64(s, q) for s, q in zip(scores, of_queue, strict=False)]
    return swapped_float64(scores, codes)


def prototypes_of(trainer):
    return directions(trainer.prototypes.kernel, axis=0)


@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_loss_and_step_of_prototypes_match_the_paper(micro_batch_size):
    trainer = swav()
    trainer.compile(keras.optimizers.SGD(0.5), micro_batch_size=micro_batch_size)
    z, kernel = embeddings(trainer, crops()), np.asarray(trainer.prototypes.kernel, "float64")
    loss = trainer.train_on_batch(crops(), return_dict=True)["loss"]
    assert loss == pytest.approx(expected_loss(z, directions(kernel, axis=0)), rel=1e-5)

    codes = [codes_float64(view @ directions(kernel, axis=0)) for view in z[:2]]
    slope = np.zeros_like(kernel)
    for place in np.ndindex(kernel.shape):
        ends = []
        for sign in (1, -1):
            moved = kernel.copy()
            moved[place] += sign * 1e-6
            ends.append(swapped_float64(z @ directions(moved, axis=0), codes))
        slope[place] = (ends[0] - ends[1]) / 2e-6
    step = np.asarray(trainer.prototypes.kernel, "float64") - kernel
    assert np.abs(step).max() > 0.01
    np.testing.assert_allclose(step, -0.5 * slope, rtol=1e-3, atol=1e-4)


def test_queue_changes_the_codes_and_stores_the_global_views():
    trainer = swav(queue_size=32)
    queue = np.asarray(trainer.queue.features, "float64")
    assert queue.shape == (32, 8)
    z, prototypes = embeddings(trainer, crops()), prototypes_of(trainer)
    logs = trainer.train_on_batch(crops(), return_dict=True)
    expected = expected_loss(z, prototypes, queue)
    assert abs(expected - expected_loss(z, prototypes)) > 1e-3
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    after = np.asarray(trainer.queue.features)
    np.testing.assert_allclose(after[:16], np.concatenate(list(z[:2]), axis=1), atol=1e-5)
    np.testing.assert_array_equal(after[16:], queue[16:].astype("float32"))


def test_queue_is_filled_but_unused_before_its_step():
    trainer = swav(queue_size=32, queue_from_step=2)
    for step in range(3):
        z, prototypes = embeddings(trainer, crops()), prototypes_of(trainer)
        queue = np.asarray(trainer.queue.features, "float64") if step == 2 else None
        logs = trainer.train_on_batch(crops(), return_dict=True)
        expected = expected_loss(z, prototypes, queue)
        assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    assert abs(expected - expected_loss(z, prototypes)) > 1e-3


def test_prototypes_are_frozen_for_freeze_steps():
    trainer = swav("unit_norm", freeze_steps=2)
    moved = []
    for _ in range(3):
        before = prototypes_of(trainer), np.asarray(trainer.encoder.weights[0])
        trainer.train_on_batch(crops())
        moved.append(np.abs(prototypes_of(trainer) - before[0]).max())
        assert np.any(np.asarray(trainer.encoder.weights[0]) != before[1])
        lengths = np.linalg.norm(np.asarray(trainer.prototypes.kernel), axis=0)
        np.testing.assert_allclose(lengths, 1, atol=1e-5)
    assert max(moved[:2]) < 1e-6 and moved[2] > 1e-3


def test_defaults_match_the_paper():
    trainer = trainers.SwAV(encoder())
    assert trainer.projector.widths == (2048, 128)
    assert trainer.prototypes.count == 3000
    assert isinstance(trainer.prototypes.kernel_constraint, keras.constraints.UnitNorm)
    loss = trainer.loss_function
    assert (loss.temperature, loss.epsilon, loss.iterations) == (0.1, 0.05, 3)
    assert trainer.queue is None


@pytest.mark.parametrize("size", [8, 24])
def test_queue_size_must_be_a_multiple_of_the_batch(size):
    trainer = trainers.SwAV(encoder(size=None), queue=layers.FeatureQueue(size))
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=f"multiple.*size={size} and a batch of 16"):
        trainer.fit(crops(), batch_size=16, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (crops()[:1], "at least 2 views"),
        (crops()[::-1], "2 global views of one shape"),
        ((*[crops()[2]] * 2, crops()[0]), "no larger than the 2 global"),
        (crops(1), "fewer than 2 examples"),
    ],
)
def test_invalid_views_are_rejected(views, message):
    trainer = trainers.SwAV(encoder(size=None))
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=message):
        trainer.fit(views, batch_size=16, verbose=0)


def test_encoder_of_one_size_and_prototypes_of_another_width_are_rejected():
    trainer = trainers.SwAV(encoder())
    trainer.compile("sgd")
    with pytest.raises(ValueError, match="`encoder` must take views of all sizes"):
        trainer.fit(crops(), batch_size=16, verbose=0)
    prototypes = layers.Prototypes(5)
    prototypes.build((None, 3))
    with pytest.raises(ValueError, match="to have value 3, but received input with shape"):
        swav(prototypes=prototypes)


@pytest.mark.parametrize("part", ["encoder", "projector", "prototypes", "augment", "loss", "queue"])
def test_parts_of_the_wrong_type_are_rejected(part):
    with pytest.raises(TypeError, match=part):
        trainers.SwAV(**{"encoder": encoder(), part: "swav"})


@pytest.mark.parametrize("name", ["freeze_steps", "queue_from_step"])
def test_invalid_numbers_of_steps_are_rejected(name):
    with pytest.raises(ValueError, match=f"{name}.*-1"):
        trainers.SwAV(encoder(), **{name: -1})
    for bad in (1.5, True):
        with pytest.raises(TypeError, match=f"{name}.*{bad}"):
            trainers.SwAV(encoder(), **{name: bad})


def test_another_loss_is_used():
    trainer = swav(loss=losses.SwAVLoss(temperature=1.0))
    softer = trainer.evaluate(crops(), batch_size=16, verbose=0, return_dict=True)
    sharper = swav().evaluate(crops(), batch_size=16, verbose=0, return_dict=True)
    assert abs(softer["loss"] - sharper["loss"]) > 0.01
