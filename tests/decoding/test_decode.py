"""Decoding: the cache, loops in NumPy without one, exhaustive search, sampling, bad input."""

import gc
import itertools
import weakref

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import decoding, networks

to_numpy = ops.convert_to_numpy
V = 5
SOURCE = np.random.default_rng(1).integers(0, 7, (3, 4))
SOURCE_MASK = np.arange(4) < np.array([[4], [2], [3]])
CONTEXT = {"token_ids": SOURCE, "padding_mask": SOURCE_MASK}
PROMPTS = [[1, 4, 2], [3], [2, 2]]


class Recurrent(keras.Model):
    """A recurrent language model, whose cache is the state of its cell."""

    vocabulary_size = V

    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(V, 6)
        self.cell = keras.layers.GRUCell(6)
        self.classifier = keras.layers.Dense(V)
        self.steps = self.add_weight(shape=(), initializer="zeros", trainable=False)
        self.decode_step(np.zeros((1, 1), "int32"), self.make_cache(1, 1), 0)

    def make_cache(self, batch_size, length, context=None):
        return {"state": ops.zeros((batch_size, 6))}

    def decode_step(self, token_ids, cache, index):
        self.steps.assign_add(1.0)
        state, found = cache["state"], []
        for number in range(token_ids.shape[1]):
            _, (state,) = self.cell(self.embedding(token_ids[:, number]), [state])
            found.append(self.classifier(state))
        return ops.stack(found, axis=1), {"state": state}


def make(kind, **kwargs):
    keras.utils.set_random_seed(3)
    if kind == "recurrent":
        model = Recurrent()
    elif kind == "gpt2":
        model = networks.gpt2((8, 2, 2), V, **{"max_length": 12, "seed": 0, **kwargs})
    else:
        model = networks.transformer((8, 1, 2), V, source_vocabulary_size=7, seed=0, **kwargs)
    random = np.random.default_rng(1)
    for weight in model.weights:
        if len(weight.shape) > 1 and keras.backend.is_float_dtype(weight.dtype):
            weight.assign(random.normal(0, 0.9, weight.shape))
    return model


def logits_of(model, token_ids, context):
    """Logits of all tokens at once, without a cache."""
    if isinstance(model, Recurrent):
        return to_numpy(model.decode_step(token_ids, model.make_cache(len(token_ids), 1), 0)[0])
    if context is None:
        return to_numpy(model.logits(model(token_ids)))
    source = {f"encoder_{name}": one for name, one in context.items()}
    return to_numpy(model.logits(model({**source, "decoder_token_ids": token_ids})))


def log_softmax(x):
    x = np.float64(x) - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


KINDS = ["gpt2", "transformer", "recurrent"]


def context_of(kind, rows=slice(None)):
    return {n: one[rows] for n, one in CONTEXT.items()} if kind == "transformer" else None


@pytest.mark.parametrize("kind", ["gpt2", "transformer"])
def test_logits_are_the_same_with_a_cache(kind):
    model, ids = make(kind), np.random.default_rng(0).integers(0, V, (3, 6))
    expected = logits_of(model, ids, context_of(kind))
    cache, found, start = model.make_cache(3, 8, context_of(kind)), [], 0
    assert all(one.shape[0] == 3 for one in keras.tree.flatten(cache))
    for count in (2, 1, 3):
        logits, cache = model.decode_step(ids[:, start : start + count], cache, start)
        found.append(to_numpy(logits))
        start += count
    np.testing.assert_allclose(np.concatenate(found, 1), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"cache holds 8 tokens.*Received: 3 tokens at index=6"):
        model.decode_step(ids[:, :3], cache, 6)
    with pytest.raises(
        ValueError, match=r"as many rows as the cache, 3\. Received: shape \(2, 1\)"
    ):
        model.decode_step(ids[:2, :1], cache, 6)
    with pytest.raises(ValueError, match="`token_ids` must be from 0 to 4"):
        model.decode_step(ids + V, cache, 0)


@pytest.mark.parametrize("kind", ["gpt2", "transformer"])
def test_logits_do_not_depend_on_later_tokens(kind):
    """The gradient of those at t to the embeddings of tokens after t is zero, and not before."""
    model, ids = make(kind), np.array([[3, 1, 4, 0, 2]])
    context = {name: one[:1] for name, one in CONTEXT.items()} if kind == "transformer" else None
    changed = np.array([[3, 1, 4, 2, 2]])
    before, after = (logits_of(model, one, context) for one in (ids, changed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.abs(before - after)[:, 3:].min() > 0
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    inputs = ids
    if context is not None:
        source = {f"encoder_{name}": one for name, one in context.items()}
        inputs = {**source, "decoder_token_ids": ids}
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(inputs)[:, 2] * np.arange(1.0, 9.0))
    gradient = tape.gradient(total, model.token_embedding.embeddings.value)
    sizes = np.abs(tf.convert_to_tensor(gradient)).sum(1)
    assert (sizes[[0, 2]] == 0).all() and (sizes[[3, 1, 4]] > 1e-3).all()


def greedily(model, prompt, limit, end, context):
    """The most likely tokens one by one, and their log-probability, without a cache."""
    ids, total = list(prompt), 0.0
    while len(ids) < limit and (len(ids) == len(prompt) or ids[-1] != end):
        scores = log_softmax(logits_of(model, np.array([ids]), context)[0, -1])
        ids.append(int(scores.argmax()))
        total += scores.max()
    return ids, total


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_decoding_of_prompts_of_different_lengths(kind):
    model, end = make(kind), 0
    for length, new in ((9, None),) if kind == "recurrent" else ((None, 5),):
        found = decoding.decode(
            model, PROMPTS, new, length=length, end_token=end, context=context_of(kind)
        )
        beam = decoding.decode(
            model,
            PROMPTS,
            new,
            length=length,
            end_token=end,
            context=context_of(kind),
            method=decoding.BeamSearch(1, length_penalty=0.7),
        )
        for one, other in zip(found, beam, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
        for row, prompt in enumerate(PROMPTS):
            limit = length or len(prompt) + new
            context = context_of(kind, slice(row, row + 1))
            ids, total = greedily(model, prompt, limit, end, context)
            assert found.lengths[row] == len(ids)
            assert found.token_ids[row].tolist()[: len(ids)] == ids
            assert (found.token_ids[row, len(ids) :] == 0).all()
            np.testing.assert_allclose(found.log_probabilities[row], total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "penalty"), [("transformer", 2.0), pytest.param("gpt2", 0.0, marks=pytest.mark.slow)]
)
def test_beam_search_equals_exhaustive_search(kind, penalty):
    model, end, new = make(kind), 0, 3
    found = decoding.decode(
        model,
        PROMPTS,
        new,
        method=decoding.BeamSearch(V**2 * (V - 1), penalty),
        end_token=end,
        context=context_of(kind),
    )
    endings = [
        one
        for count in range(1, new + 1)
        for one in itertools.product(range(V), repeat=count)
        if end not in one[:-1] and (count == new or one[-1] == end)
    ]
    for row, prompt in enumerate(PROMPTS):
        ids = np.array([[*prompt, *one, *[0] * (new - len(one))] for one in endings])
        context = context_of(kind, [row] * len(ids))
        scores = log_softmax(logits_of(model, ids[:, :-1], context))
        scores = np.take_along_axis(scores, ids[:, 1:, None], -1)[:, len(prompt) - 1 :, 0]
        counts = np.array([len(one) for one in endings])
        totals = np.where(np.arange(new) < counts[:, None], scores, 0).sum(1)
        best = (totals / ((5 + counts) / 6) ** penalty).argmax()
        assert found.lengths[row] == len(prompt) + counts[best]
        assert found.token_ids[row, : found.lengths[row]].tolist() == [*prompt, *endings[best]]
        np.testing.assert_allclose(found.log_probabilities[row], totals[best], rtol=1e-4)


def test_a_narrow_beam_is_that_of_a_loop_in_numpy():
    model, width, new, end = make("gpt2"), 3, 6, 0
    method = decoding.BeamSearch(width, 0.6)
    found = decoding.decode(model, [[1, 4]], new, method=method, end_token=end)
    beams = [([1, 4], 0.0, False)]
    for _ in range(new):
        candidates = []
        for ids, total, ended in beams:
            if ended:
                candidates.append((ids, total, True))
                continue
            scores = log_softmax(logits_of(model, np.array([ids]), None)[0, -1])
            candidates += [([*ids, t], total + scores[t], t == end) for t in range(V)]
        candidates.sort(key=lambda c: -c[1] / ((5 + len(c[0]) - 2) / 6) ** 0.6)
        beams = candidates[:width]
    assert found.token_ids[0, : found.lengths[0]].tolist() == beams[0][0]
    np.testing.assert_allclose(found.log_probabilities, beams[0][1], rtol=1e-4)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(0.7, None, None), (1, 3, None), (1.3, None, 0.8), (2, 9, 0.6)],
)
def test_kept_tokens_are_those_of_the_formula(temperature, top_k, top_p):
    logits = np.random.default_rng(0).normal(0, 2, (4, 12)).astype("float32")
    method = decoding.Sampling(temperature, top_k, top_p)
    found = to_numpy(method.kept(ops.convert_to_tensor(logits)))
    for row, kept in zip(logits / temperature, found, strict=True):
        order = np.argsort(-row)[: top_k or len(row)]
        p = np.exp(row[order]) / np.exp(row[order]).sum()
        if top_p is not None:
            order = order[: int(np.searchsorted(p.cumsum(), top_p)) + 1]
        assert set(np.flatnonzero(kept > -1e8)) == set(order)
        np.testing.assert_allclose(kept[order], row[order], rtol=1e-6)


def test_samples_have_the_probabilities_of_the_model():
    model, count = make("gpt2"), 3000
    prompts, method = np.full((count, 1), 2), decoding.Sampling(1.5)
    found = decoding.decode(model, prompts, 1, method=method, seed=4)
    logits = logits_of(model, prompts[:1], None)[0, -1]
    p = np.exp(log_softmax(logits / 1.5))
    shares = np.bincount(found.token_ids[:, 1], minlength=V) / count
    np.testing.assert_allclose(shares, p, atol=5 * np.sqrt(0.25 / count))
    np.testing.assert_allclose(
        found.log_probabilities, log_softmax(logits)[found.token_ids[:, 1]], rtol=1e-4, atol=1e-4
    )


def test_seeds_and_batches():
    model, method = make("gpt2"), decoding.Sampling()
    prompts = np.array([[1], [2], [3], [4], [1]])
    one, same, other = (
        decoding.decode(model, prompts, 9, method=method, seed=seed, batch_size=2).token_ids
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any() and (one[0] != one[4]).any()
    only_best = decoding.Sampling(top_k=1)
    np.testing.assert_array_equal(
        decoding.decode(model, prompts, 9, method=only_best, batch_size=2).token_ids,
        decoding.decode(model, prompts, 9).token_ids,
    )


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA is an option there alone")
def test_xla_decodes_the_same():
    model = make("transformer")
    for method in (decoding.Greedy(), decoding.BeamSearch(2)):
        one, other = (
            decoding.decode(
                model, PROMPTS, 4, method=method, context=CONTEXT, end_token=0, jit_compile=jit
            )
            for jit in (False, True)
        )
        np.testing.assert_array_equal(one.token_ids, other.token_ids)


def test_compiled_loops_see_new_weights():
    model = make("gpt2")
    before = decoding.decode(model, [[1]], 8).token_ids
    model.position_embedding.embeddings.assign(-model.position_embedding.embeddings)
    after = decoding.decode(model, [[1]], 8).token_ids
    assert (before != after).any()
    assert after[0].tolist() == greedily(model, [1], 9, -1, None)[0]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of TensorFlow's functions")
def test_compiled_loops_keep_no_model_alive():
    model = make("recurrent")
    decoding.decode(model, [[1]], 2)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts in a variable")
def test_the_loop_ends_when_all_rows_have():
    model = make("recurrent")
    model.classifier.bias.assign([30.0, 0, 0, 0, 0])
    model.steps.assign(0)
    found = decoding.decode(model, [[1, 2], [3]], 100, end_token=0)
    assert found.lengths.tolist() == [3, 2]
    assert float(model.steps) == 2


METHODS = [decoding.Greedy(), decoding.Sampling(0.5, 3, 0.9), decoding.BeamSearch(3, 0.6)]


@pytest.mark.parametrize("method", METHODS, ids=lambda one: type(one).__name__)
def test_methods_are_serialized(method):
    config = keras.saving.serialize_keras_object(method)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(method) and vars(again) == vars(method)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": [[5]]}, "`prompts` must hold tokens from 0 to 4.* from 5 to 5"),
        ({"prompts": [[1], []]}, "an empty prompt in row 1"),
        ({"prompts": [[0.5]]}, r"`prompts` must be integers \(batch, length\).* of float64"),
        ({"prompts": np.zeros((1, 13), int)}, "at most 12 tokens.*a prompt of 13 tokens"),
        ({"max_new_tokens": 12}, "Prompts and new tokens must be at most 12 tokens"),
        ({"max_new_tokens": None, "length": 13}, "must be at most 12 tokens"),
        ({"max_new_tokens": None, "length": 1}, "`length` must be at least .* 2"),
        ({"max_new_tokens": None}, "one of `max_new_tokens` and `length`"),
        ({"end_token": 5}, "`end_token` must be below 5"),
        ({"context": SOURCE[:1]}, "`context` must be None"),
        (
            {"prompts": {"token_ids": [[1, 2]], "padding_mask": [[0, 1]]}},
            "with padding at the end of rows",
        ),
    ],
)
def test_bad_input(arguments, message):
    model = make("gpt2")
    with pytest.raises(ValueError, match=message):
        decoding.decode(**{"model": model, "prompts": [[1, 2]], "max_new_tokens": 2, **arguments})


def test_bad_models_methods_and_contexts():
    with pytest.raises(TypeError, match=r"`model` must be a decoder .* without `make_cache`"):
        decoding.decode(keras.Sequential(), [[1]], 2)
    with pytest.raises(TypeError, match="`method` must be a"):
        decoding.decode(make("gpt2"), [[1]], 2, method="greedy")
    with pytest.raises(ValueError, match="`token_ids` must be from 0 to 6"):
        decoding.decode(make("transformer"), [[1]], 2, context=[[7, 1]])
    with pytest.raises(ValueError, match=r"`context` must have 1 rows.*\(3, 4\)"):
        decoding.decode(make("transformer"), [[1]], 2, context=SOURCE)
    with pytest.raises(ValueError, match="`context` must be the source"):
        decoding.decode(make("transformer"), [[1]], 2)
    for make_method, message in (
        (lambda: decoding.Sampling(0.0), "`temperature` must be a positive number"),
        (lambda: decoding.Sampling(top_p=1.5), "`top_p` must be a positive number of at most 1"),
        (lambda: decoding.BeamSearch(0), "`width` must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=message):
            make_method()
