"""NNCLR: its loss with neighbours from the queue, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, trainers
from tests.trainers.case import Case
from tests.trainers.small import batch_norm_head, encoder, images


def small_nnclr() -> trainers.NNCLR:
    return trainers.NNCLR(
        encoder(),
        projector=batch_norm_head(),
        predictor=layers.PredictionHead(32, normalization=False),
        augment=augment.SimCLRViews(28, scale=(0.3, 1.0), seed=0),
        queue=layers.FeatureQueue(64, seed=0),
    )


CASES = {
    "NNCLR": Case(
        make=small_nnclr,
        decreasing_loss="loss",
        decrease=0.48,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        # Batch norm amplifies rounding errors, which could change a nearest neighbour. With these
        # seeds and this rate, the two nearest differ in similarity by at least 1e-4.
        sgd=lambda: keras.optimizers.SGD(0.005),
        normalized=True,
    ),
}


def pairs(count=16):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def nnclr(queue_size=32, **arguments):
    keras.utils.set_random_seed(4)
    arguments = {
        "projector": layers.ProjectionHead((16, 8), normalization=False),
        "predictor": layers.PredictionHead(16, normalization=False),
        "queue": layers.FeatureQueue(queue_size, seed=0),
        **arguments,
    }
    trainer = trainers.NNCLR(encoder(), **arguments)
    trainer.compile(keras.optimizers.SGD(0.5))
    return trainer


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def nnclr_float64(z1, z2, p1, p2, queue, temperature=0.1):
    """Return the loss of the paper, one neighbour at a time."""
    total = 0.0
    for z, p in ((z1, p2), (z2, p1)):
        for i in range(len(z)):
            distances = ((queue - z[i]) ** 2).sum(axis=1)
            similarity = np.exp(p @ queue[distances.argmin()] / temperature)
            total -= np.log(similarity[i] / similarity.sum())
    return total / (2 * len(z1))


@pytest.mark.few(1)
@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_step_matches_the_paper_and_updates_the_queue(micro_batch_size):
    trainer = nnclr()
    trainer.compile(keras.optimizers.SGD(0.5), micro_batch_size=micro_batch_size)
    logs = trainer.evaluate(pairs(), batch_size=16, verbose=0, return_dict=True)
    queue = normalized(trainer.queue.features)
    z = [trainer.projector(trainer.encoder(x)) for x in pairs()]
    p = [normalized(trainer.predictor(one)) for one in z]
    z = [normalized(one) for one in z]
    expected = nnclr_float64(*z, *p, queue)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(normalized(trainer.queue.features), queue)  # validation only

    logs = trainer.train_on_batch(pairs(), return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    after = np.asarray(trainer.queue.features)
    np.testing.assert_allclose(after[:16], z[0], atol=1e-5)
    np.testing.assert_array_equal(normalized(after[16:]), queue[16:])


def test_no_gradient_flows_through_neighbours():
    """With a predictor whose output does not depend on its input, the encoder stays the same."""
    trainer = nnclr(predictor=layers.PredictionHead(16, normalization=False))
    trainer.evaluate(pairs(), batch_size=16, verbose=0)
    for weight in trainer.predictor.weights:
        if "kernel" in weight.path:
            weight.assign(np.zeros(weight.shape))
    before = [np.asarray(w) for w in trainer.encoder.weights]
    trainer.train_on_batch(pairs())
    for weight, old in zip(trainer.encoder.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_defaults_match_the_paper():
    trainer = trainers.NNCLR(encoder())
    assert trainer.projector.widths == (2048, 2048, 256)
    assert trainer.projector.last_normalization is not None
    assert trainer.predictor.width == 4096
    assert trainer.loss_function.temperature == 0.1
    assert trainer.queue.size == 98304


@pytest.mark.parametrize("size", [8, 24])
def test_queue_size_must_be_a_multiple_of_the_batch(size):
    trainer = nnclr(queue_size=size)
    with pytest.raises(ValueError, match=f"multiple.*size={size} and a batch of 16"):
        trainer.fit(pairs(), batch_size=16, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_predictor_of_another_width_is_rejected():
    trainer = nnclr(predictor=layers.ProjectionHead((16, 4)))
    with pytest.raises(ValueError, match="`predictor` must return vectors as wide"):
        trainer.fit(pairs(), batch_size=16, verbose=0)


@pytest.mark.parametrize("part", ["encoder", "projector", "predictor", "augment", "loss", "queue"])
def test_parts_of_the_wrong_type_are_rejected(part):
    with pytest.raises(TypeError, match=part):
        trainers.NNCLR(**{"encoder": encoder(), part: "info_nce"})
