"""VQKD: its loss, its teacher, its tokens, the use of its codes, errors."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers, networks, trainers
from tests.trainers.case import Case
from tests.trainers.masked.small import BAD_PATCHES, made, tiny_vit
from tests.trainers.small import images


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class PatchStatistics(keras.layers.Layer):
    """A teacher that is no transformer: scaled pixels of each 7x7 patch."""

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(49,), initializer="ones", name="scale")

    def call(self, x):
        x = ops.reshape(ops.cast(x, "float32") / 255, (-1, 4, 7, 4, 7))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4)), (-1, 16, 49)) * self.scale


def parts(**changes):
    """Return the arguments of a small trainer: 16 patches, 12 codes of width 6."""
    return {
        "encoder": tiny_vit(),
        "teacher": networks.vit((20, 1, 2), (28, 28, 1), patch_size=7),
        "projector": layers.ProjectionHead((16, 6), normalization=False, activation="tanh"),
        "quantizer": layers.VectorQuantizer(12, "cosine", commitment=1.0, seed=0),
        "decoder": layers.TokenDecoder(width=16, depth=1, num_heads=2),
        **changes,
    }


CASES = {
    "VQKD": Case(
        make=lambda: trainers.VQKD(**parts()),
        decreasing_loss="distillation",
        decrease=0.25,
        epochs=6,
        bad_data=BAD_PATCHES,
    ),
}


def unit(x):
    x = np.asarray(x, "float64")
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def nearest(trainer, x):
    """Return the vectors and their nearest codes, float64, and the numbers of these."""
    vectors = unit(trainer.tokenizer.project(x)[1]).reshape(len(x), 16, 6)
    codes = unit(trainer.quantizer.codebook)
    numbers = (vectors @ codes.T).argmax(axis=-1)
    return vectors, codes[numbers], numbers


@pytest.fixture(scope="module")
def trained():
    """A trainer after a step, so that codes are not those of the start, with what it saw."""
    trainer, x = made("VQKD", **parts()), images()[0][:8]
    before = trainer.teacher.get_weights(), np.asarray(trainer.encoder.patch_embedding.kernel)
    trainer.train_on_batch(x)
    return trainer, x, before


def test_loss_matches_the_paper(trained):
    trainer, x, _ = trained
    vectors, codes, _ = nearest(trainer, x)
    decoded = trainer.decoder(codes.astype("float32"), grid=(4, 4))
    kernel, bias = (np.asarray(w, "float64") for w in trainer.to_targets.weights)
    decoded = np.asarray(decoded) @ kernel + bias
    teacher = trainer.teacher
    target = teacher.encode(teacher.embed(x), (4, 4))["patch_tokens"]
    found = trainer.compute_losses(trainers.Batch(x, x), training=False)
    expected = 1 - (unit(decoded) * unit(target)).sum(axis=-1).mean()
    assert np.mean(found["distillation"]) == pytest.approx(expected, rel=1e-4)
    assert np.mean(found["commitment"]) == pytest.approx(np.mean((vectors - codes) ** 2), rel=1e-4)
    assert set(found) == {"distillation", "commitment", "representation"}


def test_tokens_are_the_nearest_codes(trained):
    trainer, x, _ = trained
    before = np.asarray(trainer.quantizer.codebook)
    tokens = np.asarray(trainer.tokenize(x))
    assert tokens.dtype == "int32"
    np.testing.assert_array_equal(tokens, nearest(trainer, x)[2])
    np.testing.assert_array_equal(trainer.quantizer.codebook, before)  # a call does not learn


def test_tokenizer_is_saved_alone(trained, tmp_path):
    trainer, x, _ = trained
    trainer.tokenizer.save(tmp_path / "tokenizer.keras")
    loaded = keras.saving.load_model(tmp_path / "tokenizer.keras")
    np.testing.assert_array_equal(loaded(x), trainer.tokenize(x))
    assert loaded.codes == 12 and loaded.grid((8, 28, 28, 1)) == (4, 4)


def test_only_encoder_projector_and_decoder_get_gradients(trained):
    trainer, _, (teacher, kernel) = trained
    networks_that_learn = (
        trainer.encoder,
        trainer.projector,
        trainer.decoder,
        trainer.to_targets,
    )
    learned = {id(w) for part in networks_that_learn for w in part.trainable_weights}
    assert {id(w) for w in trainer.trainable_weights} == learned
    assert np.abs(np.asarray(trainer.encoder.patch_embedding.kernel) - kernel).max() > 0
    for one, other in zip(trainer.teacher.get_weights(), teacher, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.full
def test_logs_tell_the_use_of_the_codebook():
    trainer, x = made("VQKD", optimizer="adam", **parts()), images()[0][:128]
    logs = trainer.fit(x, batch_size=32, epochs=3, verbose=0).history
    usage = np.asarray(trainer.quantizer.usage, "float64")
    share = usage / usage.sum()
    entropy = -(share * np.log(share)).sum()
    assert logs["codebook_use"][-1] == pytest.approx(np.exp(entropy) / 12, rel=1e-4)
    assert len(np.unique(trainer.tokenize(x))) >= 4  # no collapse to a few codes


def test_teacher_may_be_any_layer_of_patches():
    teacher = PatchStatistics()
    teacher.build((None, 28, 28, 1))
    trainer, x = made("VQKD", **parts(teacher=teacher)), images()[0][:8]
    found = trainer.compute_losses(trainers.Batch(x, x), training=False)
    assert found["distillation"].shape == (8, 16)


def test_defaults_match_the_paper():
    trainer = trainers.VQKD(tiny_vit(), parts()["teacher"])
    quantizer, decoder = trainer.quantizer, trainer.decoder
    assert (quantizer.codes, quantizer.similarity, quantizer.momentum) == (8192, "cosine", 0.99)
    assert quantizer.commitment == 1.0 and trainer.projector.widths == (768, 32)
    assert (decoder.width, decoder.depth, decoder.num_heads) == (768, 3, 12)


def unbuilt():
    return PatchStatistics()


def of_other_patches():
    return networks.vit((20, 1, 2), (28, 28, 1), patch_size=14)


class Pooled(keras.layers.Layer):
    """A decoder that forgets which patch is which."""

    def call(self, codes, grid):
        return ops.mean(codes, axis=1)


def pooled():
    teacher = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(4, 7, 7)])
    return keras.Sequential([teacher, keras.layers.GlobalAveragePooling2D()])


MAKERS = ("of_other_patches", "pooled", "unbuilt")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(4)}, TypeError, "`encoder` must be a `keras_ssl.networks"),
        ({"teacher": "dino"}, TypeError, "`teacher`"),
        ({"teacher": unbuilt}, ValueError, "`teacher` must be a trained model"),
        ({"teacher": of_other_patches}, ValueError, r"same grid.*\(2, 2\) and \(4, 4\)"),
        ({"teacher": pooled}, ValueError, r"batch, patches, features.*\(4, 4\).*\(8, 4\)"),
        ({"projector": 32}, TypeError, "`projector`"),
        ({"quantizer": keras.layers.Dense(4)}, TypeError, "`quantizer`"),
        ({"decoder": 3}, TypeError, "`decoder`"),
        ({"decoder": Pooled()}, ValueError, r"each of 16 patches.*\(8, 6\)"),
    ],
)
def test_invalid_arguments_are_rejected_before_the_first_step(changes, error, message):
    changes = {
        name: part() if callable(part) and getattr(part, "__name__", "") in MAKERS else part
        for name, part in changes.items()
    }
    with pytest.raises(error, match=message):
        made("VQKD", **parts(**changes))


def test_teacher_must_not_be_the_student():
    encoder = tiny_vit()
    with pytest.raises(ValueError, match="must not share weights"):
        trainers.VQKD(**parts(encoder=encoder, teacher=encoder))


@pytest.mark.full
def test_variables_are_named_by_the_attributes_of_the_trainer():
    """The tokenizer holds encoder, projector and quantizer too."""
    trainer = trainers.VQKD(**parts())
    factors = {"^encoder/": 0.0, "^projector/": 0.0, "^decoder/": 0.0, "^to_targets/": 0.0}
    trainer.compile(keras.optimizers.SGD(0.1), learning_rate_multipliers=factors)
    x = images()[0][:8]
    trainer.train_on_batch(x)
    before = [np.asarray(v) for v in trainer.trainable_variables]
    trainer.train_on_batch(x)
    for v, old in zip(trainer.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(v, old)
