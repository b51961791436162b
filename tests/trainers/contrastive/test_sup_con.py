"""SupCon: its loss, the effect of labels, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.losses import formulas
from tests.trainers.case import Case
from tests.trainers.small import encoder, images

CASES = {
    "SupCon": Case(
        make=lambda: trainers.SupCon(
            encoder(),
            projector=layers.ProjectionHead((32, 16), normalization=False),
            augment=augment.SimCLRViews(28, scale=(0.6, 1.0), strength=0.3, seed=0),
            loss=losses.SupConLoss(temperature=0.2),
        ),
        decreasing_loss="loss",
        decrease=0.42,
        epochs=20,
        labelled=True,
        represents="labels",
    ),
}


def pairs(count=32):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def make(method=trainers.SupCon, **arguments):
    keras.utils.set_random_seed(3)
    trainer = method(encoder(), layers.ProjectionHead((16, 8), normalization=False), **arguments)
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


@pytest.mark.parametrize("column", [False, True])
def test_loss_matches_the_paper(column):
    trainer = make()
    y = images()[1][:32]
    assert len(set(y)) < 32
    logs = trainer.evaluate(
        pairs(), y[:, None] if column else y, batch_size=32, verbose=0, return_dict=True
    )
    z = np.stack([np.asarray(trainer.projector(trainer.encoder(x))) for x in pairs()], axis=1)
    assert logs["loss"] == pytest.approx(formulas.sup_con(y, z, 0.1).mean(), rel=1e-5)


@pytest.mark.parametrize("labels", [np.arange(32), np.full((32, 1), -1)], ids=["all", "none"])
def test_equals_simclr_if_no_class_occurs_twice(labels):
    supervised, plain = make(), make(trainers.SimCLR)
    supervised.fit(pairs(), labels, batch_size=16, shuffle=False, verbose=0)
    plain.fit(pairs(), batch_size=16, shuffle=False, verbose=0)
    for one, other in zip(plain.get_weights(), supervised.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-6)


def test_training_brings_classes_together():
    trainer = make(loss=losses.SupConLoss(temperature=0.2))
    trainer.compile(keras.optimizers.Adam(3e-3))
    x, y = images()[0].astype("float32"), images()[1]

    def gap():
        z = formulas.normalized(trainer.projector(trainer.encoder(x)))
        same = y[:, None] == y
        return (z @ z.T)[same].mean() - (z @ z.T)[~same].mean()

    before = gap()
    trainer.fit((x, x[:, :, ::-1]), y, batch_size=64, epochs=8, verbose=0)
    assert gap() > before + 0.2


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, ValueError, "learns from labels.*without `y`"),
        (np.zeros(32, "float32"), TypeError, "`labels` must be integer.*float32"),
        (np.eye(32, dtype="int32"), ValueError, "class of each example.*32, 32"),
    ],
)
def test_invalid_labels_are_rejected_before_the_first_step(y, error, message):
    trainer = make()
    with pytest.raises(error, match=message):
        trainer.fit(pairs(), y, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss"])
def test_parts_of_the_wrong_type_are_rejected(part):
    with pytest.raises(TypeError, match=part):
        trainers.SupCon(**{"encoder": encoder(), part: "mlp"})


def test_batch_of_one_and_single_view_are_rejected():
    with pytest.raises(ValueError, match="33 examples and batch_size=32"):
        make().fit(pairs(33), images()[1][:33], batch_size=32, verbose=0)
    with pytest.raises(ValueError, match="tuple of 2 views"):
        make().fit(pairs()[0], images()[1][:32], verbose=0)


@pytest.mark.parametrize("wrong", [-2, 10])
def test_labels_that_are_no_classes_are_rejected(wrong):
    trainer = make()
    trainer.compile("adam", probe=trainers.OnlineProbe(10))
    y = images()[1][:32].astype("int64")
    y[7] = wrong
    with pytest.raises(ValueError, match=f"-1 for an example without a label.*{wrong}"):
        trainer.fit(pairs(), y, batch_size=32, verbose=0)
