"""Blocks: float64 formulas of their connections, masks, scores, cache, statistics of dropout."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers

to_numpy = ops.convert_to_numpy


class TestConformance(TestCase):
    def check(self, layer, weights, shape, **arguments):
        statistics = arguments.pop("statistics", 0)
        self.run_layer_test(
            layer,
            init_kwargs={"num_heads": 2, "hidden_dim": 12, **arguments},
            input_shape=shape,
            expected_output_shape=(3, 5, 6),
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=statistics,
            supports_masking=True,
            run_training_check=False,
        )

    def test_encoder(self):
        self.check(layers.TransformerEncoderBlock, 12, (3, 5, 6))

    def test_encoder_of_other_parts(self):
        self.check(
            layers.TransformerEncoderBlock,
            12,
            (3, 5, 6),
            attention=layers.MultiHeadAttention(2, num_key_value_heads=1),
            feed_forward=layers.FeedForward(8, "silu", gated=True),
            norm="rms",
            norm_first=False,
            layer_scale=0.1,
            drop_path_rate=0.1,
            dropout_rate=0.1,
            remat=True,
            seed=1,
        )

    def test_encoder_with_batch_normalization(self):
        self.check(layers.TransformerEncoderBlock, 12, (3, 5, 6), norm="batch", statistics=4)

    def test_decoder(self):
        shapes = {"inputs_shape": (3, 5, 6), "context_shape": (3, 4, 7)}
        self.check(layers.TransformerDecoderBlock, 20, shapes)


def normalized(x, norm, epsilon=1e-6):
    if norm == "layer":
        x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon)


def block_of(kind="TransformerEncoderBlock", shapes=((None, None, 8),), **arguments):
    keras.utils.set_random_seed(0)
    block = getattr(layers, kind)(**{"num_heads": 2, "hidden_dim": 16, **arguments})
    block.build(*shapes)
    return block


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_equals_its_formula(norm, norm_first, rng):
    block = block_of(norm=norm, norm_first=norm_first, layer_scale=0.5)
    x = rng.normal(size=(2, 5, 8))

    def add(x, part):
        y = 0.5 * np.float64(to_numpy(part(normalized(x, norm) if norm_first else x)))
        return x + y if norm_first else normalized(x + y, norm)

    expected = add(add(x, block.attention), block.feed_forward)
    np.testing.assert_allclose(to_numpy(block(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm_first", [True, False])
def test_decoder_equals_its_formula(norm_first, rng):
    shapes = ((None, None, 8), (None, None, 6))
    block = block_of("TransformerDecoderBlock", shapes, norm_first=norm_first)
    x, context = rng.normal(size=(2, 5, 8)), rng.normal(size=(2, 4, 6))
    padding = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    parts = [
        lambda h: block.attention(h, use_causal_mask=True),
        lambda h: block.cross_attention(h, context, value_mask=padding),
        block.feed_forward,
    ]
    expected = x
    for part in parts:
        y = np.float64(to_numpy(part(normalized(expected, "layer") if norm_first else expected)))
        expected = expected + y
        expected = expected if norm_first else normalized(expected, "layer")
    found = to_numpy(block(x, context, context_mask=padding))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    later = x.copy()
    later[:, 3:] += 1
    changed = to_numpy(block(later, context, context_mask=padding))
    np.testing.assert_allclose(changed[:, :3], found[:, :3], rtol=1e-4, atol=1e-5)
    both = to_numpy(block(later, context, use_causal_mask=False))
    assert np.abs(both[:, :3] - to_numpy(block(x, context))[:, :3]).max() > 1e-2


def test_batch_normalization_uses_the_batch_in_training(rng):
    block = block_of(norm="batch")
    x = rng.normal(3, 2, size=(16, 5, 8)).astype("float32")
    entered = to_numpy(block.attention_residual.enter(x, True))
    np.testing.assert_allclose(entered.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(entered.std(axis=(0, 1)), 1, atol=1e-3)
    still = to_numpy(block.attention_residual.enter(x, False))
    assert still.mean() > 1


def test_padding_is_not_attended_to(rng):
    block = block_of()
    x = rng.normal(size=(2, 5, 8)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0], [1] * 5], bool)
    short = to_numpy(block(x[:1, :3]))
    np.testing.assert_allclose(to_numpy(block(x, mask=mask))[:1, :3], short, rtol=1e-4, atol=1e-5)
    tokens = np.array([[3, 1, 2, 0, 0], [1, 2, 3, 4, 5]])
    inputs = keras.Input((None,), dtype="int32")
    h = keras.layers.Embedding(6, 8, mask_zero=True)(inputs)
    model = keras.Model(inputs, block(block(h)))
    np.testing.assert_allclose(
        to_numpy(model(tokens))[:1, :3], to_numpy(model(tokens[:1, :3])), rtol=1e-4, atol=1e-5
    )


def test_scores_and_cache_follow_the_tokens(rng):
    block = block_of()
    x = rng.normal(size=(2, 6, 8)).astype("float32")
    expected, scores = block(x, use_causal_mask=True, return_attention_scores=True)
    np.testing.assert_allclose(np.sum(scores, axis=-1), 1, rtol=1e-5)
    assert np.all(np.triu(to_numpy(scores)[0, 0], 1) < 1e-6)
    cache, found = block.attention.make_cache(2, 6), []
    for position in range(6):
        y, cache = block(x[:, position : position + 1], cache=cache, cache_index=position)
        found.append(to_numpy(y))
    np.testing.assert_allclose(np.concatenate(found, 1), to_numpy(expected), rtol=1e-4, atol=1e-5)
    inputs = keras.Input((6, 8))
    outputs = block(inputs, return_attention_scores=True)
    assert [one.shape for one in outputs] == [(None, 6, 8), (None, 2, 6, 6)]


def test_masks_by_position_in_a_functional_model(rng):
    x = rng.normal(size=(2, 5, 8)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0], [1] * 5], bool)
    inputs = [keras.Input((5, 8)), keras.Input((5,), dtype="bool")]
    block = block_of()
    model = keras.Model(inputs, block(*inputs))
    np.testing.assert_allclose(
        to_numpy(model([x, mask])), to_numpy(block(x, mask=mask)), rtol=1e-4, atol=1e-5
    )
    _, scores = block(*inputs, return_attention_scores=True)
    assert scores.shape == (None, 2, 5, 5)
    block = block_of("TransformerDecoderBlock", ((None, 5, 8), (None, 5, 8)))
    model = keras.Model(inputs, block(inputs[0], inputs[0], inputs[1]))
    np.testing.assert_allclose(
        to_numpy(model([x, mask])), to_numpy(block(x, x, inputs_mask=mask)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["TransformerEncoderBlock", "TransformerDecoderBlock"])
def test_attention_layers_of_keras_take_the_place_of_ours(kind, rng, tmp_path):
    is_decoder = kind == "TransformerDecoderBlock"
    shapes = ((None, 5, 8), (None, 5, 8))[: 1 + is_decoder]
    ours = block_of(kind, shapes)
    names = ["attention", "cross_attention"][: 1 + is_decoder]
    parts = {name: getattr(ours, name).to_keras() for name in names}
    theirs = block_of(kind, shapes, **parts)
    theirs.feed_forward.set_weights(ours.feed_forward.get_weights())
    tensors = [rng.normal(size=(2, 5, 8)).astype("float32") for _ in shapes]
    mask = np.array([[1, 1, 1, 0, 0], [1] * 5], bool)
    for arguments in ({}, {"inputs_mask": mask}, {"use_causal_mask": True}):
        expected, found = (to_numpy(block(*tensors, **arguments)) for block in (ours, theirs))
        # what padding itself attends to does not matter
        np.testing.assert_allclose(found[mask], expected[mask], rtol=1e-4, atol=1e-5)
    expected, found = (block(*tensors, return_attention_scores=True)[1] for block in (ours, theirs))
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"does not take \['segments'\]"):
        theirs(*tensors, segments=np.zeros((2, 5), "int32"))
    inputs = [keras.Input(shape[1:]) for shape in shapes]
    attention = {name: keras.layers.GroupQueryAttention(4, 2, 1) for name in names}
    model = keras.Model(inputs, getattr(layers, kind)(2, 16, **attention)(*inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(loaded(tensors)), to_numpy(model(tensors)), atol=1e-6)


def test_random_parts_draw_different_numbers(rng):
    """With equal masks, the branches of an example would be left out together."""
    block = block_of(drop_path_rate=0.5, seed=3)
    x = rng.normal(size=(4000, 1, 8)).astype("float32")
    residuals = [block.attention_residual, block.feed_forward_residual]
    left_out = [
        np.all(to_numpy(one.drop_path(x, training=True)) == 0, axis=(1, 2)) for one in residuals
    ]
    assert abs(np.corrcoef(*left_out)[0, 1]) < 0.1
    rates = [block_of(dropout_rate=0.5, seed=3).attention_residual.dropout.rate]
    rates += [block_of(attention_dropout_rate=0.25).attention.dropout_rate]
    assert rates == [0.5, 0.25]


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "name"),
    [
        ("TransformerEncoderBlock", {"num_heads": 0}, ValueError, "num_heads"),
        ("TransformerEncoderBlock", {"norm": "group"}, ValueError, "norm"),
        ("TransformerEncoderBlock", {"attention": "full"}, TypeError, "attention"),
        ("TransformerEncoderBlock", {"feed_forward": 3}, TypeError, "feed_forward"),
        ("TransformerEncoderBlock", {"drop_path_rate": 1}, ValueError, "drop_path_rate"),
        ("TransformerDecoderBlock", {"cross_attention": 3}, TypeError, "cross_attention"),
    ],
)
def test_bad_arguments_are_named(kind, arguments, error, name):
    with pytest.raises(error, match=f"`{name}`.*Received"):
        getattr(layers, kind)(**{"num_heads": 2, "hidden_dim": 4, **arguments})


def test_a_decoder_block_attends_to_a_context_that_was_projected_before(rng):
    block = layers.TransformerDecoderBlock(2, 16)
    x, context = (rng.normal(size=(2, n, 8)).astype("float32") for n in (4, 5))
    mask = np.array([[True] * 5, [True, False, True, False, False]])
    expected, scores = block(x, context, context_mask=mask, return_context_scores=True)
    assert scores.shape == (2, 2, 4, 5) and (to_numpy(scores)[1, ..., 3:] == 0).all()
    memory = block.cross_attention.project_context(context)
    cache, found = block.attention.make_cache(2, 4), []
    for position in range(4):
        y, cache = block(
            x[:, position : position + 1],
            memory=memory,
            context_mask=mask,
            cache=cache,
            cache_index=position,
        )
        found.append(to_numpy(y))
    np.testing.assert_allclose(np.concatenate(found, 1), to_numpy(expected), rtol=1e-4, atol=1e-5)
    for arguments in ({}, {"context": context, "memory": memory}):
        with pytest.raises(ValueError, match="one of `context` and `memory`"):
            block(x, **arguments)
