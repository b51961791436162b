"""MSN: its loss, gradients, teacher, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, layers, losses, networks, trainers
from tests.trainers.case import Case
from tests.trainers.small import batch_norm_head, encoder, images
from tests.trainers.small_vit import small_vit


def small_msn() -> trainers.MSN:
    masked = [
        augment.simclr_pipeline(28, scale=(0.6, 1.0)),
        augment.RandomPatchMask(7, 0.15),
    ]
    return trainers.MSN(
        encoder(size=None),
        batch_norm_head(),
        layers.Prototypes(16),
        augment.AsymmetricViews(
            [
                augment.simclr_pipeline(28, scale=(0.6, 1.0)),
                masked,
                augment.simclr_pipeline(14, scale=(0.2, 0.5)),
            ],
            seed=0,
        ),
        momentum=0.9,
    )


CASES = {
    "MSN": Case(
        make=small_msn,
        decreasing_loss="loss",
        decrease=0.4,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        sgd=lambda: keras.optimizers.SGD(0.005),  # a temperature of 1/40 amplifies rounding errors
        normalized=True,
    ),
}


def views(count=16):
    """Return a target of 28x28, an anchor with its middle masked, and two small anchors."""
    x = images()[0][:count].astype("float32")
    masked = x[:, :, ::-1].copy()
    masked[:, 8:16, 8:16] = 127.5
    return x, masked, x[:, :12, :12], x[:, 10:22, 10:22]


def make(optimizer=None, **arguments):
    keras.utils.set_random_seed(5)
    parts = {
        "projector": layers.ProjectionHead((16, 8), normalization=False),
        "prototypes": layers.Prototypes(12),
        **arguments,
    }
    trainer = trainers.MSN(parts.pop("encoder", None) or encoder(size=None), **parts)
    trainer.compile(optimizer or keras.optimizers.SGD(0.5))
    return trainer


def build(trainer):
    trainer.build_step(tuple(keras.KerasTensor(view.shape) for view in views()), None)


def unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def assignment_float64(z, prototypes, temperature):
    kernel = np.asarray(prototypes.kernel, "float64")
    scores = unit(np.asarray(z, "float64"), 1) @ unit(kernel, 0) / temperature
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def target_float64(trainer, sharpening=0.25):
    """Return the sharpened assignment of the target: to the power of 1 / T and normalised."""
    z = trainer.teacher_projector(trainer.teacher_encoder(views()[0]))
    p = assignment_float64(z, trainer.prototypes, 0.1) ** (1 / sharpening)
    return p / p.sum(axis=1, keepdims=True)


def test_loss_matches_the_paper():
    trainer = make(loss=losses.MSNLoss(regularization_weight=0.7))
    for _ in range(3):
        trainer.train_on_batch(views())  # so that student and teacher differ
    logs = trainer.evaluate(views(), batch_size=16, verbose=0, return_dict=True)
    target = target_float64(trainer)
    anchors = [
        assignment_float64(trainer.projector(trainer.encoder(view)), trainer.prototypes, 0.1)
        for view in views()[1:]
    ]
    entropy_of_pairs = np.mean([-(target * np.log(p)).sum(axis=1).mean() for p in anchors])
    mean = np.mean(anchors, axis=(0, 1))
    missing = np.log(12) + (mean * np.log(mean)).sum()
    assert logs["loss"] == pytest.approx(entropy_of_pairs + 0.7 * missing, rel=1e-4)
    assert missing > 0.01  # the regularisation is large enough to be tested


def test_gradients_flow_through_the_anchors_only():
    """Compare with one step by hand, in which the assignment of the target is constant."""
    trainer, by_hand = make(), make()
    build(by_hand)
    target = target_float64(by_hand).astype("float32")
    student = [*by_hand.encoder.trainable_weights, *by_hand.projector.trainable_weights]
    variables = [*student, by_hand.prototypes.kernel]
    with tf.GradientTape() as tape:
        directions = tf.linalg.l2_normalize(by_hand.prototypes.kernel.value, axis=0)
        total, probabilities = 0.0, []
        for view in views()[1:]:
            z = tf.linalg.l2_normalize(by_hand.projector(by_hand.encoder(view)), axis=1)
            p = tf.nn.softmax(z @ directions / 0.1)
            total -= tf.reduce_mean(tf.reduce_sum(target * tf.math.log(p), axis=1)) / 3
            probabilities.append(p)
        mean = tf.reduce_mean(tf.concat(probabilities, axis=0), axis=0)
        loss = total + tf.reduce_sum(mean * tf.math.log(mean))
    values = [v.value for v in variables]
    gradients = tape.gradient(loss, values)
    expected = [v - 0.5 * g for v, g in zip(values, gradients, strict=True)]
    trainer.train_on_batch(views())
    learned = [*trainer.encoder.trainable_weights, *trainer.projector.trainable_weights]
    assert len(trainer.trainable_weights) == len(learned) + 1
    for found, one in zip([*learned, trainer.prototypes.kernel], expected, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-3, atol=1e-5)


def test_teacher_follows_and_shares_the_prototypes():
    trainer = make(momentum=0.75)
    build(trainer)
    student = [trainer.encoder, trainer.projector]
    teacher = [trainer.teacher_encoder, trainer.teacher_projector]
    before = [np.asarray(w) for part in teacher for w in part.weights]
    trainer.train_on_batch(views())
    student, teacher = ([w for part in parts for w in part.weights] for parts in (student, teacher))
    for theta, xi, old in zip(student, teacher, before, strict=True):
        expected = 0.75 * old + 0.25 * np.asarray(theta)
        np.testing.assert_allclose(xi, expected, rtol=1e-5, atol=1e-7)
    assert len([w for w in trainer.weights if w.shape == (8, 12)]) == 1


def test_target_and_one_anchor_suffice():
    history = make().fit(views()[:2], batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"][0])


@pytest.mark.full
@pytest.mark.parametrize(
    "make_encoder",
    [
        lambda: networks.small_resnet((None, None, 1), width=2),
        lambda: small_vit(patch_size=4, width=16, depth=1, heads=2, largest=28),
    ],
    ids=["resnet", "tokens"],
)
def test_encoder_may_be_a_resnet_or_a_transformer(make_encoder):
    whole = augment.simclr_pipeline(28)
    pipelines = [whole, [whole, augment.RandomPatchMask(7, 0.5)], augment.simclr_pipeline(12)]
    trainer = make(encoder=make_encoder(), augment=augment.AsymmetricViews(pipelines, seed=0))
    history = trainer.fit(images()[0][:16], batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_defaults_match_the_paper():
    trainer = trainers.MSN(encoder(size=None))
    assert trainer.projector.widths == (2048, 2048, 256)
    assert trainer.prototypes.count == 1024 and trainer.teacher.momentum == 0.996
    loss = trainer.loss_function
    assert (loss.temperature, loss.sharpening, loss.regularization_weight) == (0.1, 0.25, 1.0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": "vit"}, TypeError, "`encoder`"),
        ({"projector": "mlp"}, TypeError, "`projector`"),
        ({"prototypes": 1024}, TypeError, "`prototypes`"),
        ({"augment": "masks"}, TypeError, "`augment`"),
        ({"loss": "msn"}, TypeError, "`loss`"),
        ({"momentum": 1.0}, ValueError, "momentum"),
        ({"momentum": "0.9"}, TypeError, "momentum"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (views()[0], "tuple of views"),
        (views()[:1], "at least 2 views"),
        ((*views()[2:4], views()[0]), "no larger than the 2 global"),
        (tuple(view[:1] for view in views()), "fewer than 2 examples"),
    ],
)
def test_invalid_views_are_rejected_before_the_first_step(bad, message):
    trainer = make()
    with pytest.raises(ValueError, match=message):
        trainer.fit(bad, batch_size=8, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


SEEN = [2, 3, 7, 8, 13]


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class KeepFive(keras.layers.Layer):
    """Hides the same eleven of sixteen patches of every image."""

    def count(self, tokens):
        return tokens - len(SEEN)

    def call(self, tokens):
        is_hidden = ~np.isin(np.arange(tokens.shape[1]), SEEN)
        return keras.ops.broadcast_to(is_hidden, tokens.shape[:2])


def token_views(count=8):
    """Return a target and two anchors of 28x28, and a small anchor of 14x14 between them."""
    x = images()[0][:count].astype("float32")
    return x, x[:, :, ::-1].copy(), x[:, 7:21, 7:21], x[:, ::-1].copy()


def vision_transformer():
    return networks.vit((16, 2, 2), (28, 28, 1), patch_size=7)


def test_masked_patches_are_dropped_from_anchors_of_the_targets_size():
    trainer = make(encoder=vision_transformer(), masking=KeepFive())
    target, *anchors = token_views()
    z = trainer.embed(trainers.Batch(None, (target, *anchors)), training=False)
    by_hand = []
    for view in anchors:
        tokens, grid = np.asarray(trainer.encoder.embed(view)), trainer.encoder.grid(view.shape)
        if grid == (4, 4):
            places = np.tile(SEEN, (8, 1)).astype("int32")
            outputs = trainer.encoder.encode(tokens[:, SEEN], grid, indices=places)
        else:
            outputs = trainer.encoder.encode(tokens, grid)
        by_hand.append(np.asarray(trainer.projector(outputs["features"])))
    order = [0, 2, 1]  # those of the target's size first
    np.testing.assert_allclose(z["anchors"], np.stack(by_hand, 1)[:, order], rtol=1e-4, atol=1e-6)
    whole = trainer.teacher_projector(trainer.teacher_encoder(target))
    np.testing.assert_allclose(z["target"], whole, rtol=1e-4, atol=1e-6)


def test_dropped_patches_have_no_influence(rng):
    trainer = make(encoder=vision_transformer(), masking=KeepFive())
    target, anchor = token_views()[:2]
    x = tf.constant(anchor)
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = trainer.embed(trainers.Batch(None, (target, x)), training=False)["anchors"]
        loss = tf.reduce_sum(z * rng.normal(size=z.shape).astype("float32"))
    gradient = np.abs(tape.gradient(loss, x).numpy()).reshape(8, 4, 7, 4, 7).max(axis=(2, 4))
    gradient = gradient.reshape(8, 16)
    np.testing.assert_array_equal(np.delete(gradient, SEEN, axis=1), 0)
    assert np.all(gradient[:, SEEN] > 0)


@pytest.mark.full
def test_a_transformer_that_drops_patches_is_trained_and_saved(tmp_path):
    masking = layers.RandomMasking(0.7, seed=0)
    trainer = make(encoder=vision_transformer(), masking=masking)
    logs = trainer.fit(token_views(32), batch_size=16, epochs=2, verbose=0).history
    assert np.all(np.isfinite(logs["loss"]))
    trainer.save(tmp_path / "msn.keras")
    loaded = keras.saving.load_model(tmp_path / "msn.keras")
    assert loaded.masking.ratio == 0.7
    found = [one.evaluate(token_views(), verbose=0) for one in (trainer, loaded)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_dropping_patches_needs_an_encoder_of_tokens():
    with pytest.raises(TypeError, match=r"`encoder` must be a `keras_ssl.networks.TokenEncoder`"):
        make(masking=layers.RandomMasking(0.7))
    with pytest.raises(TypeError, match="`masking`"):
        make(encoder=vision_transformer(), masking=0.7)
