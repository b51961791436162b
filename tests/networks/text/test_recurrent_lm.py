"""The language model of recurrent layers: formula, padding, decoding, training, bad input."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import decoding, networks, trainers
from tests.losses.gradients import value_and_gradients

IDS = np.random.default_rng(0).integers(0, 11, (3, 6))
MASK = np.arange(6) < np.array([[6], [4], [2]])


def make(**kwargs):
    """A network with weights that are not those of the start."""
    model = networks.RecurrentLM(11, 8, **{"depth": 2, "seed": 0, **kwargs})
    random = np.random.default_rng(1)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return model


def test_equals_layers_of_keras():
    model = make()
    x = ops.take(model.token_embedding.embeddings, IDS, axis=0)
    for layer in model.blocks:
        reference = keras.layers.LSTM(8, return_sequences=True)
        reference.build(x.shape)
        reference.set_weights(layer.get_weights())
        x = reference(x, mask=MASK)
    inputs = {"token_ids": IDS, "padding_mask": MASK}
    outputs = model(inputs, return_intermediates=True)
    np.testing.assert_allclose(outputs["tokens"], x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs["pooled"], x[:, -1], rtol=1e-5, atol=1e-6)
    table = ops.convert_to_numpy(model.token_embedding.embeddings)
    expected = ops.convert_to_numpy(x) @ table.T
    np.testing.assert_allclose(model.logits(outputs["tokens"]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "minimal_gru", "rnn"])
def test_states_are_a_cache(cell):
    model = make(cell=cell)
    whole = model.logits(model(IDS))
    cache, found = model.make_cache(3, 6), []
    for start, end in ((0, 3), (3, 4), (4, 6)):
        logits, cache = model.decode_step(IDS[:, start:end], cache, start)
        found.append(logits)
    np.testing.assert_allclose(ops.concatenate(found, axis=1), whole, rtol=1e-5, atol=1e-5)


def test_writes_what_it_would_without_a_cache():
    model = make()
    prompts = [[3, 4, 5], [7]]
    found = decoding.decode(model, prompts, length=9).token_ids
    for row, prompt in zip(found, prompts, strict=True):
        ids = list(prompt)
        while len(ids) < 9:
            ids.append(int(np.argmax(model.logits(model(np.array([ids])))[0, -1])))
        np.testing.assert_array_equal(row, ids)


def test_sees_no_token_behind():
    model = make()
    onto = ops.take(model.token_embedding.embeddings, IDS, axis=0)

    def third(x):
        for layer in model.blocks:
            x = layer(x)[0]
        return ops.sum(x[:, 2])

    _, (gradient,) = value_and_gradients(third, ops.convert_to_numpy(onto))
    reaches = np.abs(gradient).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(reaches, [1, 1, 1, 0, 0, 0])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow")
def test_learns_by_causal_lm_and_is_saved(tmp_path):
    text = np.arange(8 * 12).reshape(8, 12) % 11  # each number follows the one before
    trainer = trainers.CausalLM(
        networks.RecurrentLM(11, 16, cell="gru", dropout_rate=0.1, seed=0, pooling="last")
    )
    trainer.compile(keras.optimizers.Adam(0.02))
    losses = trainer.fit(text, epochs=40, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < 0.5 < 2 < losses[0]
    found = decoding.decode(trainer.encoder, [[4, 5, 6]], max_new_tokens=4).token_ids
    np.testing.assert_array_equal(found, [[4, 5, 6, 7, 8, 9, 10]])
    trainer.save(tmp_path / "trainer.keras")
    again = keras.saving.load_model(tmp_path / "trainer.keras")
    np.testing.assert_allclose(again(text), trainer(text), rtol=1e-6, atol=1e-6)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`cell` must be one of.*'elman'"):
        networks.RecurrentLM(11, 8, cell="elman")
    with pytest.raises(ValueError, match=r"`pooling` must be one of.*'first'"):
        networks.RecurrentLM(11, 8, pooling="first")
    model = make()
    with pytest.raises(ValueError, match="`document_ids` cannot be used"):
        model({"token_ids": IDS, "document_ids": IDS * 0})
    with pytest.raises(ValueError, match="`token_ids` must be from 0 to 10"):
        model(IDS + 1)
    with pytest.raises(ValueError, match="`context` must be None"):
        decoding.decode(model, [[1]], 3, context=IDS[:1])
