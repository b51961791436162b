"""Attention: Keras' own with the same weights, float64 formulas, masks and the cache."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers

to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, weights, inputs, output=(2, 5, 12), **arguments):
        self.run_layer_test(
            layers.MultiHeadAttention,
            init_kwargs={"num_heads": 4, **arguments},
            input_shape=inputs,
            expected_output_shape=output,
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=0,
            expected_num_seed_generators=int("dropout_rate" in arguments),
            supports_masking=True,
            run_training_check=False,
        )

    def test_self_attention(self):
        self.check(4, (2, 5, 12), dropout_rate=0.1)

    def test_cross_attention(self):
        inputs = {"query_shape": (2, 5, 12), "value_shape": (2, 7, 6)}
        self.check(3, inputs, output=(2, 5, 8), use_bias=False, output_dim=8, key_dim=3)

    def test_separate_keys(self):
        inputs = {"query_shape": (2, 5, 12), "value_shape": (2, 7, 6), "key_shape": (2, 7, 4)}
        self.check(8, inputs)

    def test_grouped_and_normalized(self):
        arguments = {"num_key_value_heads": 2, "query_key_norm": "rms", "value_dim": 5}
        self.check(6, (2, 5, 12), kernel_regularizer="l2", **arguments)

    def test_positions(self):
        bias = layers.RelativePositionBias(4, (2, 2))
        self.check(5, (2, 5, 16), (2, 5, 16), rotary=layers.RotaryEmbedding(), position_bias=bias)


def softmax(z):
    z = np.exp(z - z.max(axis=-1, keepdims=True))
    return z / z.sum(axis=-1, keepdims=True)


def formula(layer, x, context=None, key=None, mask=None, turn=lambda h: h, bias=0.0):
    """Attention of one batch in float64, head by head."""
    context = x if context is None else context
    key = context if key is None else key
    arrays = [
        (np.float64(kernel), 0.0 if b is None else np.float64(b))
        for kernel, b in layer.get_projections()
    ]
    q, k, v = (
        (one @ kernel + b).reshape(*one.shape[:2], heads, -1)
        for one, (kernel, b), heads in zip(
            (x, key, context),
            arrays,
            (layer.num_heads, layer.num_key_value_heads, layer.num_key_value_heads),
            strict=False,
        )
    )
    q, k = turn(q), turn(k)
    shared = layer.num_heads // layer.num_key_value_heads
    outputs, scores = [], []
    for head in range(layer.num_heads):
        of_group = [one[:, :, head // shared] for one in (k, v)]
        logits = np.einsum("bqd,bkd->bqk", q[:, :, head], of_group[0]) / math.sqrt(q.shape[-1])
        logits = logits + (bias if np.isscalar(bias) else bias[:, head])
        if mask is not None:
            logits = np.where(mask, logits, -np.inf)
        scores.append(softmax(logits))
        outputs.append(scores[-1] @ of_group[1])
    outputs = np.concatenate(outputs, axis=-1) @ arrays[3][0] + arrays[3][1]
    return outputs, np.stack(scores, axis=1)


def made(x_width=16, context_width=None, key_width=None, seed=0, **arguments):
    """A built layer with biases that are not 0."""
    keras.utils.set_random_seed(seed)
    layer = layers.MultiHeadAttention(**{"num_heads": 4, **arguments})
    widths = [width for width in (x_width, context_width, key_width) if width is not None]
    layer.build(*((None, None, width) for width in widths))
    random = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(weight + random.normal(0, 0.2, weight.shape))
    return layer


CASES = {
    "plain": {},
    "no bias": {"use_bias": False},
    "bias of the output alone": {"use_bias": False, "use_output_bias": True},
    "bias of all but the output": {"use_output_bias": False},
    "narrow heads": {"key_dim": 3, "value_dim": 5, "output_dim": 7},
    "grouped": {"num_key_value_heads": 2},
    "one key head": {"num_key_value_heads": 1, "value_dim": 6},
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("inputs", ["self", "cross", "cross and key"])
def test_equals_the_formula(name, inputs, rng):
    widths = {"self": (16,), "cross": (16, 10), "cross and key": (16, 10, 6)}[inputs]
    layer = made(*widths, **CASES[name])
    values = [rng.normal(size=(3, 5 if n == 0 else 7, width)) for n, width in enumerate(widths)]
    expected, scores = formula(layer, *values)
    np.testing.assert_allclose(to_numpy(layer(*values)), expected, rtol=1e-4, atol=1e-5)
    outputs, ours = layer(*values, return_attention_scores=True)
    np.testing.assert_allclose(to_numpy(outputs), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_numpy(ours), scores, rtol=1e-4, atol=1e-5)


def test_a_layer_built_for_itself_attends_to_others(rng):
    x, context = rng.normal(size=(2, 5, 16)), rng.normal(size=(2, 3, 16))
    alone, crossed = made(), made(16, 16)
    for layer in (alone, crossed):
        expected, _ = formula(layer, x, context)
        np.testing.assert_allclose(to_numpy(layer(x, context)), expected, rtol=1e-4, atol=1e-5)
        expected, _ = formula(layer, x)
        np.testing.assert_allclose(to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)
    keys = rng.normal(size=(2, 3, 16))
    expected, _ = formula(alone, x, context, keys)
    np.testing.assert_allclose(to_numpy(alone(x, context, keys)), expected, rtol=1e-4, atol=1e-5)


MASKS = {
    "queries and keys": (5, 7),
    "examples": (3, 5, 7),
    "heads": (3, 4, 5, 7),
}


@pytest.mark.parametrize("shape", MASKS)
@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_masks(shape, scores, causal, rng):
    layer = made(16, 16)
    x, context = rng.normal(size=(3, 5, 16)), rng.normal(size=(3, 7, 16))
    mask = rng.uniform(size=MASKS[shape]) < 0.6
    mask[..., 0] = True  # every query has a key
    padding = np.arange(7) < np.array([[7], [4], [1]])
    arguments = {"attention_mask": mask, "value_mask": padding, "use_causal_mask": causal}
    outputs = layer(x, context, return_attention_scores=scores, **arguments)
    outputs, found = outputs if scores else (outputs, None)
    for head in range(4):
        allowed = mask[:, head] if shape == "heads" else np.broadcast_to(mask, (3, 5, 7))
        allowed = allowed & padding[:, None]
        if causal:
            allowed = allowed & (np.arange(7) <= np.arange(5)[:, None])
        if found is not None:
            _, expected = formula(layer, x, context, mask=allowed)
            np.testing.assert_allclose(to_numpy(found)[:, head], expected[:, head], atol=1e-5)
    if shape != "heads":
        expected, _ = formula(layer, x, context, mask=allowed)
        np.testing.assert_allclose(to_numpy(outputs), expected, rtol=1e-4, atol=1e-5)


def test_packed_documents_equal_documents_alone(rng):
    layer = made(rotary=layers.RotaryEmbedding())
    x = rng.normal(size=(1, 9, 16)).astype("float32")
    segments = np.array([[0] * 4 + [1] * 2 + [2] * 3])
    packed = to_numpy(layer(x, segments=segments, use_causal_mask=True))
    for start, end in ((0, 4), (4, 6), (6, 9)):
        # rotary scores depend on distances only
        alone = to_numpy(layer(x[:, start:end], use_causal_mask=True))
        np.testing.assert_allclose(packed[:, start:end], alone, rtol=1e-3, atol=1e-5)


def test_the_mask_of_keras_hides_padding(rng):
    tokens = np.array([[3, 1, 2, 0, 0], [1, 2, 3, 4, 5]])
    embedding = keras.layers.Embedding(6, 16, mask_zero=True)
    layer = made()
    inputs = keras.Input((None,), dtype="int32")
    model = keras.Model(inputs, layer(embedding(inputs)))
    full, short = to_numpy(model(tokens)), to_numpy(model(tokens[:1, :3]))
    np.testing.assert_allclose(full[:1, :3], short, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(full[1:], to_numpy(model(tokens[1:])), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_cache_gives_what_all_positions_at_once_give(name, rng):
    layer = made(
        rotary=None if "key_dim" in CASES[name] else layers.RotaryEmbedding(), **CASES[name]
    )
    x = rng.normal(size=(2, 8, 16)).astype("float32")
    expected = to_numpy(layer(x, use_causal_mask=True))
    for sizes in ([1] * 8, [5, 1, 2], [8]):
        cache, start, found = layer.make_cache(2, length=10), 0, []
        for size in sizes:
            outputs, cache = layer(x[:, start : start + size], cache=cache, cache_index=start)
            found.append(to_numpy(outputs))
            start += size
        np.testing.assert_allclose(np.concatenate(found, 1), expected, rtol=1e-4, atol=1e-5)
        assert np.all(to_numpy(cache["key"])[:, 8:] == 0)


def test_cache_errors():
    layer = layers.MultiHeadAttention(2)
    with pytest.raises(ValueError, match="built layer"):
        layer.make_cache(1, 4)
    layer.build((None, None, 8))
    cache = layer.make_cache(1, 4)
    assert tuple(cache["value"].shape) == (1, 4, 2, 4)
    with pytest.raises(ValueError, match=r"fit into the cache.*Received: 3 positions at cache_ind"):
        layer(np.ones((1, 3, 8), "float32"), cache=cache, cache_index=2)
    with pytest.raises(ValueError, match="length"):
        layer.make_cache(1, 0)


@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_normalized_queries_and_keys(norm, rng):
    layer = made(query_key_norm=norm)
    scales = [np.float64(one.weights[0]) for one in layer._norms]
    offsets = [0.0 if norm == "rms" else np.float64(one.weights[1]) for one in layer._norms]
    places = iter((0, 1))

    def turn(h):
        number = next(places)
        if norm == "layer":
            h = h - h.mean(axis=-1, keepdims=True)
        h = h / np.sqrt((h**2).mean(axis=-1, keepdims=True) + 1e-6)
        return h * scales[number] + offsets[number]

    x = rng.normal(size=(2, 5, 16))
    expected, _ = formula(layer, x, turn=turn)
    np.testing.assert_allclose(to_numpy(layer(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scores", [False, True])
def test_bias_of_positions(scores, rng):
    layer = made(position_bias=layers.RelativePositionBias(4, (2, 3)))
    x = rng.normal(size=(2, 7, 16))
    bias = np.float64(to_numpy(layer.position_bias(np.ones((2, 7, 4, 4)), np.ones((2, 7, 4, 4)))))
    expected, _ = formula(layer, x, bias=bias)
    outputs = layer(x, return_attention_scores=scores)
    outputs = to_numpy(outputs[0] if scores else outputs)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    assert len([one for one in layer.trainable_weights if one.shape == (18, 4)]) == 1


KERAS = {
    "self": (lambda: keras.layers.MultiHeadAttention(4, 5, dropout=0.1), (12,)),
    "cross": (lambda: keras.layers.MultiHeadAttention(3, 4, 6, output_shape=9), (12, 8)),
    "key": (lambda: keras.layers.MultiHeadAttention(2, 4, use_bias=False), (12, 8, 10)),
    "grouped": (lambda: keras.layers.GroupQueryAttention(5, 4, 2), (12,)),
}


@pytest.mark.parametrize("name", KERAS)
def test_converts_from_keras_and_back(name, rng):
    make, widths = KERAS[name]
    theirs = make()
    shapes = [(None, None, width) for width in widths]
    theirs.build(shapes[0], (shapes + shapes)[1], shapes[2] if len(shapes) > 2 else None)
    theirs.set_weights([rng.normal(0, 0.3, weight.shape) for weight in theirs.weights])
    ours = layers.MultiHeadAttention.from_keras(theirs, name="ours")
    assert ours.name == "ours" and ours.dropout_rate == theirs.get_config()["dropout"]
    back = ours.to_keras()
    assert type(back) is type(theirs)
    for weight, other in zip(theirs.weights, back.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(weight), to_numpy(other))
    values = [rng.normal(size=(2, 5, width)).astype("float32") for width in widths]
    arguments = {"use_causal_mask": True, "attention_mask": rng.uniform(size=(2, 5, 5)) < 0.9}
    arguments["attention_mask"][:, :, 0] = True
    inputs = values * 2 if len(values) == 1 else values
    # with scores, since without them Keras on JAX has no values wider than keys
    expected, _ = theirs(*inputs, return_attention_scores=True, **arguments)
    for scores in (False, True):
        found = ours(*values, return_attention_scores=scores, **arguments)
        found = found[0] if scores else found
        np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_bias", [False, True])
def test_biases_that_are_absent_are_zero_in_keras(use_bias, rng):
    ours = made(use_bias=use_bias, use_output_bias=not use_bias)
    x = rng.normal(size=(2, 5, 16)).astype("float32")
    np.testing.assert_allclose(to_numpy(ours.to_keras()(x, x)), ours(x), rtol=1e-4, atol=1e-5)


def test_what_keras_does_not_have_is_not_converted():
    with pytest.raises(ValueError, match="normalised queries"):
        made(query_key_norm="rms").to_keras()
    with pytest.raises(ValueError, match="built=False"):
        layers.MultiHeadAttention(2).to_keras()
    with pytest.raises(ValueError, match="output as wide"):
        made(num_key_value_heads=2, output_dim=3).to_keras()
    with pytest.raises(ValueError, match="`layer` must be a built"):
        layers.MultiHeadAttention.from_keras(keras.layers.Dense(2))
    gated = keras.layers.MultiHeadAttention(2, 4, use_gate=True)
    gated.build((None, None, 8), (None, None, 8))
    with pytest.raises(ValueError, match="use_gate"):
        layers.MultiHeadAttention.from_keras(gated)


def test_gradients_equal_those_of_keras(rng):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients by tf.GradientTape")
    import tensorflow as tf

    ours = made(key_dim=4)
    theirs = ours.to_keras()
    x = tf.constant(rng.normal(size=(2, 5, 16)), "float32")
    probe = tf.constant(rng.normal(size=(2, 5, 16)), "float32")
    gradients = []
    for layer, inputs in ((ours, (x,)), (theirs, (x, x))):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(probe * layer(*inputs, use_causal_mask=True))
        gradients.append(tape.gradient(loss, [x, *layer.trainable_variables]))
    fused = np.concatenate([np.reshape(gradients[1][n], (16, -1)) for n in (1, 3, 5)], axis=-1)
    np.testing.assert_allclose(gradients[0][0], gradients[1][0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gradients[0][1], fused, rtol=1e-3, atol=1e-4)
    kernel = np.reshape(gradients[1][7], (16, 16))
    np.testing.assert_allclose(gradients[0][3], kernel, rtol=1e-3, atol=1e-4)


def test_dropout_acts_on_scores_in_training_only(rng):
    layer = made(dropout_rate=0.5, seed=1)
    x = rng.normal(size=(1, 6, 16)).astype("float32")
    many = np.repeat(x, 500, axis=0)
    quiet, drawn = to_numpy(layer(x)), to_numpy(layer(many, training=True))
    np.testing.assert_array_equal(quiet, to_numpy(layer(x, training=False)))
    # a linear function of the scores keeps its mean
    error = drawn.std(axis=0) / math.sqrt(500)
    assert np.all(np.abs(drawn.mean(axis=0) - quiet[0]) < 6 * error)
    _, scores = layer(many, training=True, return_attention_scores=True)
    np.testing.assert_allclose(np.sum(scores, axis=-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_close_and_large_scores_are_finite(dtype, rng):
    layer = made()
    half = layers.MultiHeadAttention(4, dtype=dtype)
    half.build((None, None, 16))
    half.set_weights(layer.get_weights())
    x = rng.normal(size=(2, 5, 16))
    for scores in (False, True):
        outputs = half(x, return_attention_scores=scores)
        outputs = to_numpy(ops.cast(outputs[0] if scores else outputs, "float32"))
        np.testing.assert_allclose(outputs, to_numpy(layer(x)), atol=0.1)
        large = half(10 * x, return_attention_scores=scores)
        assert np.isfinite(to_numpy(ops.cast(large[0] if scores else large, "float32"))).all()


def test_kernels_start_as_if_each_were_alone():
    layer = layers.MultiHeadAttention(
        4, num_key_value_heads=1, kernel_initializer=keras.initializers.GlorotUniform(seed=3)
    )
    layer.build((None, None, 64))
    kernels = [kernel for kernel, _ in layer.get_projections()]
    for kernel in kernels:
        limit = math.sqrt(6 / sum(kernel.shape))
        assert 0.9 * limit < np.abs(kernel).max() <= limit
    for one, other in itertools.combinations(kernels, 2):
        width = min(one.shape[1], other.shape[1])
        assert not np.allclose(one[:, :width], other[:, :width])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"num_heads": 0}, ValueError, "num_heads.*Received: num_heads=0"),
        ({"num_heads": 2.5}, TypeError, "num_heads"),
        ({"num_heads": 4, "num_key_value_heads": 3}, ValueError, "divisor of `num_heads`"),
        ({"num_heads": 4, "dropout_rate": 1.0}, ValueError, "dropout_rate"),
        ({"num_heads": 4, "query_key_norm": "batch"}, ValueError, "query_key_norm='batch'"),
        ({"num_heads": 4, "rotary": "yes"}, TypeError, "`rotary` must be a `RotaryEmbedding`"),
        ({"num_heads": 4, "position_bias": 3}, TypeError, "`position_bias`"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        layers.MultiHeadAttention(**arguments)


def test_bad_inputs_are_named(rng):
    x = rng.normal(size=(2, 5, 16)).astype("float32")
    with pytest.raises(ValueError, match=r"divisor of the width.*num_heads=3"):
        layers.MultiHeadAttention(3)(x)
    with pytest.raises(ValueError, match="`attention_mask` must have shape"):
        made()(x, attention_mask=np.ones(5, bool))


@pytest.mark.parametrize("is_cross", [False, True])
def test_scores_in_a_functional_model(is_cross, rng):
    x, context = rng.normal(size=(2, 5, 16)), rng.normal(size=(2, 7, 16))
    layer = made(16, 16) if is_cross else made()
    inputs = [keras.Input((5, 16)), keras.Input((7, 16))][: 1 + is_cross]
    outputs, scores = layer(*inputs, return_attention_scores=True)
    assert scores.shape == (None, 4, 5, 7 if is_cross else 5)
    found = keras.Model(inputs, [outputs, scores])([x, context][: 1 + is_cross])
    for one, expected in zip(found, formula(layer, x, *[context][:is_cross]), strict=True):
        np.testing.assert_allclose(to_numpy(one), expected, rtol=1e-4, atol=1e-5)


def test_masks_of_new_positions_in_a_cache(rng):
    """A prompt with padding, masked by its embedding, whose other positions are as without."""
    embedding, layer = keras.layers.Embedding(6, 16, mask_zero=True), made()
    prompt = np.array([[0, 0, 3, 1, 2], [1, 2, 3, 4, 5]])
    expected = to_numpy(layer(embedding(prompt), use_causal_mask=True))
    found, cache = layer(embedding(prompt), cache=layer.make_cache(2, 8), cache_index=0)
    np.testing.assert_allclose(to_numpy(found)[0, 2:], expected[0, 2:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_numpy(found)[1], expected[1], rtol=1e-4, atol=1e-5)
    # the next token, with a mask of all positions
    longer = np.concatenate([prompt, [[4], [1]]], axis=1)
    expected = to_numpy(layer(embedding(longer), use_causal_mask=True))[:, 5:]
    mask = np.pad(longer != 0, ((0, 0), (0, 2)))
    new = to_numpy(embedding(longer))[:, 5:]
    found, _ = layer(new, query_mask=mask, cache=cache, cache_index=5)
    np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention_mask": np.ones((2, 9), bool)}, r"or \(2, 4, 5, 5\).*pass `value_mask`.*2, 9"),
        ({"query_mask": np.ones((2, 4), bool)}, r"`value_mask` must have shape \(2, 5\).*\(2, 4\)"),
        ({"value": np.ones((2, 7, 16)), "segments": np.ones((2, 5))}, "self-attention without a"),
        ({"value": np.ones((2, 7, 9))}, r"`key` must have shape \(batch, positions, 16\).*7, 9"),
        ({"value": np.ones((7, 16))}, r"Received: shape \(7, 16\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(arguments, message, rng):
    with pytest.raises(ValueError, match=message):
        made()(rng.normal(size=(2, 5, 16)), **arguments)


def test_tokens_of_a_grid_are_refused():
    with pytest.raises(ValueError, match=r"Flatten the positions.*\(2, 3, 3, 16\)"):
        layers.MultiHeadAttention(4)(np.ones((2, 3, 3, 16)))


@pytest.mark.parametrize("arguments", [{}, {"query_key_norm": "rms", "num_key_value_heads": 2}])
def test_a_context_that_was_projected_before(arguments, rng):
    layer = layers.MultiHeadAttention(4, **arguments)
    x, context = rng.normal(size=(2, 3, 8)), rng.normal(size=(2, 5, 6))
    mask = np.array([[True] * 5, [True, False, True, False, False]])
    expected = layer(x, context, value_mask=mask)
    memory = layer.project_context(context.astype("float32"))
    found = layer(x, memory=memory, value_mask=mask)
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"in place of .* Received: `memory` with \['value'\]"):
        layer(x, context, memory=memory)


def test_lora_adds_products_of_low_rank(rng, tmp_path):
    targets = ["query", "key", "output"]
    inputs = keras.Input((5, 8))
    layer = layers.MultiHeadAttention(2)
    model = keras.Model(inputs, layer(inputs))
    x = rng.normal(size=(3, 5, 8)).astype("float32")
    before, arrays = to_numpy(model(x)), layer.get_projections()
    layer.enable_lora(2, lora_alpha=3, targets=targets)
    np.testing.assert_allclose(to_numpy(model(x)), before, rtol=1e-5, atol=1e-5)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    assert len(layer.trainable_variables) == 2 * len(targets) + 2  # with the biases
    for number, name in enumerate(("query", "key", "value", "output")):
        kernel = arrays[number][0]
        if name in targets:
            a, b = (
                to_numpy(next(v for v in layer.variables if v.name == f"lora_{name}_{part}"))
                for part in "ab"
            )
            kernel = kernel + 1.5 * a @ b
        found = layer.get_projections()[number][0]
        np.testing.assert_allclose(found, kernel, rtol=1e-5, atol=1e-5)
    merged = layers.MultiHeadAttention(2)
    merged.build((None, 5, 8))
    merged.set_projections(layer.get_projections())
    after = to_numpy(model(x))
    np.testing.assert_allclose(after, to_numpy(merged(x)), rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(again(x)), after, rtol=1e-5, atol=1e-5)
    for call, message in (
        (lambda: layer.enable_lora(2), "LoRA can be enabled once"),
        (lambda: merged.enable_lora(2, targets=["all"]), "`targets` must be among"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
