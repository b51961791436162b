"""iBOT and DINOv2: their losses, masks, centres, teacher, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, losses, trainers
from keras_ssl.ops.schedules import at_step
from tests.trainers.case import BAD_IMAGES, Case
from tests.trainers.masked.small import FixedMask, Mixer, patches_of, tiny_vit
from tests.trainers.small import batch_norm_head, images

HIDDEN = (1, 4, 5, 6, 9)


def head():
    return layers.ProjectionHead((16, 8), normalization=False, l2_normalize=True)


def of_ibot():
    return {
        "encoder": tiny_vit(),
        "projector": head(),
        "prototypes": layers.Prototypes(12),
        "masking": layers.BlockMasking((4, 4), 0.3, min_tokens=2, seed=0),
        "seed": 0,
    }


def of_dino_v2():
    return {
        **of_ibot(),
        "encoder": tiny_vit(registers=1),
        "patch_projector": head(),
        "patch_prototypes": layers.Prototypes(10),
    }


ARGUMENTS = {"iBOT": of_ibot, "DINOv2": of_dino_v2}


def small(name):
    """Make a trainer with two global views and a local one."""
    crops = [((0.5, 1.0), 28), ((0.5, 1.0), 28), ((0.2, 0.5), 14)]
    pipelines = [augment.RandomResizedCrop(size, scale) for scale, size in crops]
    arguments = ARGUMENTS[name]()
    # embeddings that differ from the start
    heads = {one: batch_norm_head() for one in arguments if one.endswith("projector")}
    return getattr(trainers, name)(
        **{**arguments, **heads},
        augment=augment.AsymmetricViews(pipelines, seed=0),
        teacher_temperature=keras.optimizers.schedules.PolynomialDecay(0.04, 8, 0.07),
        momentum=0.9,
        freeze_steps=2,
    )


CASES = {
    "iBOT": Case(
        make=lambda: small("iBOT"),
        decreasing_loss="loss",
        decrease=0.8,
        epochs=6,
        sgd=lambda: keras.optimizers.SGD(0.005),  # low temperatures amplify rounding errors
        normalized=True,
        bad_data=BAD_IMAGES,
    ),
    "DINOv2": Case(
        make=lambda: small("DINOv2"),
        decreasing_loss="loss",
        decrease=0.8,
        epochs=6,
        sgd=lambda: keras.optimizers.SGD(0.005),
        normalized=True,
        bad_data=BAD_IMAGES,
    ),
}


def views(count=16):
    """Return two global views of 28x28 and local ones of 14x14."""
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1].copy(), x[:, 4:18, 6:20], x[:, 10:24, 8:22]


def make(name="iBOT", optimizer=None, **changes):
    keras.utils.set_random_seed(5)
    trainer = getattr(trainers, name)(**{**ARGUMENTS[name](), **changes})
    trainer.compile(optimizer or keras.optimizers.SGD(0.5))
    trainer.build_step(tuple(keras.KerasTensor(view.shape) for view in views()), None)
    return trainer


def move_apart(trainer):
    """Change the weights of the teacher and the centres, so that all parts differ."""
    rng = np.random.default_rng(0)
    for name in ("encoder", "projector", "prototypes"):
        teacher = getattr(trainer, f"teacher_{name}")
        teacher.set_weights([w + 0.2 * rng.normal(size=w.shape) for w in teacher.get_weights()])
    for center in (trainer.center, trainer.patch_center):
        center.set_weights([0.1 * rng.normal(size=w.shape) for w in center.get_weights()])


def scores(projector, prototypes, features):
    z = np.asarray(projector(features), "float64")
    kernel = np.asarray(prototypes.kernel, "float64")
    return z / np.linalg.norm(z, axis=-1, keepdims=True) @ (kernel / np.linalg.norm(kernel, axis=0))


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def scores_by_hand(trainer, masked=True):
    """Return scores of features and patches of the masked student and of the teacher, float64."""
    found = {"student": [], "teacher": [], "student patches": [], "teacher patches": []}
    patch = "" if trainer.has_shared_head else "patch_"
    for number, view in enumerate(views()):
        tokens = np.array(trainer.encoder.embed(view))
        grid = trainer.encoder.grid(view.shape)
        if masked and number < 2:
            tokens[:, HIDDEN] = np.asarray(trainer.mask_token.token)
        student = trainer.encoder.encode(tokens, grid)
        heads = [(trainer.projector, trainer.prototypes)]
        heads += [(getattr(trainer, f"{patch}projector"), getattr(trainer, f"{patch}prototypes"))]
        found["student"].append(scores(*heads[0], student["features"]))
        if number < 2:
            patches = np.asarray(student["patch_tokens"])[:, HIDDEN]
            found["student patches"].append(scores(*heads[1], patches))
            encoder = trainer.teacher_encoder
            teacher = encoder.encode(encoder.embed(view), grid)
            names = ("teacher_", f"teacher_{patch}")
            heads = [
                (getattr(trainer, f"{one}projector"), getattr(trainer, f"{one}prototypes"))
                for one in names
            ]
            found["teacher"].append(scores(*heads[0], teacher["features"]))
            patches = np.asarray(teacher["patch_tokens"])[:, HIDDEN]
            found["teacher patches"].append(scores(*heads[1], patches))
    return {name: np.stack(one) for name, one in found.items()}


def class_loss(targets, student):
    """Return the cross-entropy over the pairs of different views."""
    pairs = [
        -(q * np.log(softmax(z / 0.1))).sum(axis=-1).mean()
        for t, q in enumerate(targets)
        for s, z in enumerate(student)
        if s != t
    ]
    return np.mean(pairs)


def patch_loss(targets, student):
    return -(targets * np.log(softmax(student / 0.1))).sum(axis=-1).mean()


def sinkhorn(s, temperature):
    """Return the assignments of rows by three iterations of the authors' code, float64."""
    q = np.exp(s.reshape(-1, s.shape[-1]) / temperature).T
    q /= q.sum()
    for _ in range(3):
        q /= q.sum(axis=1, keepdims=True) * q.shape[0]
        q /= q.sum(axis=0, keepdims=True) * q.shape[1]
    return (q * q.shape[1]).T.reshape(s.shape)


def evaluate(trainer):
    """Return the losses of a batch, without training."""
    x = views()
    found = trainer.compute_losses(trainers.Batch(x, x), training=False)
    return {name: float(value) for name, value in found.items() if name != "representation"}


@pytest.mark.parametrize("shared", [True, False])
def test_losses_of_ibot_match_the_paper(shared):
    other = {} if shared else {"patch_projector": head(), "patch_prototypes": layers.Prototypes(7)}
    trainer = make(masking=FixedMask(HIDDEN), mask_probability=1.0, **other)
    move_apart(trainer)
    s = scores_by_hand(trainer)
    centers = [np.asarray(one.center, "float64") for one in (trainer.center, trainer.patch_center)]
    expected = {
        "class": class_loss(softmax((s["teacher"] - centers[0]) / 0.04), s["student"]),
        "patch": patch_loss(
            softmax((s["teacher patches"] - centers[1]) / 0.04), s["student patches"]
        ),
    }
    logs = evaluate(trainer)
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-4)
    assert logs.keys() == expected.keys()


def test_centers_move_towards_the_mean_scores_of_the_teacher():
    trainer = make(masking=FixedMask(HIDDEN), mask_probability=1.0, center=layers.Center(0.8))
    move_apart(trainer)
    before = [np.asarray(one.center) for one in (trainer.center, trainer.patch_center)]
    s, x = scores_by_hand(trainer), views()
    trainer.compute_losses(trainers.Batch(x, x), training=True)
    means = s["teacher"].mean(axis=(0, 1)), s["teacher patches"].mean(axis=(0, 1, 2))
    for center, old, mean, keep in zip(
        (trainer.center, trainer.patch_center), before, means, (0.8, 0.9), strict=True
    ):
        np.testing.assert_allclose(
            center.center, keep * old + (1 - keep) * mean, rtol=1e-4, atol=1e-6
        )


@pytest.mark.few(1)
@pytest.mark.parametrize("name", ["iBOT", "DINOv2"])
def test_views_are_masked_with_a_probability(name):
    trainer = make(name, masking=FixedMask(HIDDEN), mask_probability=0.0)
    assert evaluate(trainer)["patch"] == 0
    trainer = make(name, mask_probability=0.5)
    many = np.concatenate([views(128)[0]] * 2)
    is_masked = np.asarray(trainer.encode_masked(many)[3])
    assert set(is_masked) == {0, 1} and 0.35 < is_masked.mean() < 0.65


def test_views_without_a_mask_count_as_zero():
    trainer = make(masking=FixedMask(HIDDEN), mask_probability=1.0)
    x = views()
    embeddings = trainer.embed(trainers.Batch(x, x), training=False)
    all_masked = trainer.losses_of(embeddings, training=False)["patch"]
    half = np.array(embeddings["is_masked"])
    half[::2] = 0
    each = [
        trainer.losses_of({**embeddings, "is_masked": one}, training=False)["patch"]
        for one in (half, 1 - half)
    ]
    assert float(sum(each)) == pytest.approx(float(all_masked), rel=1e-5)
    assert float(each[0]) > 0 < float(each[1])


@pytest.mark.parametrize("shared", [True, False])
def test_losses_of_dino_v2_match_the_authors_code(shared):
    arguments = {"masking": FixedMask(HIDDEN), "mask_probability": 1.0, "shared_head": shared}
    if shared:
        arguments |= {"patch_projector": None, "patch_prototypes": None}
    trainer = make("DINOv2", **arguments)
    move_apart(trainer)
    s = scores_by_hand(trainer)
    features = [
        trainer.encoder.encode(_masked(trainer, view), (4, 4))["features"] for view in views()[:2]
    ]
    expected = {
        "class": class_loss(sinkhorn(s["teacher"], 0.07), s["student"]),
        "patch": patch_loss(sinkhorn(s["teacher patches"], 0.07), s["student patches"]),
        "ko_leo": 0.1 * sum(float(losses.KoLeo()(one)) for one in features),
    }
    logs = evaluate(trainer)
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-4)
    assert logs.keys() == expected.keys()


def _masked(trainer, view):
    tokens = np.array(trainer.encoder.embed(view))
    tokens[:, HIDDEN] = np.asarray(trainer.mask_token.token)
    return tokens


def test_teacher_temperature_may_be_a_schedule():
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.04, 2, 0.2)
    trainer = make(
        "DINOv2",
        masking=FixedMask(HIDDEN),
        mask_probability=1.0,
        teacher_temperature=warm_up,
    )
    s = scores_by_hand(trainer)
    for step, temperature in enumerate((0.04, 0.12, 0.2, 0.2)):
        with at_step(lambda step=step: step):
            found = evaluate(trainer)["patch"]
        expected = patch_loss(sinkhorn(s["teacher patches"], temperature), s["student patches"])
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["iBOT", "DINOv2"])
def test_masked_patches_do_not_see_their_pixels(name, rng):
    trainer = make(name, masking=FixedMask(HIDDEN), mask_probability=1.0)
    x = tf.constant(np.concatenate(views(4)[:2]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        features, tokens, _, _ = trainer.encode_masked(x)
        hidden = tf.gather(tokens, HIDDEN, axis=1)
        loss = tf.reduce_sum(hidden * rng.normal(size=hidden.shape).astype("float32"))
        loss += tf.reduce_sum(features * rng.normal(size=features.shape).astype("float32"))
    gradient = np.abs(patches_of(tape.gradient(loss, x).numpy())).max(axis=-1)
    np.testing.assert_array_equal(gradient[:, HIDDEN], 0)
    assert np.all(np.delete(gradient, HIDDEN, axis=1) > 0)


@pytest.mark.full
def test_all_parts_of_the_teacher_follow_and_prototypes_are_frozen_at_first():
    trainer = make("DINOv2", momentum=0.75, freeze_steps=1)
    names = ("encoder", "projector", "prototypes", "patch_projector", "patch_prototypes")
    teacher = [w for name in names for w in getattr(trainer, f"teacher_{name}").weights]
    student = [w for name in names for w in getattr(trainer, name).weights]
    kernels = [trainer.prototypes.kernel, trainer.patch_prototypes.kernel]
    start = [np.asarray(w) for w in kernels]
    assert not {id(w) for w in trainer.trainable_weights} & {id(w) for w in teacher}
    for step in range(2):
        before = [np.asarray(w) for w in teacher]
        trainer.train_on_batch(views())
        for theta, xi, old in zip(student, teacher, before, strict=True):
            expected = 0.75 * old + 0.25 * np.asarray(theta)
            np.testing.assert_allclose(xi, expected, rtol=1e-5, atol=1e-7)
        for one, old in zip(kernels, start, strict=True):
            assert (np.abs(np.asarray(one) - old).max() == 0) == (step < 1)


def test_local_views_are_optional():
    trainer, x = trainers.iBOT(**of_ibot()), views()[:2]
    found = trainer.compute_losses(trainers.Batch(x, x), training=False)
    assert np.isfinite(float(found["class"]))


def test_defaults_match_the_papers():
    ibot, dino_v2 = trainers.iBOT(tiny_vit()), trainers.DINOv2(tiny_vit())
    for trainer in (ibot, dino_v2):
        assert trainer.projector.widths == (2048, 2048, 256)
        assert trainer.masking.grid == (14, 14) and trainer.masking.ratio == 0.3
        assert trainer.mask_probability == 0.5
        assert trainer.loss_function.student_temperature == 0.1
        assert trainer.patch_loss.student_temperature == 0.1
    assert ibot.has_shared_head and not dino_v2.has_shared_head
    assert ibot.prototypes.count == 8192
    assert dino_v2.prototypes.count == dino_v2.patch_prototypes.count == 65_536
    assert ibot.center.momentum == ibot.patch_center.momentum == 0.9
    assert dino_v2.center.temperature == dino_v2.teacher_temperature == 0.07
    assert dino_v2.center.iterations == 3 and dino_v2.ko_leo_weight == 0.1
    assert (ibot.teacher.momentum, dino_v2.teacher.momentum) == (0.996, 0.992)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("iBOT", {"encoder": keras.layers.Dense(4)}, TypeError, "`encoder` must be a `keras_ssl"),
        ("iBOT", {"prototypes": 8192}, TypeError, "`prototypes`"),
        ("iBOT", {"masking": 0.3}, TypeError, "`masking`"),
        ("iBOT", {"masking": keras.layers.Identity()}, TypeError, "method `count"),
        ("iBOT", {"masking": layers.BlockMasking((14, 14))}, ValueError, "16 tokens"),
        ("iBOT", {"mask_probability": 1.5}, ValueError, "`mask_probability`"),
        ("iBOT", {"patch_projector": 8}, TypeError, "`patch_projector`"),
        ("iBOT", {"patch_prototypes": layers.Prototypes(4)}, ValueError, "need a `patch_proj"),
        ("iBOT", {"patch_loss": "ibot"}, TypeError, "`patch_loss`"),
        ("iBOT", {"center": 0.9}, TypeError, "`center`"),
        ("iBOT", {"patch_center": 0.9}, TypeError, "`patch_center`"),
        ("iBOT", {"teacher_temperature": 0.0}, ValueError, "teacher_temperature"),
        ("iBOT", {"momentum": 1.0}, ValueError, "momentum"),
        ("iBOT", {"freeze_steps": -1}, ValueError, "freeze_steps"),
        ("DINOv2", {"shared_head": True}, ValueError, "`shared_head=True`"),
        ("DINOv2", {"ko_leo": 0.1}, TypeError, "`ko_leo`"),
        ("DINOv2", {"ko_leo_weight": -1.0}, ValueError, "`ko_leo_weight`"),
        ("DINOv2", {"teacher_temperature": 0.0}, ValueError, "teacher_temperature"),
    ],
)
def test_invalid_arguments_are_rejected(name, arguments, error, message):
    with pytest.raises(error, match=message):
        make(name, **arguments)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (views()[0], "tuple of views"),
        (views()[:1], "at least 2 views"),
        ((views()[0], views()[2]), "global views of one shape"),
        ((*views()[:2], views()[0][:, :10, :10]), r"Resize them to \(7, 7\)"),
        ((views()[0][..., 0],) * 2, "batch, height, width, channels"),
    ],
)
def test_invalid_views_are_rejected_before_the_first_step(x, message):
    trainer = trainers.iBOT(**of_ibot())
    trainer.compile("sgd")
    with pytest.raises(ValueError, match=message):
        trainer.fit(x, batch_size=8, verbose=0)


def test_an_encoder_of_one_kind_of_token_is_enough():
    assert evaluate(make(encoder=Mixer()))["patch"] >= 0
