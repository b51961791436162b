"""Barlow Twins and VICReg: losses, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.trainers.case import Case
from tests.trainers.small import encoder, images

CASES = {
    "BarlowTwins": Case(
        make=lambda: trainers.BarlowTwins(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
        ),
        decreasing_loss="loss",
        decrease=0.18,
        sgd=lambda: keras.optimizers.SGD(0.005),  # a sum over features
    ),
    "VICReg": Case(
        make=lambda: trainers.VICReg(
            encoder(),
            layers.ProjectionHead((32, 16), normalization=False),
            augment.SimCLRViews(28, seed=0),
        ),
        decreasing_loss="variance",
        decrease=4.2,
        sgd=lambda: keras.optimizers.SGD(0.005),  # for weights of 25
    ),
}


METHODS = [trainers.BarlowTwins, trainers.VICReg]


def pairs(count=32):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1]


def make(method, **arguments):
    keras.utils.set_random_seed(3)
    parts = {"projector": layers.ProjectionHead((16, 8), normalization=False), **arguments}
    trainer = method(encoder(), **parts)
    trainer.compile(keras.optimizers.SGD(0.001))
    return trainer


def evaluated(trainer):
    logs = trainer.evaluate(pairs(), batch_size=32, verbose=0, return_dict=True)
    z = [np.asarray(trainer.projector(trainer.encoder(x)), "float64") for x in pairs()]
    return logs, z


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)]


def test_barlow_twins_matches_the_paper():
    # unnormalised projections, whose variance is large compared with the epsilon of normalisation
    logs, z = evaluated(make(trainers.BarlowTwins, projector=keras.layers.Dense(8)))
    z = [(one - one.mean(axis=0)) / np.sqrt(one.var(axis=0) + 1e-5) for one in z]
    c = z[0].T @ z[1] / 32
    expected = np.square(1 - np.diag(c)).sum() + 0.005 * np.square(off_diagonal(c)).sum()
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_vicreg_matches_the_paper_and_reports_its_terms():
    logs, z = evaluated(make(trainers.VICReg))
    hinges = [np.maximum(0, 1 - np.sqrt(one.var(axis=0, ddof=1) + 1e-4)).mean() for one in z]
    squares = [np.square(off_diagonal(np.cov(one.T))).sum() / 8 for one in z]
    expected = {
        "invariance": 25 * np.square(z[0] - z[1]).mean(),
        "variance": 25 * np.mean(hinges),
        "covariance": sum(squares),
    }
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-4)
    assert logs["loss"] == pytest.approx(sum(expected.values()), rel=1e-4)


def test_vicreg_accepts_another_loss():
    logs, _ = evaluated(make(trainers.VICReg, loss=losses.BarlowTwinsLoss()))
    assert set(logs) == {"loss"}


def test_vicreg_accepts_other_weights_of_terms():
    loss = losses.VICRegLoss(invariance_weight=1.0, variance_weight=1.0, covariance_weight=0.04)
    logs = {
        name: evaluated(make(trainers.VICReg, loss=one))[0]
        for name, one in (("default", None), ("small", loss))
    }
    for name in ("invariance", "variance", "covariance"):
        assert logs["default"][name] == pytest.approx(25 * logs["small"][name], rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_defaults_match_the_paper(method):
    trainer = method(encoder())
    assert trainer.projector.widths == (8192, 8192, 8192) and trainer.projector.use_bias is False


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss"])
def test_parts_of_the_wrong_type_are_rejected(method, part):
    with pytest.raises(TypeError, match=part):
        method(**{"encoder": encoder(), part: "mlp"})


@pytest.mark.parametrize("method", METHODS)
def test_batch_of_one_and_single_view_are_rejected(method):
    with pytest.raises(ValueError, match="33 examples and batch_size=32"):
        make(method).fit(pairs(33), batch_size=32, verbose=0)
    with pytest.raises(ValueError, match="tuple of 2 views"):
        make(method).fit(pairs()[0], verbose=0)
