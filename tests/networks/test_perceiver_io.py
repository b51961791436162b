"""Perceiver IO: its formula, padding, order, queries, saving, precision, and as a tower."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import erf

from keras_ssl import layers, networks, trainers

to_numpy = ops.convert_to_numpy
INPUTS = np.random.default_rng(0).normal(size=(2, 7, 5)).astype("float32")
QUERIES = np.random.default_rng(1).normal(size=(2, 4, 6)).astype("float32")
MASK = np.arange(7) < np.array([[7], [4]])
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow"
)


def make(**kwargs):
    """Return a network with weights that are not those of the start."""
    model = networks.perceiver_io((3, 8, 1, 2), **{"input_shape": (None, 5), "seed": 0, **kwargs})
    random = np.random.default_rng(2)
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return model


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=tolerance, atol=tolerance)


def normalized(x, norm):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.epsilon)
    return x * to_numpy(norm.gamma) + to_numpy(norm.beta)


def attended(layer, x, context, mask=None):
    """Attention in NumPy, float64."""
    (wq, bq), (wk, bk), (wv, bv), (wo, bo) = layer.get_projections()

    def split(h):
        return h.reshape(*h.shape[:2], layer.num_heads, -1).transpose(0, 2, 1, 3)

    q, k, v = split(x @ wq + bq), split(context @ wk + bk), split(context @ wv + bv)
    e = np.exp(q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]))
    e = e if mask is None else e * mask[:, None, None, :]
    mixed = (e / e.sum(-1, keepdims=True)) @ v
    return mixed.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1) @ wo + bo


def fed(layer, x):
    hidden, outputs = layer.hidden, layer.outputs
    h = x @ to_numpy(hidden.kernel) + to_numpy(hidden.bias)
    h = h * (1 + erf(h / np.sqrt(2))) / 2
    return h @ to_numpy(outputs.kernel) + to_numpy(outputs.bias)


def crossed(block, x, context, mask=None, residual=True):
    x = x * residual + attended(block.attention, normalized(x, block.norm), context, mask)
    return x + fed(block.feed_forward, normalized(x, block.feed_forward_norm))


def latents_of(model, inputs, mask=None, repeats=1):
    """What the latents have read, in NumPy, float64."""
    z = np.repeat(to_numpy(model.latents)[None].astype("float64"), len(inputs), axis=0)
    z = crossed(model.reader, z, normalized(inputs.astype("float64"), model.input_norm), mask)
    for _ in range(repeats):
        for block in model.blocks:
            entered = normalized(z, block.attention_residual.norm)
            z = z + attended(block.attention, entered, entered)
            z = z + fed(block.feed_forward, normalized(z, block.feed_forward_residual.norm))
    return normalized(z, model.norm)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "padding"])
def test_features_equal_the_formula(mask):
    model = make(cross_heads=2, repeats=2)
    given = INPUTS if mask is None else {"inputs": INPUTS, "padding_mask": mask}
    expected = latents_of(model, INPUTS, mask, repeats=2)
    found = model(given, return_intermediates=True)
    assert set(found) == {"latents", "features"}
    close(found["latents"], expected, 2e-5)
    close(model(given), expected.mean(axis=1), 2e-5)
    tokens = networks.PerceiverIO.from_config({**model.get_config(), "pooling": None})
    tokens.set_weights(model.get_weights())
    close(tokens(given), expected, 2e-5)


@pytest.mark.parametrize("residual", [True, False])
def test_outputs_equal_the_formula(residual):
    model = make(query_width=6, output_dim=3, query_residual=residual)
    latents = latents_of(model, INPUTS)
    expected = crossed(model.writer, QUERIES.astype("float64"), latents, residual=residual)
    expected = expected @ to_numpy(model.output_layer.kernel) + to_numpy(model.output_layer.bias)
    outputs = model({"inputs": INPUTS, "queries": QUERIES})
    close(outputs, expected, 2e-5)
    # the output of a query does not depend on the others
    close(model.decode(ops.cast(latents, "float32"), QUERIES[:, 1:3]), expected[:, 1:3], 2e-5)


def test_learned_queries_equal_the_formula():
    model = make(num_queries=4)
    learned = np.repeat(to_numpy(model.queries)[None].astype("float64"), 2, axis=0)
    close(model(INPUTS), crossed(model.writer, learned, latents_of(model, INPUTS)), 2e-5)
    assert make(num_queries=4, output_dim=3)(INPUTS).shape == (2, 4, 3)


def test_padding_changes_nothing():
    model = make()
    found = to_numpy(model({"inputs": INPUTS, "padding_mask": MASK}))
    close(found[1:], model(INPUTS[1:, :4]))
    for held in (1e4, np.nan):
        changed = np.where(MASK[:, :, None], INPUTS, held).astype("float32")
        close(model({"inputs": changed, "padding_mask": MASK.astype("int32")}), found, 0)
    # an example without any input has features, which no other influences
    empty = to_numpy(model({"inputs": INPUTS, "padding_mask": MASK * [[0], [1]]}))
    assert np.all(np.isfinite(empty))
    close(empty[1], found[1])


def test_order_matters_with_positions_alone():
    order = np.random.default_rng(3).permutation(7)
    model = make()
    close(model(INPUTS[:, order]), model(INPUTS))
    placed = make(preprocessor=layers.LearnedPositionalEmbedding(7), input_shape=(7, 5))
    difference = to_numpy(placed(INPUTS[:, order])) - to_numpy(placed(INPUTS))
    assert np.abs(difference).max() > 1e-2


def test_token_ids_and_single_features_by_a_preprocessor():
    ids = np.random.default_rng(0).integers(11, size=(2, 7))
    texts = make(preprocessor=keras.layers.Embedding(11, 4), input_shape=(None,))
    wave = make(preprocessor=keras.layers.Dense(4), input_shape=(None, 1))
    assert texts(ids).shape == wave(INPUTS[:, :, :1]).shape == (2, 8)
    same = make(input_shape=(None, 4))
    table = texts.preprocessor.embeddings
    same.set_weights([to_numpy(weight) for weight in texts.weights if weight is not table])
    embedded = to_numpy(texts.preprocessor(ids))
    close(texts(ids), same(embedded))


@pytest.mark.parametrize(
    "arguments",
    [
        {"repeats": 2, "cross_heads": 4, "hidden_dim": 9, "activation": "relu"},
        {"query_width": 6, "output_dim": 3, "query_residual": False},
        {"num_queries": 2, "preprocessor": keras.layers.Dense(4), "pooling": None},
    ],
    ids=["features", "queries", "learned"],
)
def test_saving(arguments, tmp_path):
    if "preprocessor" in arguments:
        arguments = {**arguments, "preprocessor": keras.layers.Dense(4)}
    model = make(**arguments)
    inputs = {"inputs": INPUTS}
    if "query_width" in arguments:
        inputs["queries"] = QUERIES
    again = networks.PerceiverIO.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    model.save(tmp_path / "model.keras")
    close(keras.saving.load_model(tmp_path / "model.keras")(inputs), model(inputs))
    shapes = {name: one.shape for name, one in inputs.items()}
    assert tuple(model(inputs).shape) == model.compute_output_shape(shapes)
    symbolic = {name: keras.Input(one.shape[1:]) for name, one in inputs.items()}
    assert model(symbolic).shape == (None, *model.compute_output_shape(shapes)[1:])


def test_mixed_precision_and_dropout():
    model = make(dtype="mixed_bfloat16", num_queries=2)
    found = model({"inputs": INPUTS, "padding_mask": MASK})
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    exact = make(num_queries=2)
    exact.set_weights(model.get_weights())
    expected = to_numpy(exact({"inputs": INPUTS, "padding_mask": MASK}))
    difference = np.abs(to_numpy(ops.cast(found, "float32")) - expected)
    assert difference.mean() < 0.1 * np.abs(expected).mean()
    dropped = make(dropout_rate=0.5, attention_dropout_rate=0.5)
    close(dropped(INPUTS), dropped(INPUTS, training=False))
    one, other = (to_numpy(dropped(INPUTS, training=True)) for _ in range(2))
    assert np.abs(one - other).max() > 1e-3


@needs_tensorflow
def test_as_a_tower():
    """Sets of numbers of unlike lengths, and their sums, learn to meet."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    sets = random.normal(size=(128, 7, 2)).astype("float32")
    mask = np.arange(7) < random.integers(3, 8, (128, 1))
    sums = (sets * mask[:, :, None]).sum(axis=1)
    encoder = networks.perceiver_io(
        (4, 16, 1, 2), (None, 2), preprocessor=keras.layers.Dense(16), seed=0
    )
    other = keras.Sequential([keras.layers.Dense(32, "relu"), keras.layers.Dense(16)])
    trainer = trainers.CrossModal(encoder, other, width=16, names=("set", "sum"))
    trainer.compile(keras.optimizers.Adam(3e-3))
    x = {"set": {"inputs": sets, "padding_mask": mask}, "sum": sums}
    history = trainer.fit(x, batch_size=64, epochs=20, verbose=0).history["loss"]
    assert history[-1] < history[0] - 1.5
    assert trainer.tower("set").predict(x["set"], verbose=0).shape == (128, 16)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": (3, 8, 1)}, ValueError, "`size` must be"),
        ({"size": (0, 8, 1, 2)}, ValueError, "`num_latents`"),
        ({"size": (3, 8, 1, 3)}, ValueError, "`num_heads` must be a divisor"),
        ({"cross_heads": 3}, ValueError, "`cross_heads` must be a divisor"),
        ({"repeats": 1.5}, TypeError, "`repeats`"),
        ({"input_shape": (5,)}, ValueError, r"must be \(n, features\)"),
        ({"input_shape": (None, 1)}, ValueError, "at least 2 features"),
        ({"input_shape": (None, None)}, ValueError, "at least 2 features"),
        ({"pooling": "class"}, ValueError, "`pooling` must be one of"),
        ({"num_queries": 2, "query_width": 2}, ValueError, "pass one of"),
        ({"output_dim": 2}, ValueError, "need `num_queries` or `query_width`"),
        ({"preprocessor": "dense"}, TypeError, "`preprocessor` must be"),
        ({"dropout_rate": 1.0}, ValueError, "`dropout_rate`"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        networks.perceiver_io(**{"size": (3, 8, 1, 2), "input_shape": (None, 5), **arguments})


def test_bad_inputs():
    model, asked, learned = make(), make(query_width=6), make(num_queries=2)
    for one, inputs, message in (
        (model, INPUTS[..., :4], r"must have shape \(None, None, 5\)"),
        (model, {"x": INPUTS}, r"Received: a dictionary of \['x'\]"),
        (model, {"inputs": INPUTS, "padding_mask": MASK[:, :3]}, "`padding_mask` must have"),
        (model, {"inputs": INPUTS, "queries": QUERIES}, "Without `query_width`"),
        (asked, INPUTS, "expected to be in the inputs"),
        (asked, {"inputs": INPUTS, "queries": QUERIES[..., :2]}, r"shape \(batch, m, 6\)"),
        (learned, {"inputs": INPUTS, "queries": QUERIES}, "expected to be learned"),
    ):
        with pytest.raises(ValueError, match=message):
            one(inputs)
    with pytest.raises(ValueError, match="Outputs need"):
        model.decode(ops.ones((2, 3, 8)))
