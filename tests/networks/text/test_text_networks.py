"""BERT, GPT-2 and the transformer: formulas, masks, packed documents, saving, LoRA, bad input."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import networks
from keras_ssl._copying import copy_layer

to_numpy = ops.convert_to_numpy
IDS = np.random.default_rng(0).integers(0, 11, (3, 6))
MASK = np.arange(6) < np.array([[6], [4], [2]])
SOURCE = np.random.default_rng(1).integers(0, 11, (3, 5))

KINDS = {
    "bert": lambda **kwargs: networks.bert((8, 2, 2), 11, **{"max_length": 8, **kwargs}),
    "gpt2": lambda **kwargs: networks.gpt2((8, 2, 2), 11, **{"max_length": 8, **kwargs}),
    "transformer": lambda **kwargs: networks.transformer((8, 1, 2), 11, **kwargs),
}


def make(kind, **kwargs):
    """Return a network with weights that are not those of the start."""
    model = KINDS[kind](**{"seed": 0, **kwargs})
    random = np.random.default_rng(1)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):  # and no state of a generator
            weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return model


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=tolerance, atol=tolerance)


def normalized(x, norm):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.epsilon)
    return x * to_numpy(norm.gamma) + to_numpy(norm.beta)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attended(layer, x, allowed):
    """Attention in NumPy, float64."""
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = layer.get_projections()
    heads = layer.num_heads

    def split(h):
        return h.reshape(*h.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    q, k, v = (split(x @ w + b) for w, b in ((wq, bq), (wk, bk), (wv, bv)))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1])
    mixed = softmax(np.where(allowed, scores, -1e30)) @ v
    return mixed.transpose(0, 2, 1, 3).reshape(x.shape) @ wo + bo


def fed_forward(layer, x, activation):
    hidden, outputs = layer.hidden, layer.outputs
    h = activation(x @ to_numpy(hidden.kernel) + to_numpy(hidden.bias))
    return h @ to_numpy(outputs.kernel) + to_numpy(outputs.bias)


def test_bert_is_its_formula():
    model = make("bert")
    segments = (np.arange(6) > 2).astype(int)[None].repeat(3, 0)
    x = to_numpy(model.token_embedding.embeddings).astype("float64")[IDS]
    x = x + to_numpy(model.position_embedding.embeddings)[:6]
    x = normalized(x + to_numpy(model.segment_embedding.embeddings)[segments], model.embedding_norm)
    erf = np.vectorize(math.erf)
    for block in model.blocks:
        x = x + attended(block.attention, x, MASK[:, None, None])
        x = normalized(x, block.attention_residual.norm)
        x = x + fed_forward(block.feed_forward, x, lambda h: h * (1 + erf(h / np.sqrt(2))) / 2)
        x = normalized(x, block.feed_forward_residual.norm)
    inputs = {"token_ids": IDS, "padding_mask": MASK, "segment_ids": segments}
    found = model(inputs, return_intermediates=True)
    close(to_numpy(found["tokens"])[MASK], x[MASK], 1e-4)
    kernel, bias = (to_numpy(one) for one in (model.pooler.kernel, model.pooler.bias))
    close(found["pooled"], np.tanh(x[:, 0] @ kernel + bias), 1e-4)


def test_gpt2_is_its_formula():
    model = make("gpt2")
    x = to_numpy(model.token_embedding.embeddings).astype("float64")[IDS]
    x = x + to_numpy(model.position_embedding.embeddings)[:6]
    for block in model.blocks:
        h = normalized(x, block.attention_residual.norm)
        x = x + attended(block.attention, h, np.tri(6, dtype=bool))
        h = normalized(x, block.feed_forward_residual.norm)
        x = x + fed_forward(
            block.feed_forward,
            h,
            lambda h: h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))) / 2,
        )
    x = normalized(x, model.norm)
    close(model(IDS), x, 1e-4)
    close(model.logits(model(IDS)), x @ to_numpy(model.token_embedding.embeddings).T, 1e-4)


@pytest.mark.few(1)
@pytest.mark.parametrize("norm_first", [False, True])
def test_transformer_is_made_of_keras_layers(norm_first):
    """The same from Keras' own attention, with its weights taken from the blocks."""
    model = make("transformer", norm_first=norm_first, source_vocabulary_size=11)
    angles = np.arange(6)[:, None] / 10000 ** (np.arange(0, 8, 2) / 8)
    positions = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(6, 8)

    def embedded(embedding, ids):
        table = to_numpy(embedding.embeddings)
        return (table[ids] * np.sqrt(8) + positions[: ids.shape[1]]).astype("float32")

    def part(residual, x, run):
        y = x + to_numpy(run(normalized(x, residual.norm) if norm_first else x))
        return y.astype("float32") if norm_first else normalized(y, residual.norm)

    def relu(h):
        return np.maximum(h, 0)

    x, y = embedded(model.source_embedding, SOURCE), embedded(model.token_embedding, IDS)
    source_mask = np.arange(5) < np.array([[5], [4], [2]])
    for block in model.encoder_blocks:
        own = block.attention.to_keras()
        x = part(
            block.attention_residual,
            x,
            lambda h, own=own: own(h, h, attention_mask=source_mask[:, None]),
        )
        x = part(
            block.feed_forward_residual, x, lambda h, b=block: fed_forward(b.feed_forward, h, relu)
        )
    x = normalized(x, model.encoder_norm) if norm_first else x
    for block in model.decoder_blocks:
        own, cross = block.attention.to_keras(), block.cross_attention.to_keras()
        y = part(block.attention_residual, y, lambda h, own=own: own(h, h, use_causal_mask=True))
        y = part(
            block.cross_attention_residual,
            y,
            lambda h, cross=cross: cross(h, x, attention_mask=source_mask[:, None]),
        )
        y = part(
            block.feed_forward_residual, y, lambda h, b=block: fed_forward(b.feed_forward, h, relu)
        )
    y = normalized(y, model.decoder_norm) if norm_first else y
    inputs = {
        "encoder_token_ids": SOURCE,
        "encoder_padding_mask": source_mask,
        "decoder_token_ids": IDS,
    }
    close(model(inputs), y, 1e-4)
    outputs = model(inputs, return_intermediates=True)
    close(outputs["tokens"], y, 1e-4)
    source = {"token_ids": SOURCE, "padding_mask": source_mask}
    close(to_numpy(outputs["encoder"]["tokens"])[source_mask], x[source_mask], 1e-4)
    scores = model.decode(
        IDS, outputs["encoder"]["tokens"], source_mask, return_attention_scores=True
    )
    assert scores["context_scores"][0].shape == (3, 2, 6, 5)
    assert (to_numpy(scores["context_scores"][0])[2, ..., 2:] == 0).all()
    close(model(source), outputs["encoder"]["features"])


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    model = make(kind, pooling=None)
    found = to_numpy(model({"token_ids": IDS, "padding_mask": MASK}))
    for row, count in ((1, 4), (2, 2)):
        close(found[row, :count], to_numpy(model(IDS[row : row + 1, :count]))[0])


@pytest.mark.parametrize(
    ("kind", "pooling"), [("transformer", "class"), ("gpt2", "mean"), ("gpt2", "last")]
)
def test_pooling(kind, pooling):
    model = make(kind, pooling=pooling)
    for mask in (MASK, None):
        found = model({"token_ids": IDS, "padding_mask": mask}, return_intermediates=True)
        tokens = to_numpy(found["tokens"])
        counts = [6, 6, 6] if mask is None else [6, 4, 2]
        expected = [
            {"class": x[0], "mean": x[:count].mean(0), "last": x[count - 1]}[pooling]
            for x, count in zip(tokens, counts, strict=True)
        ]
        close(found["features"], expected)
        close(found["pooled"], expected)
    with pytest.raises(ValueError, match=r"`pooling` must be one of .*Received: pooling='first'"):
        KINDS[kind](pooling="first")


def test_pooling_at_the_end_of_a_text():
    """The first end token, or the last token of a text without one; padding is no end."""
    ids = np.array([[1, 9, 3, 9, 2, 2], [4, 3, 2, 1, 9, 9], [5, 6, 1, 10, 0, 0]])
    mask = np.arange(6) < np.array([[6], [4], [5]])
    given = {"token_ids": ids, "padding_mask": mask}
    for end_token, with_mask, without in ((9, [1, 3, 4], [1, 4, 5]), (None, [1, 0, 3], [1, 4, 3])):
        model = make("gpt2", pooling="end", end_token=end_token)
        for inputs, places in ((given, with_mask), (ids, without)):
            found = model(inputs, return_intermediates=True)
            close(found["features"], to_numpy(found["tokens"])[np.arange(3), places])
    for bad in ({"end_token": 9}, {"end_token": 11, "pooling": "end"}):
        with pytest.raises(ValueError, match="`end_token` must be below `vocabulary_size`"):
            KINDS["gpt2"](**bad)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_packed_documents_are_what_they_are_alone(kind):
    model = make(kind, pooling=None)
    documents = np.array([[0, 0, 1, 1, 1, 2], [5, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4, 5]])
    found = to_numpy(model({"token_ids": IDS, "document_ids": documents}))
    for row in range(3):
        for document in set(documents[row]):
            where = documents[row] == document
            close(found[row, where], to_numpy(model(IDS[row : row + 1, where]))[0])


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("bert", {"pooler": False, "segments": 3, "hidden_dim": 5, "activation": "relu"}),
        ("gpt2", {"use_bias": False, "pooling": "last"}),
        ("gpt2", {"pooling": "end", "end_token": 9, "activation": "quick_gelu"}),
        ("transformer", {"norm_first": False, "source_vocabulary_size": 13, "pooling": "mean"}),
    ],
)
def test_saving_and_copies(kind, arguments, tmp_path):
    model = make(kind, **arguments)
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for same in (loaded, copy_layer(model)):
        close(same(IDS), model(IDS))
    assert tuple(model(IDS).shape) == model.compute_output_shape((3, 6))


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS)
def test_functional_models(kind):
    model = make(kind, pooling="mean")
    inputs = {
        "token_ids": keras.Input((None,), dtype="int32", name="token_ids"),
        "padding_mask": keras.Input((None,), dtype="bool", name="padding_mask"),
    }
    whole = keras.Model(inputs, model(inputs) * 2.0)
    given = {"token_ids": IDS, "padding_mask": MASK}
    close(whole(given), model(given) * 2.0)
    outputs = model(keras.KerasTensor((None, 6), "int32"), return_intermediates=True)
    assert outputs["tokens"].shape == (None, 6, 8) and outputs["pooled"].shape == (None, 8)


def test_initial_weights():
    one, other, another = (networks.gpt2((64, 1, 2), 11, seed=seed) for seed in (0, 0, 1))
    kernels = []
    for weight, same, unlike in zip(one.weights, other.weights, another.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), to_numpy(same))
        if len(weight.shape) == 2:
            assert (to_numpy(weight) != to_numpy(unlike)).all()
            kernels.append(to_numpy(weight))
    assert len({kernel[0, 0] for kernel in kernels}) == len(kernels)
    outputs = to_numpy(one.blocks[0].feed_forward.outputs.kernel)
    np.testing.assert_allclose(outputs.std(), 0.02 / np.sqrt(2), rtol=0.05)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", ["transformer", "bert", "gpt2"])
def test_lora(kind, tmp_path):
    model = make(kind, pooling="mean")
    before = to_numpy(model(IDS))
    names = ["attention", "hidden"]
    model.enable_lora(2, lora_alpha=3, target_layer_names=names)
    close(model(IDS), before)
    assert all(one.name.startswith("lora_") for one in model.trainable_variables)
    # two blocks, each with updates of queries, values and a hidden layer
    assert len(model.trainable_variables) == 2 * (4 + 2)
    assert len(model.get_config()["lora"]["layers"]) == 4
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    after = to_numpy(model(IDS))
    assert np.abs(after - before).max() > 0.01
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    close(again(IDS), after)
    assert len(again.trainable_variables) == len(model.trainable_variables)
    close(copy_layer(model)(IDS), after)
    with pytest.raises(ValueError, match=r"Received: \['key'\], of which there are none"):
        make(kind).enable_lora(2, target_layer_names=["key"])


def test_heads(tmp_path):
    encoder = make("bert")
    inputs = {"token_ids": IDS, "padding_mask": MASK}
    found = encoder(inputs, return_intermediates=True)
    for head, features in (
        (networks.SentenceClassifier(encoder, 3, seed=0), "pooled"),
        (networks.TokenClassifier(encoder, 3, seed=0), "tokens"),
    ):
        expected = to_numpy(found[features]) @ to_numpy(head.classifier.kernel)
        close(head(inputs), expected)
        again = type(head).from_config(head.get_config())
        assert again.get_config() == head.get_config()
    spans = networks.SpanClassifier(encoder, seed=0)
    logits = spans(inputs)
    expected = to_numpy(found["tokens"]) @ to_numpy(spans.classifier.kernel)
    for number, name in enumerate(("start", "end")):
        close(to_numpy(logits[name])[MASK], expected[..., number][MASK])
        assert (to_numpy(logits[name])[~MASK] < -1e30).all()
    spans.save(tmp_path / "spans.keras")
    close(keras.models.load_model(tmp_path / "spans.keras")(inputs)["end"], logits["end"])
    with pytest.raises(TypeError, match=r"`encoder` must be a `keras_ssl\.networks\.TextEncoder`"):
        networks.SpanClassifier(keras.layers.Dense(2))


def test_a_head_is_trained_with_updates_of_low_rank_alone():
    """The class is that of the first token; `fit` gets a dictionary."""
    encoder = networks.bert((16, 1, 2), 11, max_length=8, dropout_rate=0.0, seed=0)
    encoder.enable_lora(4, target_layer_names=["attention", "outputs"])
    frozen = [to_numpy(one) for one in encoder.non_trainable_variables]
    model = networks.SentenceClassifier(encoder, 2, dropout_rate=0.0, seed=0)
    ids = np.random.default_rng(0).integers(0, 11, (64, 6))
    inputs, labels = {"token_ids": ids, "padding_mask": ids > 0}, (ids[:, 0] > 5).astype(int)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    history = model.fit(inputs, labels, batch_size=32, epochs=15, verbose=0).history["loss"]
    assert history[-1] < 0.85 * history[0]
    for before, variable in zip(frozen, encoder.non_trainable_variables, strict=True):
        if keras.backend.is_float_dtype(variable.dtype):
            np.testing.assert_array_equal(before, to_numpy(variable))


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input(kind):
    model = make(kind)
    for inputs, message in (
        (IDS + 5, r"`token_ids` must be from 0 to 10.* Received: values from 5 to 15"),
        (IDS - 1, "values from -1"),
        (IDS.astype("float32"), "`token_ids` must be integers. Received: dtype float32"),
        (IDS[0], r"`token_ids` must have shape \(batch, length\)"),
        ({"ids": IDS}, r"dictionary with 'token_ids'.* Received: a dictionary of \['ids'\]"),
        ({"token_ids": IDS, "padding_mask": MASK[:, 1:]}, "must have the shape of `token_ids`"),
    ):
        with pytest.raises(ValueError, match=message):
            model.encode(inputs)
    with pytest.raises(ValueError, match=r"divisor of `width`. Received: num_heads=3, width=8"):
        type(model)(11, 8, 1, 3)
    with pytest.raises(ValueError, match=r"`size` must be one of .* Received: size='huge'"):
        {"bert": networks.bert, "gpt2": networks.gpt2}.get(kind, networks.transformer)("huge")
    if kind == "transformer":
        with pytest.raises(ValueError, match="must have 'encoder_token_ids'"):
            model({"decoder_token_ids": IDS, "token_ids": IDS})
        return
    with pytest.raises(ValueError, match="positions for 8 tokens: cut the sequences"):
        model(np.zeros((1, 9), int))
    segments = {"token_ids": IDS, "segment_ids": IDS}
    expected = "`segment_ids` must be from 0 to 1" if kind == "bert" else "a dictionary of"
    with pytest.raises(ValueError, match=expected):
        model(segments)


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision(kind):
    model = make(kind, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(model(IDS).dtype) == "bfloat16"
    close(ops.cast(model(IDS), "float32"), make(kind)(IDS), 0.15)
