"""CLIP, SigLIP and CrossModal: losses by formula, towers, learned scale, odd data."""

import keras
import numpy as np
import pytest

from keras_ssl import evaluate, layers, networks, trainers
from tests.losses.contrastive.test_clip_loss import GROUPS, OPEN_CLIP, formula_of_groups
from tests.losses.contrastive.test_clip_loss import formula as clip_formula
from tests.losses.contrastive.test_sig_lip import formula as sig_lip_formula
from tests.trainers.case import Case, zeros
from tests.trainers.language.small_text import VOCABULARY, bert, gpt2, loss_of, padded
from tests.trainers.small import encoder, images


def pairs():
    """Return images, and their middle rows as texts of grey levels."""
    return {"image": images()[0], "text": padded()}


def two_rows():
    """Return two rows of each image as texts, in two languages."""
    ids = images()[0][..., 0][:, [12, 16], 6:22].astype("int32") // 32 + 1
    return {"first": ids[:, 0], "second": ids[:, 1]}


def with_images(values):
    return {"image": values, "text": zeros(64, 16, dtype="int32")}


BAD_PAIRS = (
    (images()[0][:64], "dictionary of 'image', 'text'"),
    ({"image": images()[0][:64]}, "dictionary of 'image', 'text'"),
    ({**pairs(), "label": images()[1]}, "Received: .'image', 'label', 'text'"),
    (with_images(zeros(64, 28, 28, 3)), "axis -1 of input shape to have value 1"),
    (
        {"image": images()[0][:64], "text": np.full((64, 16), VOCABULARY, "int32")},
        "Token ids of 'text' must lie in 0..11",
    ),
)

CASES = {
    "CLIP": Case(
        make=lambda: trainers.CLIP(encoder(), bert(pooling="mean"), width=16),
        x=pairs,
        decreasing_loss="loss",
        decrease=0.7,
        epochs=15,
        bad_data=BAD_PAIRS,
    ),
    "SigLIP": Case(
        make=lambda: trainers.SigLIP(encoder(), bert(pooling="mean"), width=16),
        x=pairs,
        decreasing_loss="loss",
        decrease=0.9,
        epochs=15,
        bad_data=BAD_PAIRS,
    ),
    "CrossModal": Case(
        make=lambda: trainers.CrossModal(
            bert(pooling="mean"), bert(pooling="mean", seed=7), width=None
        ),
        x=two_rows,
        decreasing_loss="loss",
        decrease=1.0,
        epochs=15,
        bad_data=(
            (two_rows()["first"], "dictionary of 'first', 'second'"),
            ({"first": zeros(0, 16, dtype="int32")}, "dictionary of 'first', 'second'"),
        ),
    ),
}


def first_pairs(count=24):
    return keras.tree.map_structure(lambda one: one[:count], pairs())


def vectors_of(trainer, x):
    return [np.asarray(trainer.tower(name)(x[name]), "float64") for name in ("image", "text")]


def test_losses_equal_the_formulas():
    x = first_pairs()
    trainer = CASES["CLIP"].make()
    found = loss_of(trainer, x)
    expected = clip_formula(*vectors_of(trainer, x), 0.07).mean()
    assert found == {"loss": pytest.approx(expected, rel=1e-4)}
    trainer = CASES["SigLIP"].make()
    found = loss_of(trainer, x)["loss"]
    expected = sig_lip_formula(*vectors_of(trainer, x), 0.1, -10.0).mean()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("number", range(3))
def test_a_step_equals_that_of_open_clip(number):
    """All weights after a step of SGD of linear towers; the scale of the last meets its limit."""
    step = OPEN_CLIP["steps"][number]
    x = {name: np.array(one, "float32") for name, one in OPEN_CLIP["x"].items()}
    scale = {"max_scale": 100.0 if step["bias"] is None else None, "bias": step["bias"]}
    trainer = {"clip": trainers.CLIP, "sig_lip": trainers.SigLIP}[step["method"]](
        keras.layers.Dense(5),
        keras.layers.Dense(5),
        width=4,
        logit_scale=layers.LogitScale(step["temperature"], **scale),
    )
    trainer.compile(keras.optimizers.SGD(step["rate"]))
    trainer.build({name: one.shape for name, one in x.items()})
    towers = {name: trainer.tower(name) for name in x}
    for name, start in (("image", "image"), ("text", step["text_tower"])):
        towers[name].set_weights([np.array(one) for one in OPEN_CLIP["towers"][start]])
    logs = trainer.train_on_batch(x, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(step["loss"], rel=1e-5)
    found = {name: tower.get_weights() for name, tower in towers.items()}
    found["scalars"] = trainer.logit_scale.get_weights()
    for name, expected in {**step["weights"], "scalars": step["scalars"]}.items():
        for one, other in zip(found[name], expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5, err_msg=name)


def test_pairs_of_a_group_are_not_told_apart():
    x = first_pairs(8)
    trainer = CASES["CLIP"].make()
    found = loss_of(trainer, {**x, "group_ids": np.arange(8)})["loss"]
    assert found == pytest.approx(clip_formula(*vectors_of(trainer, x), 0.07).mean(), rel=1e-4)
    trainer = CASES["CLIP"].make()
    found = loss_of(trainer, {**x, "group_ids": GROUPS})["loss"]
    expected = formula_of_groups(*vectors_of(trainer, x), 0.07).mean()
    assert found == pytest.approx(expected, rel=1e-4)
    with pytest.raises(TypeError, match="dtype of `group_ids` must be integer"):
        loss_of(CASES["CLIP"].make(), {**x, "group_ids": np.ones(8, "float32")})


def test_learned_scale_moves_and_stays_below_its_limit():
    trainer = trainers.CLIP(
        encoder(), bert(pooling="mean"), width=16, logit_scale=layers.LogitScale(0.0101)
    )
    trainer.compile(keras.optimizers.Adam(0.1))
    x = pairs()
    trainer.fit(x, batch_size=64, epochs=2, verbose=0)
    assert float(trainer.logit_scale.temperature) >= 0.01 * (1 - 1e-5)
    sigmoid = CASES["SigLIP"].make()
    sigmoid.compile(keras.optimizers.Adam(0.01))
    sigmoid.fit(x, batch_size=64, epochs=1, verbose=0)
    assert float(sigmoid.logit_scale.bias) != -10
    assert float(sigmoid.logit_scale.temperature) != pytest.approx(0.1)


@pytest.mark.parametrize("width", [5, None])
def test_a_tower_is_the_encoder_and_a_linear_map(width):
    x = images()[0][:6]
    tower = trainers.Tower(encoder(), width)
    vectors = np.asarray(tower(x))
    expected = np.asarray(tower.encoder(x), "float64")
    if width is not None:
        expected = expected @ np.asarray(tower.projection.kernel)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-6)


def test_towers_share_the_weights_and_are_saved_alone(tmp_path):
    trainer, x = CASES["CLIP"].make(), first_pairs()
    trainer.compile("adam")
    trainer.fit(x, batch_size=12, verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    for name, side in x.items():
        tower = trainer.tower(name)
        # before any call, and from a trainer that has just been loaded
        tower.save(tmp_path / "first.keras")
        again = keras.saving.load_model(tmp_path / "trainer.keras").tower(name)
        again.save(tmp_path / "again.keras")
        vectors = tower.predict(side, verbose=0)
        for path in ("first.keras", "again.keras"):
            loaded = keras.saving.load_model(tmp_path / path)
            np.testing.assert_allclose(loaded.predict(side, verbose=0), vectors, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
        tower.save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
        np.testing.assert_allclose(loaded.predict(side, verbose=0), vectors, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`name` must be one of"):
        trainer.tower("sound")
    # pairs and images give the same features
    np.testing.assert_allclose(trainer(x), trainer(x["image"]), rtol=1e-6)


def test_towers_take_images_of_integers_as_the_trainer_does():
    class Convolution(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.convolution = keras.layers.Conv2D(4, 3)

        def call(self, x):
            return keras.ops.mean(self.convolution(x), axis=(1, 2))

    trainer, x = trainers.CLIP(Convolution(), bert(pooling="mean"), width=8), first_pairs()
    trainer.compile("adam")
    trainer.fit(x, batch_size=12, verbose=0)
    whole, floats = (
        trainer.tower("image").predict(one, verbose=0)
        for one in (x["image"], x["image"].astype("float32"))
    )
    np.testing.assert_allclose(whole, floats, rtol=1e-5, atol=1e-6)


def test_a_frozen_tower_stays_as_it_is():
    image_encoder = encoder(normalize=True)
    image_encoder.trainable = False
    trainer = trainers.CLIP(image_encoder, bert(pooling="mean"), width=16)
    trainer.compile(keras.optimizers.Adam(1e-2))
    before = [weight.copy() for weight in image_encoder.get_weights()]
    text_before = [weight.copy() for weight in trainer.other_encoder.get_weights()]
    trainer.fit(first_pairs(), batch_size=12, verbose=0)
    for old, new in zip(before, image_encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    changed = zip(text_before, trainer.other_encoder.get_weights(), strict=True)
    assert any(np.any(old != new) for old, new in changed)


def test_texts_learned_from_images_are_found_by_them():
    """Retrieval of the image of a row, far above chance, from a tower of a text transformer."""
    keras.utils.set_random_seed(0)
    text = networks.text_transformer((32, 1, 4), VOCABULARY, max_length=16, seed=1)
    trainer = trainers.CLIP(encoder(), text, width=32)
    trainer.compile(keras.optimizers.Adam(3e-3))
    x = pairs()
    trainer.fit(x, batch_size=64, epochs=30, verbose=0)
    u, v = vectors_of(trainer, x)
    first = (u @ v.T).argmax(axis=1)
    assert np.mean(first == np.arange(len(u))) > 10 / len(u)
    assert evaluate.effective_rank(u.astype("float32")) > 2


def test_bad_arguments_and_data():
    with pytest.raises(ValueError, match="`names` must be two different strings"):
        trainers.CrossModal(encoder(), bert(), names=("a", "a"))
    with pytest.raises(ValueError, match="`names` must be two different strings"):
        trainers.CrossModal(encoder(), bert(), names=("a", "group_ids"))
    with pytest.raises(TypeError, match="`other_encoder`"):
        trainers.CLIP(encoder(), "bert")
    with pytest.raises(TypeError, match="`logit_scale`"):
        trainers.CLIP(encoder(), bert(), logit_scale=0.07)
    with pytest.raises(ValueError, match="`logit_scale` of SigLIP must have a bias"):
        trainers.SigLIP(encoder(), bert(), logit_scale=layers.LogitScale(0.1))
    x = first_pairs()
    with pytest.raises(ValueError, match=r"vectors of the same width.*16 for 'image' and 24"):
        wide = networks.bert((24, 1, 2), VOCABULARY, max_length=16, pooling="mean")
        loss_of(trainers.CLIP(encoder(), wide, width=None), x)
    with pytest.raises(ValueError, match="features of shape"):
        loss_of(trainers.CLIP(encoder(), gpt2(), width=8), x)
    empty = {**x["text"], "padding_mask": x["text"]["padding_mask"] * (np.arange(24) != 5)[:, None]}
    with pytest.raises(ValueError, match="1 without any, the first in row 5"):
        loss_of(CASES["CLIP"].make(), {**x, "text": empty})
    single = keras.tree.map_structure(lambda one: one[:1], x)
    trainer = CASES["CLIP"].make()
    trainer.compile("adam")
    with pytest.raises(ValueError, match="fewer than 2 examples"):
        trainer.fit(single, verbose=0)
