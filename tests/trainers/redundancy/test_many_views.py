"""FroSSL, W-MSE, LeJEPA and MMCR: losses of any number of views, what is drawn, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, trainers
from tests.losses import formulas
from tests.trainers.case import Case
from tests.trainers.small import batch_norm_head, encoder, images


def views(count=2):
    return augment.SimCLRViews(28, count=count, scale=(0.6, 1.0), strength=0.3, seed=0)


def small_lejepa() -> trainers.LeJEPA:
    crops = augment.MultiCropViews(28, 14, local_count=1, seed=0)
    return trainers.LeJEPA(encoder(size=None), batch_norm_head(), crops, directions=32, seed=0)


CASES = {
    "FroSSL": Case(
        make=lambda: trainers.FroSSL(
            encoder(), layers.ProjectionHead((32, 16), normalization=False), views(3)
        ),
        decreasing_loss="loss",
        decrease=0.9,
    ),
    "WMSE": Case(
        make=lambda: trainers.WMSE(
            encoder(),
            layers.ProjectionHead((32, 3), normalization=False),
            views(),
            losses.WMSELoss(sub_batch=16),
            seed=0,
        ),
        decreasing_loss="loss",
        decrease=0.12,
        sgd=lambda: keras.optimizers.SGD(0.001),  # whitening amplifies rounding errors
    ),
    "LeJEPA": Case(
        make=small_lejepa,
        decreasing_loss="loss",
        decrease=0.13,
        normalized=True,
    ),
    "MMCR": Case(
        make=lambda: trainers.MMCR(encoder(), batch_norm_head(), views(), momentum=0.9),
        decreasing_loss="loss",
        decrease=2.0,
        normalized=True,
        # rounding decides the gradient of singular values near 0
        sgd=lambda: keras.optimizers.SGD(0.001),
    ),
}

METHODS = [trainers.FroSSL, trainers.WMSE, trainers.LeJEPA, trainers.MMCR]


def triples(count=32):
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1], x[:, ::-1]


def make(method, **arguments):
    keras.utils.set_random_seed(3)
    parts = {"projector": layers.ProjectionHead((16, 5), normalization=False), **arguments}
    trainer = method(encoder(), **parts)
    trainer.compile(keras.optimizers.SGD(0.001))
    return trainer


def evaluated(trainer):
    logs = trainer.evaluate(triples(), batch_size=32, verbose=0, return_dict=True)
    return logs["loss"], [
        np.asarray(trainer.projector(trainer.encoder(x)), "float64") for x in triples()
    ]


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_frossl_matches_the_paper(weight):
    loss, z = evaluated(make(trainers.FroSSL, loss=losses.FroSSLLoss(weight)))
    assert loss == pytest.approx(formulas.frossl(z, weight), rel=1e-4)


def test_w_mse_of_whole_batches_matches_the_paper():
    """Where nothing is divided, the random order has no effect."""
    loss, z = evaluated(make(trainers.WMSE, loss=losses.WMSELoss(), iterations=2))
    assert loss == pytest.approx(formulas.w_mse(z), rel=1e-3)


def test_w_mse_divides_each_batch_in_another_way():
    trainer = make(trainers.WMSE, loss=losses.WMSELoss(sub_batch=16), seed=0)
    trainer.compile(keras.optimizers.SGD(0.0))
    values = {round(float(trainer.train_on_batch(triples())), 5) for _ in range(3)}
    assert len(values) == 3


def test_mmcr_matches_the_paper():
    trainer = make(trainers.MMCR, loss=losses.MMCRLoss(0.1), momentum=0.5)
    trainer.fit(triples(), batch_size=32, verbose=0)  # so that student and teacher differ
    loss, z = evaluated(trainer)
    z += [np.asarray(trainer.teacher_projector(trainer.teacher_encoder(x))) for x in triples()]
    assert loss == pytest.approx(formulas.mmcr(z, 0.1), rel=1e-4)


def test_mmcr_without_a_teacher_matches_the_paper():
    trainer = make(trainers.MMCR, loss=losses.MMCRLoss(0.1), momentum=None)
    loss, z = evaluated(trainer)
    assert loss == pytest.approx(formulas.mmcr(z, 0.1), rel=1e-4)
    copy = trainers.MMCR.from_config(trainer.get_config())
    assert copy.teacher is None


def test_lejepa_matches_the_paper():
    """The regulariser of 4,096 random directions is near its mean over all directions."""
    loss = losses.LeJEPALoss(regularization_weight=0.5)
    value, z = evaluated(make(trainers.LeJEPA, loss=loss, directions=4096))
    directions = np.random.default_rng(0).normal(size=(5, 4096))
    assert value == pytest.approx(formulas.lejepa(z, directions, 2, 0.5), rel=0.02)


def test_lejepa_draws_other_directions_at_each_step():
    trainer = make(trainers.LeJEPA, directions=4, seed=0)
    trainer.compile(keras.optimizers.SGD(0.0))
    values = {round(float(trainer.train_on_batch(triples())), 6) for _ in range(3)}
    assert len(values) == 3


def test_lejepa_has_as_many_global_views_as_its_loss():
    crops = (triples()[0], triples()[1][:, :14, :14])
    free = trainers.LeJEPA(encoder(size=None), layers.ProjectionHead((16, 5)))
    free.compile("sgd")
    with pytest.raises(ValueError, match="2 global views of one shape"):
        free.fit(crops, verbose=0)
    one = trainers.LeJEPA(
        encoder(size=None), layers.ProjectionHead((16, 5)), loss=losses.LeJEPALoss(global_count=1)
    )
    one.compile("sgd")
    assert np.isfinite(one.fit(crops, verbose=0).history["loss"][0])


def test_defaults():
    assert trainers.FroSSL(encoder()).loss_function.invariance_weight == 1.0
    w_mse, lejepa = trainers.WMSE(encoder()), trainers.LeJEPA(encoder())
    assert w_mse.projector.widths == (1024, 64) and w_mse.loss_function.sub_batch == 128
    assert lejepa.projector.widths == (2048, 2048, 64) and lejepa.directions == 1024
    mmcr = trainers.MMCR(encoder())
    assert mmcr.projector.widths == (8192, 8192, 512) and mmcr.loss_function.local_weight == 0.005


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss"])
def test_parts_of_the_wrong_type_are_rejected(method, part):
    with pytest.raises(TypeError, match=part):
        method(**{"encoder": encoder(), part: "mlp"})


@pytest.mark.parametrize("method", METHODS)
def test_batch_of_one_and_single_view_are_rejected(method):
    with pytest.raises(ValueError, match="33 examples and batch_size=32"):
        make(method).fit(triples(33), batch_size=32, verbose=0)
    for one in (triples()[0], triples()[:1]):
        with pytest.raises(ValueError, match="views of every example"):
            make(method).fit(one, verbose=0)


def test_arguments_out_of_range():
    with pytest.raises(ValueError, match="`iterations` must be a positive integer"):
        trainers.WMSE(encoder(), iterations=0)
    with pytest.raises(ValueError, match="`directions` must be a positive integer"):
        trainers.LeJEPA(encoder(), directions=0)
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        trainers.LeJEPA(encoder(), seed="1")


def test_w_mse_needs_more_examples_than_features():
    wide = layers.ProjectionHead((16, 16), normalization=False)
    with pytest.raises(ValueError, match="sub-batches of 16 examples with 16 features"):
        make(trainers.WMSE, projector=wide, loss=losses.WMSELoss(16)).fit(triples(), verbose=0)
