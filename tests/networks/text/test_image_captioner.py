"""Image captioner: formulas, decoding, training with a frozen encoder, saving, bad input."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import decoding, networks, trainers

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (3, 4, 4, 3)).astype("uint8")
IDS = RANDOM.integers(0, 11, (3, 5))
PAIR = {"encoder_images": IMAGES, "decoder_token_ids": IDS}
each_attention = pytest.mark.parametrize("attention", ["additive", "multiplicative", None])


def encoder(kind="map"):
    """An encoder to a map of 2x2 places of 5 features, or to another shape."""
    inputs = keras.Input((4, 4, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(5, 2, strides=2)(x))
    if kind == "tokens":
        x = keras.layers.Reshape((4, 5))(x)
    if kind == "vector":
        x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, x)


def make(kind="map", **kwargs):
    """A network with weights that are not those of the start."""
    model = networks.ImageCaptioner(encoder(kind), 11, 6, **{"seed": 0, **kwargs})
    random = np.random.default_rng(1)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype) and "variance" not in weight.path:
            weight.assign(weight + random.normal(0, 0.5, weight.shape))
    return model


def w(layer, name="kernel"):
    return ops.convert_to_numpy(getattr(layer, name)).astype("float64")


def dense(layer, x):
    return x @ w(layer) + (w(layer, "bias") if layer.use_bias else 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("kind", "attention"),
    [("map", "additive"), ("tokens", "multiplicative"), ("vector", "additive"), ("map", None)],
)
def test_equals_the_formula_of_the_papers(kind, attention):
    model = make(kind, attention=attention)
    features = ops.convert_to_numpy(model.encoder(IMAGES.astype("float32"))).astype("float64")
    s = dense(model.projection, features.reshape(3, -1, 5))
    h, c = (np.tanh(dense(layer, s.mean(1))) for layer in model.first_states)
    np.testing.assert_allclose(model(IMAGES), s.mean(1), rtol=1e-4, atol=1e-5)

    def attend(h):
        if kind == "vector":
            return np.ones((3, 1)), s[:, 0]
        query = dense(model.query, h)
        if attention == "additive":
            scores = np.tanh(query[:, None] + dense(model.key, s)) @ w(model.scores, "scale")
        else:
            scores = np.einsum("bc,bjc->bj", query, s)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        return weights, np.einsum("bj,bjc->bc", weights, s)

    asked = {"return_attention_scores": attention is not None}
    outputs = model.decode(IDS, model.encode(IMAGES)["tokens"], **asked)
    for t in range(IDS.shape[1]):
        e = w(model.token_embedding, "embeddings")[IDS[:, t]]
        if attention == "additive":
            weights, context = attend(h)
            e = np.concatenate([e, context], axis=-1)
        cell = model.decoder.cell
        sums = e @ w(cell) + h @ w(cell, "recurrent_kernel") + w(cell, "bias")
        i, f, g, o = np.split(sums, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        expected = h
        if attention == "multiplicative":
            weights, context = attend(h)
        if attention is not None:
            expected = np.tanh(dense(model.output_layer, np.concatenate([h, context], axis=-1)))
            found = outputs["context_scores"][0][:, 0, t]
            np.testing.assert_allclose(found, weights, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(outputs["tokens"][:, t], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model(PAIR), outputs["features"], rtol=1e-5, atol=1e-6)


def log_probabilities(model, images, ids):
    """Log-probabilities of all tokens behind `ids`, without a cache."""
    features = model({"encoder_images": images, "decoder_token_ids": ids})
    logits = ops.convert_to_numpy(model.logits(features)).astype("float64")
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@each_attention
def test_writes_what_it_would_without_a_cache(attention):
    model = make(attention=attention)
    found = decoding.decode(model, [[1]] * 3, length=5, context=IMAGES)
    ids = np.ones((3, 1), int)
    for _ in range(4):
        ids = np.append(ids, log_probabilities(model, IMAGES, ids)[:, -1:].argmax(-1), axis=1)
    np.testing.assert_array_equal(found.token_ids, ids)
    for method in (decoding.BeamSearch(3), decoding.Sampling()):
        found = decoding.decode(model, [[1]] * 3, length=5, context=IMAGES, method=method)
        log_p = log_probabilities(model, IMAGES, found.token_ids[:, :-1])
        log_p = np.take_along_axis(log_p, found.token_ids[:, 1:, None], axis=-1).sum((1, 2))
        np.testing.assert_allclose(found.log_probabilities, log_p, rtol=1e-4, atol=1e-4)


@each_attention
def test_a_token_sees_the_image_and_those_before(attention):
    model = make(attention=attention)
    features = ops.convert_to_numpy(model(PAIR))
    changed = (IDS + np.array([0, 0, 1, 1, 1])) % 11
    later = ops.convert_to_numpy(model({**PAIR, "decoder_token_ids": changed}))
    np.testing.assert_allclose(later[:, :2], features[:, :2], rtol=1e-6, atol=1e-7)
    assert np.abs(later - features)[:, 2:].max(axis=-1).min() > 1e-4
    others = ops.convert_to_numpy(model({**PAIR, "encoder_images": IMAGES[::-1].copy()}))
    assert np.abs(others - features)[[0, 2]].max(axis=-1).min() > 1e-4


def test_padding_and_kinds_of_numbers_change_nothing():
    model = make()
    features = ops.convert_to_numpy(model(PAIR))
    masked = {**PAIR, "decoder_padding_mask": np.arange(5) < np.array([[3]] * 3)}
    np.testing.assert_allclose(model(masked)[:, :3], features[:, :3], rtol=1e-5, atol=1e-6)
    for dtype in ("int64", "float32", "float64"):
        again = model({**PAIR, "encoder_images": IMAGES.astype(dtype)})
        np.testing.assert_allclose(again, features, rtol=1e-5, atol=1e-6)
    symbolic = {
        "encoder_images": keras.Input((4, 4, 3), dtype="uint8"),
        "decoder_token_ids": keras.Input((5,), dtype="int32"),
    }
    assert model(symbolic).shape == (None, 5, 6)
    assert model(symbolic["encoder_images"]).shape == (None, 6)
    half = make(dtype="mixed_bfloat16")(PAIR)
    assert keras.backend.standardize_dtype(half.dtype) == "bfloat16"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow")
def test_learns_by_seq2seq_with_a_frozen_encoder_and_is_saved(tmp_path):
    # images of one of four colours, whose captions say its number and, twice, the next one
    colors = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]])
    number = np.arange(128) % 4
    images = np.broadcast_to(colors[number][:, None, None], (128, 4, 4, 3)).astype("uint8")
    captions = np.stack([number * 0 + 1, number + 2, number + 3, number + 3], axis=1)
    frozen = encoder()
    frozen.trainable = False
    before = frozen.get_weights()
    network = networks.ImageCaptioner(frozen, 8, 16, dropout_rate=0.0, seed=0)
    trainer = trainers.Seq2Seq(network)
    trainer.compile(keras.optimizers.Adam(0.02))
    losses = trainer.fit(
        {"source": images, "target": captions}, epochs=15, batch_size=32, verbose=0
    ).history["loss"]
    assert losses[-1] < 0.3 < 1.5 < losses[0]
    for one, other in zip(frozen.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    trainer.save(tmp_path / "trainer.keras")
    again = keras.saving.load_model(tmp_path / "trainer.keras").encoder
    assert not again.encoder.trainable_weights
    np.testing.assert_allclose(again(images[:8]), trainer.predict(images[:8], verbose=0), rtol=1e-5)
    found = decoding.decode(again, [[1]] * 8, length=4, context=images[:8]).token_ids
    np.testing.assert_array_equal(found, captions[:8])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow")
def test_wrong_sources_are_named_before_training():
    trainer = trainers.Seq2Seq(make())
    trainer.compile("sgd")
    for source, message in (
        (IMAGES[:, :3], r"Images must be numbers of shape \(None, 4, 4, 3\).*3, 4, 3"),
        (IMAGES.astype(str), "Images must be numbers|dtype"),
        (IDS, "Images must be numbers of shape"),
        ({"token_ids": IDS}, "a dictionary of \\['token_ids'\\]"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            trainer.fit({"source": source, "target": IDS}, verbose=0)
    with pytest.raises(ValueError, match=r"'target' must lie in 0\.\.10"):
        trainer.fit({"source": IMAGES, "target": IDS + 6}, verbose=0)
    assert trainer.evaluate({"source": {"images": IMAGES}, "target": IDS}, verbose=0) > 0


def test_bad_arguments_and_inputs_are_named():
    inputs, other = keras.Input((4, 4, 3)), keras.Input((4, 4, 3))
    for wrong, error, message in (
        (keras.layers.Dense(4), TypeError, "`encoder` must be a `keras.Model`"),
        (keras.Sequential([keras.layers.Dense(4)]), ValueError, "output shape is known"),
        (keras.Model(inputs, ops.max(inputs)), ValueError, r"\(batch, features\)"),
        (keras.Model(inputs, [inputs, inputs]), ValueError, r"\(batch, features\)"),
        (keras.Model([inputs, other], inputs + other), ValueError, "must have one input"),
    ):
        with pytest.raises(error, match=message):
            networks.ImageCaptioner(wrong, 11, 6)
    with pytest.raises(ValueError, match=r"`attention` must be one of.*'dot'"):
        networks.ImageCaptioner(encoder(), 11, 6, attention="dot")
    model = make(attention=None)
    with pytest.raises(ValueError, match="`return_attention_scores` needs"):
        model.decode(IDS, model.encode(IMAGES)["tokens"], return_attention_scores=True)
    with pytest.raises(ValueError, match="must have 'encoder_images' and 'decoder_token_ids'"):
        model({"encoder_token_ids": IDS, "decoder_token_ids": IDS})
    with pytest.raises(ValueError, match="`context` must be the source"):
        decoding.decode(model, [[1]], 3)
    with pytest.raises(ValueError, match="`context` must have 2 rows"):
        model.make_cache(2, 5, IMAGES)
    with pytest.raises(ValueError, match="Images must be numbers of shape"):
        decoding.decode(model, [[1]] * 3, 3, context=IMAGES[..., :1])
    with pytest.raises(ValueError, match="`token_ids` must be from 0 to 10"):
        model({**PAIR, "decoder_token_ids": IDS + 11})
