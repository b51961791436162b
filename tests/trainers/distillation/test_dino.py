"""DINO: its loss, centre, teacher, frozen prototypes, encoders, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, losses, networks, optimizers, trainers
from tests.trainers.case import Case
from tests.trainers.small import batch_norm_head, encoder, images
from tests.trainers.small_vit import small_vit


def small_dino() -> trainers.DINO:
    return trainers.DINO(
        encoder(size=None),
        batch_norm_head(),
        layers.Prototypes(32),
        augment.MultiCropViews(28, 14, local_count=2, seed=0),
        teacher_temperature=keras.optimizers.schedules.PolynomialDecay(0.04, 8, 0.07),
        momentum=optimizers.cosine_momentum(0.9, steps=100),
        freeze_steps=2,
    )


CASES = {
    "DINO": Case(
        make=small_dino,
        decreasing_loss="loss",
        decrease=0.21,
        normalized=True,
        represents="crops",
    ),
}


def crops(count=16, local_count=3):
    """Two global views of 28x28 and local ones of 12x12."""
    x = images()[0][:count].astype("float32")
    corners = [(0, 0), (8, 8), (16, 4), (4, 12)][:local_count]
    local = [x[:, row : row + 12, column : column + 12] for row, column in corners]
    return (x, x[:, :, ::-1], *local)


def make(optimizer=None, **arguments):
    keras.utils.set_random_seed(5)
    parts = {
        "projector": layers.ProjectionHead((16, 8), normalization=False, l2_normalize=True),
        "prototypes": layers.Prototypes(12),
        **arguments,
    }
    trainer = trainers.DINO(parts.pop("encoder", None) or encoder(size=None), **parts)
    trainer.compile(optimizer or keras.optimizers.SGD(0.5))
    return trainer


def build(trainer, views):
    trainer.build_step(tuple(keras.KerasTensor(view.shape) for view in views), None)


def scores_float64(features, projector, prototypes):
    z = np.asarray(projector(features), "float64")
    kernel = np.asarray(prototypes.kernel, "float64")
    return z @ (kernel / np.linalg.norm(kernel, axis=0))


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def formula(trainer, views, teacher_temperature):
    """Return the loss of the paper in float64 and the scores of the teacher."""
    center = np.asarray(trainer.center.center, "float64")
    teacher = [
        scores_float64(
            trainer.teacher_encoder(view), trainer.teacher_projector, trainer.teacher_prototypes
        )
        for view in views[:2]
    ]
    student = [
        scores_float64(trainer.encoder(view), trainer.projector, trainer.prototypes)
        for view in views
    ]
    total, pairs = 0.0, 0
    for t, g in enumerate(teacher):
        q = softmax((g - center) / teacher_temperature)
        for s, z in enumerate(student):
            if s != t:
                total -= (q * np.log(softmax(z / 0.1))).sum(axis=1).mean()
                pairs += 1
    return total / pairs, np.stack(teacher)


def test_loss_matches_the_paper():
    trainer, views = make(), crops()
    for _ in range(3):
        trainer.train_on_batch(views)  # so that student and teacher differ and the centre is not 0
    logs = trainer.evaluate(views, batch_size=16, verbose=0, return_dict=True)
    expected, _ = formula(trainer, views, 0.04)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_center_moves_once_per_step_towards_the_mean_score_of_the_teacher():
    trainer, views = make(center=layers.Center(0.8)), crops()
    trainer.train_on_batch(views)
    before = np.asarray(trainer.center.center)
    _, teacher = formula(trainer, views, 0.04)
    trainer.train_on_batch(views)
    expected = 0.8 * before + 0.2 * teacher.mean(axis=(0, 1))
    np.testing.assert_allclose(trainer.center.center, expected, rtol=1e-4, atol=1e-6)
    trainer.test_on_batch(views)
    np.testing.assert_allclose(trainer.center.center, expected, rtol=1e-4, atol=1e-6)


def test_centering_can_be_disabled():
    trainer, views = make(center=keras.layers.Identity()), crops()
    trainer.train_on_batch(views)
    logs = trainer.evaluate(views, batch_size=16, verbose=0, return_dict=True)
    trainer.center = type("NoCenter", (), {"center": np.zeros(12)})
    expected, _ = formula(trainer, views, 0.04)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_teacher_temperature_may_be_a_schedule():
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.04, 4, 0.2)
    trainer, views = make(teacher_temperature=warm_up), crops()
    build(trainer, views)
    for step in range(6):
        expected, _ = formula(trainer, views, min(0.04 + 0.04 * step, 0.2))
        found = trainer.train_on_batch(views, return_dict=True)["loss"]
        trainer.reset_metrics()
        assert found == pytest.approx(expected, rel=1e-3)


def test_teacher_temperature_overrides_that_of_the_loss():
    views = crops()
    trainer = make(teacher_temperature=0.5, loss=losses.DINOLoss(teacher_temperature=0.01))
    found = trainer.evaluate(views, batch_size=16, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(formula(trainer, views, 0.5)[0], rel=1e-4)
    trainer = make(loss=losses.DINOLoss(teacher_temperature=0.5))
    again = trainer.evaluate(views, batch_size=16, verbose=0, return_dict=True)
    assert again["loss"] == pytest.approx(found["loss"], rel=1e-6)


def test_gradients_flow_through_the_student_only():
    """Compare with one step by hand, in which the teacher is constant."""
    trainer, by_hand, views = make(), make(), crops()
    build(by_hand, views)
    teacher = [softmax(g / 0.04).astype("float32") for g in formula(by_hand, views, 0.04)[1]]
    student = [*by_hand.encoder.trainable_weights, *by_hand.projector.trainable_weights]
    variables = [*student, by_hand.prototypes.kernel]
    with tf.GradientTape() as tape:
        directions = tf.linalg.l2_normalize(by_hand.prototypes.kernel.value, axis=0)
        total = 0.0
        for s, view in enumerate(views):
            scores = by_hand.projector(by_hand.encoder(view)) @ directions
            log_p = tf.nn.log_softmax(scores / 0.1)
            for t, q in enumerate(teacher):
                if s != t:
                    total -= tf.reduce_mean(tf.reduce_sum(q * log_p, axis=1))
        loss = total / (2 * len(views) - 2)
    values = [v.value for v in variables]
    gradients = tape.gradient(loss, values)
    expected = [v - 0.5 * g for v, g in zip(values, gradients, strict=True)]
    trainer.train_on_batch(views)
    assert len(trainer.trainable_weights) == len(variables)
    learned = [*trainer.encoder.trainable_weights, *trainer.projector.trainable_weights]
    for found, one in zip([*learned, trainer.prototypes.kernel], expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-3, atol=1e-5)


def test_prototypes_are_frozen_for_freeze_steps():
    trainer, views = make(freeze_steps=2), crops()
    build(trainer, views)
    start = np.asarray(trainer.prototypes.kernel)
    dense = np.asarray(trainer.projector.trainable_weights[0])
    for step in range(1, 4):
        trainer.train_on_batch(views)
        moved = np.abs(np.asarray(trainer.prototypes.kernel) - start).max()
        assert (moved == 0) == (step <= 2)
        assert np.abs(np.asarray(trainer.projector.trainable_weights[0]) - dense).max() > 0


def test_weight_decay_does_not_rotate_frozen_prototypes():
    """AdamW shrinks weights without gradient, but scores depend on directions only."""
    trainer = make(keras.optimizers.AdamW(1e-2, weight_decay=0.4), freeze_steps=3)
    views = crops()
    build(trainer, views)
    start = np.asarray(trainer.prototypes.kernel)
    for _ in range(3):
        trainer.train_on_batch(views)
    end = np.asarray(trainer.prototypes.kernel)
    cosine = (start * end).sum(0) / np.linalg.norm(start, axis=0) / np.linalg.norm(end, axis=0)
    np.testing.assert_allclose(cosine, 1, atol=1e-6)
    assert np.linalg.norm(end) < np.linalg.norm(start)


def test_all_parts_of_the_teacher_follow():
    trainer, views = make(momentum=0.75), crops()
    build(trainer, views)
    student = [trainer.encoder, trainer.projector, trainer.prototypes]
    teacher = [trainer.teacher_encoder, trainer.teacher_projector, trainer.teacher_prototypes]
    before = [np.asarray(w) for part in teacher for w in part.weights]
    trainer.train_on_batch(views)
    student, teacher = ([w for part in parts for w in part.weights] for parts in (student, teacher))
    assert len(teacher) == len(before) and not any(w.trainable for w in teacher)
    for theta, xi, old in zip(student, teacher, before, strict=True):
        expected = 0.75 * old + 0.25 * np.asarray(theta)
        np.testing.assert_allclose(xi, expected, rtol=1e-5, atol=1e-7)
    moved = [np.abs(np.asarray(xi) - old).max() for xi, old in zip(teacher, before, strict=True)]
    assert max(moved) > 0


def test_clipnorm_clips_each_weight():
    views = crops()
    free, clipped = make(), make(keras.optimizers.SGD(0.5, clipnorm=1e-3))
    for trainer in (free, clipped):
        build(trainer, views)
    start = [np.asarray(w) for w in free.trainable_weights]
    for trainer in (free, clipped):
        trainer.train_on_batch(views)
    weights = free.trainable_weights, clipped.trainable_weights
    for old, one, other in zip(start, *weights, strict=True):
        length = np.linalg.norm(np.asarray(one) - old) / 0.5
        found = np.linalg.norm(np.asarray(other) - old) / 0.5
        assert found == pytest.approx(min(length, 1e-3), rel=0.02, abs=1e-6)


@pytest.mark.full
@pytest.mark.parametrize(
    "make_encoder",
    [
        lambda: networks.resnet18((None, None, 1), width=4),
        lambda: small_vit(patch_size=4, width=16, depth=1, heads=2, largest=28),
    ],
    ids=["resnet", "tokens"],
)
def test_encoder_may_be_a_resnet_or_a_transformer(make_encoder, tmp_path):
    trainer, views = make(encoder=make_encoder()), crops(local_count=2)
    history = trainer.fit(views, batch_size=8, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert trainer.predict(views[0], verbose=0).ndim == 2
    trainer.save(tmp_path / "dino.keras")
    loaded = keras.saving.load_model(tmp_path / "dino.keras")
    np.testing.assert_allclose(
        loaded.encoder(views[-1]), trainer.encoder(views[-1]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.full
def test_a_vision_transformer_takes_crops_of_several_sizes():
    """The loss is that of the paper with positions interpolated for local views."""
    encoder = networks.vit((16, 2, 2), (28, 28, 1), patch_size=4)
    trainer, views = make(encoder=encoder, center=layers.Center(0.5)), crops(local_count=2)
    for _ in range(2):
        trainer.train_on_batch(views)
    logs = trainer.evaluate(views, batch_size=16, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(formula(trainer, views, 0.04)[0], rel=1e-4)
    assert encoder(views[0]).shape == encoder(views[-1]).shape == (16, 16)


def test_views_of_the_same_size_are_encoded_together(monkeypatch):
    trainer, views = make(), crops(4)
    build(trainer, views)
    sizes = {"encoder": [], "teacher_encoder": []}

    def watch(name):
        call = getattr(trainer, name).call

        def watched(view, **kwargs):
            sizes[name].append(tuple(view.shape))
            return call(view, **kwargs)

        monkeypatch.setattr(getattr(trainer, name), "call", watched)

    watch("encoder")
    watch("teacher_encoder")
    trainer.embed(trainers.Batch(views, views, None, None), training=False)
    assert sizes["encoder"] == [(8, 28, 28, 1), (12, 12, 12, 1)]
    assert sizes["teacher_encoder"] == [(8, 28, 28, 1)]


def test_local_views_are_optional():
    history = make().fit(crops(local_count=0), batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_defaults_match_the_paper():
    trainer = trainers.DINO(encoder(size=None))
    assert trainer.projector.widths == (2048, 2048, 256) and trainer.projector.l2_normalize
    assert trainer.prototypes.count == 65_536
    assert trainer.center.momentum == 0.9 and trainer.teacher.momentum == 0.996
    assert trainer.loss_function.student_temperature == 0.1
    assert trainer.loss_function.teacher_temperature == 0.04


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": "vit"}, TypeError, "`encoder`"),
        ({"projector": "mlp"}, TypeError, "`projector`"),
        ({"prototypes": 65_536}, TypeError, "`prototypes`"),
        ({"prototypes": keras.layers.Dense(8)}, TypeError, "`prototypes`"),
        ({"augment": "crops"}, TypeError, "`augment`"),
        ({"center": 0.9}, TypeError, "`center`"),
        ({"loss": "dino"}, TypeError, "`loss`"),
        ({"momentum": 1.0}, ValueError, "momentum"),
        ({"momentum": -0.1}, ValueError, "momentum"),
        ({"momentum": "0.9"}, TypeError, "momentum"),
        ({"teacher_temperature": 0.0}, ValueError, "teacher_temperature"),
        ({"teacher_temperature": "warm"}, TypeError, "teacher_temperature"),
        ({"freeze_steps": -1}, ValueError, "freeze_steps"),
        ({"freeze_steps": 1.5}, TypeError, "freeze_steps"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (crops()[0], "tuple of views"),
        (crops()[:1], "at least 2 views"),
        ((*crops()[2:4], crops()[0]), "no larger than the 2 global"),
        (crops()[1:], "global views of one shape"),
    ],
)
def test_invalid_views_are_rejected_before_the_first_step(views, message):
    trainer = make()
    with pytest.raises(ValueError, match=message):
        trainer.fit(views, batch_size=8, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_encoder_of_one_size_is_rejected():
    with pytest.raises(ValueError, match=r"\(None, None, 1\)"):
        make(encoder=encoder()).fit(crops(), batch_size=8, verbose=0)
