"""PMSN: its loss."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.losses import view_formulas
from tests.trainers.case import Case
from tests.trainers.distillation.test_msn import views
from tests.trainers.small import batch_norm_head, encoder


def small_pmsn() -> trainers.PMSN:
    whole = augment.simclr_pipeline(28, scale=(0.6, 1.0))
    masked = [augment.simclr_pipeline(28, scale=(0.6, 1.0)), augment.RandomPatchMask(7, 0.15)]
    return trainers.PMSN(
        encoder(size=None),
        batch_norm_head(),
        layers.Prototypes(16),
        augment.AsymmetricViews([whole, masked], seed=0),
        momentum=0.9,
    )


CASES = {
    "PMSN": Case(
        make=small_pmsn,
        decreasing_loss="loss",
        decrease=0.8,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        sgd=lambda: keras.optimizers.SGD(0.005),  # a temperature of 1/40 amplifies rounding errors
        normalized=True,
    ),
}


def test_loss_matches_the_paper():
    keras.utils.set_random_seed(5)
    trainer = trainers.PMSN(
        encoder(size=None),
        layers.ProjectionHead((16, 8), normalization=False),
        layers.Prototypes(12),
        loss=losses.PMSNLoss(regularization_weight=2.0, exponent=0.7),
    )
    trainer.compile("sgd")
    logs = trainer.evaluate(views(), batch_size=16, verbose=0, return_dict=True)
    target, *anchors = (
        np.asarray(trainer.prototypes(trainer.projector(trainer.encoder(x)))) for x in views()
    )
    expected = view_formulas.pmsn(target, anchors, weight=2.0, exponent=0.7).mean()
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_defaults_are_those_of_msn_but_for_the_loss():
    ours, msn = trainers.PMSN(encoder()), trainers.MSN(encoder())
    assert ours.projector.widths == msn.projector.widths
    assert isinstance(ours.loss_function, losses.PMSNLoss)
    assert ours.loss_function.exponent == 0.25
