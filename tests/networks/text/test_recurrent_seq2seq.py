"""Recurrent encoder and decoder: attention's formulas, padding, decoding, training, bad input."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import decoding, networks, trainers

RANDOM = np.random.default_rng(0)
SOURCE, TARGET = RANDOM.integers(0, 11, (3, 5)), RANDOM.integers(0, 11, (3, 4))
MASK = np.arange(5) < np.array([[5], [3], [1]])
each_attention = pytest.mark.parametrize("attention", ["additive", "multiplicative", None])


def make(**kwargs):
    """A network with weights that are not those of the start."""
    model = networks.RecurrentSeq2Seq(11, 8, **{"seed": 0, **kwargs})
    random = np.random.default_rng(1)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return model


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@each_attention
def test_equals_the_formula_of_the_paper(attention):
    model = make(attention=attention, cell="rnn")
    s = ops.convert_to_numpy(model.encode({"token_ids": SOURCE, "padding_mask": MASK})["tokens"])
    asked = {"return_attention_scores": attention is not None}
    outputs = model.decode(TARGET, s, MASK, **asked)

    def w(layer):
        return ops.convert_to_numpy(layer.kernel).astype("float64")

    cell = model.decoder.cell
    u, b = (ops.convert_to_numpy(one) for one in (cell.recurrent_kernel, cell.bias))
    (first,) = model.first_states
    mean = (s * MASK[..., None]).sum(1) / MASK.sum(1, keepdims=True)
    h = np.tanh(mean @ w(first) + ops.convert_to_numpy(first.bias))
    embeddings = ops.convert_to_numpy(model.token_embedding.embeddings)

    def attend(h):
        query = h @ w(model.query)
        if attention == "additive":
            v = ops.convert_to_numpy(model.scores.scale)
            scores = np.tanh(query[:, None] + s @ w(model.key)) @ v
        else:
            scores = np.einsum("bc,bjc->bj", query, s)
        weights = softmax(np.where(MASK, scores, -1e30))
        return weights, np.einsum("bj,bjc->bc", weights, s)

    for t in range(4):
        e = embeddings[TARGET[:, t]]
        if attention == "additive":
            weights, c = attend(h)
            e = np.concatenate([e, c], axis=-1)
        h = np.tanh(e @ w(cell) + h @ u + b)
        if attention is None:
            np.testing.assert_allclose(outputs["tokens"][:, t], h, rtol=1e-4, atol=1e-5)
            continue
        if attention == "multiplicative":
            weights, c = attend(h)
        o = np.tanh(np.concatenate([h, c], axis=-1) @ w(model.output_layer))
        np.testing.assert_allclose(outputs["tokens"][:, t], o, rtol=1e-4, atol=1e-5)
        found = outputs["context_scores"][0][:, 0, t]
        np.testing.assert_allclose(found, weights, rtol=1e-4, atol=1e-5)


@each_attention
def test_padding_changes_nothing(attention):
    model = make(attention=attention, cell="lstm", depth=2)
    inputs = {"encoder_token_ids": SOURCE, "decoder_token_ids": TARGET}
    masked = model({**inputs, "encoder_padding_mask": MASK})
    alone = {"encoder_token_ids": SOURCE[1:2, :3], "decoder_token_ids": TARGET[1:2]}
    np.testing.assert_allclose(masked[1:2], model(alone), rtol=1e-4, atol=1e-5)
    assert model(SOURCE).shape == (3, 5, 8)
    assert make(pooling="mean")(SOURCE).shape == (3, 8)


@each_attention
def test_writes_what_it_would_without_a_cache(attention):
    model = make(attention=attention)
    found = decoding.decode(model, [[1]] * 3, length=5, context=SOURCE).token_ids
    for row, source in zip(found, SOURCE, strict=True):
        ids = [1]
        while len(ids) < 5:
            pair = {"encoder_token_ids": source[None], "decoder_token_ids": np.array([ids])}
            ids.append(int(np.argmax(model.logits(model(pair))[0, -1])))
        np.testing.assert_array_equal(row, ids)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow")
def test_learns_to_reverse_by_seq2seq_and_is_saved(tmp_path):
    source = RANDOM.integers(2, 8, (256, 4))
    target = np.concatenate([np.ones((256, 1), int), source[:, ::-1]], axis=1)
    network = networks.RecurrentSeq2Seq(8, 32, attention="additive", dropout_rate=0.0, seed=0)
    trainer = trainers.Seq2Seq(network)
    trainer.compile(keras.optimizers.Adam(0.01))
    losses = trainer.fit(
        {"source": source, "target": target}, epochs=25, batch_size=64, verbose=0
    ).history["loss"]
    assert losses[-1] < 0.3 < 1.2 < losses[0]
    trainer.save(tmp_path / "trainer.keras")
    again = keras.saving.load_model(tmp_path / "trainer.keras").encoder
    found = decoding.decode(again, [[1]] * 64, length=5, context=source[:64]).token_ids
    assert np.mean(found == target[:64]) > 0.9


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"`attention` must be one of.*'dot'"):
        networks.RecurrentSeq2Seq(11, 8, attention="dot")
    with pytest.raises(ValueError, match="`width` must be even"):
        networks.RecurrentSeq2Seq(11, 7)
    with pytest.raises(ValueError, match=r"`context` must be the source"):
        decoding.decode(make(), [[1]], 3)
    with pytest.raises(ValueError, match="`token_ids` must be from 0 to 10"):
        make()(SOURCE + 1)
