"""The encoder of recurrent layers in both directions: formula, padding, tags, training, saving."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import networks, trainers

RANDOM = np.random.default_rng(0)
IDS = RANDOM.integers(0, 11, (3, 6))
MASK = np.arange(6) < np.array([[6], [4], [2]])
INPUTS = {"token_ids": IDS, "padding_mask": MASK}
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow"
)


def make(**kwargs):
    """A network with weights that are not those of the start."""
    model = networks.RecurrentEncoder(11, 8, **{"seed": 0, **kwargs})
    random = np.random.default_rng(1)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return model


def close(found, expected):
    found, expected = (ops.convert_to_numpy(one) for one in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("padding", ["behind", "in front"])
def test_equals_layers_of_keras(padding):
    mask = MASK if padding == "behind" else MASK[:, ::-1]
    inputs = {"token_ids": IDS, "padding_mask": mask}
    model = make(depth=2, pooling="last")
    x = ops.take(model.token_embedding.embeddings, IDS, axis=0)
    for layer in model.blocks:
        before = x
        reference = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))
        reference.build(x.shape)
        reference.set_weights(layer.get_weights())
        x = reference(x, mask=mask)
    last = keras.layers.Bidirectional(keras.layers.LSTM(4))
    last.build(x.shape)
    last.set_weights(reference.get_weights())
    outputs = model(inputs, return_intermediates=True)
    close(outputs["tokens"], x)
    close(outputs["features"], last(before, mask=mask))
    assert len(outputs["blocks"]) == 2


@pytest.mark.parametrize("pooling", ["attention", "mean", "last", None])
def test_padding_changes_nothing(pooling):
    model = make(depth=2, cell="gru", pooling=pooling)
    outputs = model.encode(INPUTS)
    for row, length in enumerate((6, 4, 2)):
        alone = model.encode(IDS[row : row + 1, :length])
        close(outputs["tokens"][row, :length], alone["tokens"][0])
        close(outputs["pooled"][row], alone["pooled"][0])
    other = model.encode({**INPUTS, "token_ids": np.where(MASK, IDS, 3)})
    close(other["pooled"], outputs["pooled"])
    if pooling == "attention":
        scores = ops.convert_to_numpy(outputs["pooling_scores"])
        np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-6)
        assert not scores[~MASK].any()
        tokens = ops.convert_to_numpy(outputs["tokens"])
        close(outputs["pooled"], np.einsum("bt,btc->bc", scores, tokens))


@needs_tensorflow
def test_tags_depend_on_both_neighbours(tmp_path):
    """A tag is the pair of the tokens before and behind, drawn by chance.

    A model of one direction knows one of them. The other is one of three, except at the last, or
    first, of 8 tokens, so it is right in (7 / 3 + 1) / 8 = 42 % of cases at most.
    """
    ids = RANDOM.integers(1, 4, (320, 8))
    around = np.pad(ids, ((0, 0), (1, 1)), constant_values=1)
    tags = 3 * (around[:, :-2] - 1) + around[:, 2:] - 1
    model = networks.TokenClassifier(
        networks.RecurrentEncoder(4, 16, dropout_rate=0.0, seed=0), 9, dropout_rate=0.0, seed=0
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"], jit_compile=False)
    model.fit(ids[:256], tags[:256], batch_size=32, epochs=12, verbose=0)
    assert model.evaluate(ids[256:], tags[256:], verbose=0)[1] > 0.95
    model.save(tmp_path / "tagger.keras")
    again = keras.saving.load_model(tmp_path / "tagger.keras")
    close(again(ids), model(ids))
    assert again.encoder.get_config() == model.encoder.get_config()


@needs_tensorflow
def test_learns_without_labels(tmp_path):
    """Of numbers that count up, a hidden one is known from those around it."""
    x = (np.arange(12) + np.arange(64)[:, None]) % 9 + 2
    encoder = networks.RecurrentEncoder(11, 16, cell="gru", pooling="mean", seed=0)
    trainer = trainers.MaskedLM(encoder, mask_token_id=1, mask_ratio=0.25, seed=0)
    trainer.compile(keras.optimizers.Adam(0.02))
    losses = trainer.fit(x, epochs=20, batch_size=32, verbose=0).history["loss"]
    assert losses[-1] < 0.8 < 2 < losses[0]
    trainer.save(tmp_path / "trainer.keras")
    close(keras.saving.load_model(tmp_path / "trainer.keras")(x), trainer(x))


@needs_tensorflow
@pytest.mark.slow
def test_learns_by_dropout_views():
    x = np.arange(2, 66)[:, None] % np.arange(3, 11)
    encoder = networks.RecurrentEncoder(11, 16, pooling="attention", dropout_rate=0.2, seed=0)
    trainer = trainers.SimCSE(encoder)
    trainer.compile(keras.optimizers.Adam(0.01))
    losses = trainer.fit(x, epochs=8, batch_size=32, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("pooling", ["attention", "last"])
def test_mixed_precision_and_functional_models(pooling, set_dtype_policy):
    plain = make(pooling=pooling)
    set_dtype_policy("mixed_float16")
    model = make(pooling=pooling)
    found = model(INPUTS)
    assert keras.backend.standardize_dtype(found.dtype) == "float16"
    np.testing.assert_allclose(found, plain(INPUTS), atol=0.02)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    functional = keras.Model(inputs, networks.SentenceClassifier(model, 2)(inputs))
    assert functional({name: ops.cast(x, "int32") for name, x in INPUTS.items()}).shape == (3, 2)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`cell` must be one of.*'elman'"):
        make(cell="elman")
    with pytest.raises(ValueError, match=r"`pooling` must be one of.*'class'"):
        make(pooling="class")
    with pytest.raises(ValueError, match=r"`width` must be even.*width=7"):
        networks.RecurrentEncoder(11, 7)
    with pytest.raises(ValueError, match="`document_ids` cannot be used"):
        make()({"token_ids": IDS, "document_ids": IDS * 0})
    with pytest.raises(ValueError, match="`token_ids` must be from 0 to 10"):
        make()(IDS + 1)
