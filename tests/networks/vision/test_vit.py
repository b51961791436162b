"""Vision transformers: what they return, sets of patches, other images, saving, bad input."""

import math
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers, networks
from keras_ssl._copying import copy_layer

to_numpy = ops.convert_to_numpy
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3)).astype("float32")
GRID = (2, 3)


def small(**kwargs):
    """Return a network with weights that are not those of the start."""
    arguments = {"include_rescaling": True, "seed": 0, **kwargs}
    encoder = networks.vit((8, 2, 2), (8, 12, 3), 4, **arguments)
    random = np.random.default_rng(1)
    for weight in encoder.weights:
        if keras.backend.is_float_dtype(weight.dtype):  # and no state of a generator
            weight.assign(weight + random.normal(0, 0.3, weight.shape))
    return encoder


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=tolerance, atol=tolerance)


KINDS = {
    "class": {},
    "no class token": {"pooling": "mean", "class_token": False, "positions": "sincos"},
    "registers": {"registers": 2, "gated": True, "activation": "silu", "layer_scale": 0.1},
    "attention": {"pooling": "attention", "norm": "rms", "query_key_norm": "rms"},
    "all tokens": {"pooling": None, "registers": 1, "positions": None, "final_norm": None},
    "BEiT": {"pooling": "mean", "final_norm": "features", "relative_bias": "shared"},
    "bias": {"relative_bias": "block", "use_bias": False, "hidden_dim": 5},
    "channels": {"pixel_mean": [0.4, 0.5, 0.6], "pixel_std": (0.2, 0.3, 0.4)},
    "CLIP": {"first_norm": True, "patch_bias": False, "activation": "quick_gelu"},
    "batch": {"norm": "batch", "positions": "sincos", "drop_path_rate": 0.1},
}


@pytest.mark.few(2)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_configuration(kind, tmp_path):
    encoder = small(**KINDS[kind])
    arguments = encoder.get_config()
    found = encoder(IMAGES, return_intermediates=True)
    features, extra = found["features"], encoder.extra_tokens
    assert tuple(features.shape) == encoder.compute_output_shape(IMAGES.shape)
    close(encoder(IMAGES), features)
    assert [tuple(x.shape) for x in found["blocks"]] == [(2, extra + 6, 8)] * 2
    last = found["blocks"][-1]
    tokens = encoder.norm(last) if arguments["final_norm"] == "tokens" else last
    close(found["patch_tokens"], tokens[:, extra:])
    assert ("class_token" in found) == arguments["class_token"]
    if arguments["class_token"]:
        close(found["class_token"], tokens[:, 0])
    assert ("registers" in found) == bool(arguments["registers"])
    if arguments["registers"]:
        close(found["registers"], tokens[:, extra - arguments["registers"] : extra])
    expected = {
        "class": lambda: tokens[:, 0],
        "mean": lambda: ops.mean(tokens[:, extra:], axis=1),
        "attention": lambda: encoder.attention_pooling(tokens[:, extra:]),
        None: lambda: tokens,
    }[arguments["pooling"]]()
    if arguments["final_norm"] == "features":
        expected = encoder.norm(expected)
    close(features, expected)

    again = networks.VisionTransformer.from_config(arguments)
    assert again.get_config() == arguments
    again.set_weights(encoder.get_weights())
    close(again(IMAGES), features)
    encoder.save(tmp_path / "encoder.keras")
    close(keras.models.load_model(tmp_path / "encoder.keras")(IMAGES), features)
    close(copy_layer(encoder)(IMAGES), features)


def test_is_what_its_parts_compute():
    """The same from NumPy: pixels, patches, positions, one block without attention to others."""
    encoder = networks.vit((8, 1, 2), (8, 12, 3), 4, class_token=False, pooling=None, seed=0)
    encoder.blocks[0].attention.output_kernel.assign(np.zeros((8, 8)))
    pixels = IMAGES / 127.5 - 1
    patches = pixels.reshape(2, 2, 4, 3, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 48)
    x = patches @ to_numpy(encoder.patch_embedding.kernel)
    x = x + to_numpy(encoder.position_embedding.embeddings)

    def normalized(x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)

    feed_forward = encoder.blocks[0].feed_forward
    hidden = normalized(x) @ to_numpy(feed_forward.hidden.kernel)
    gelu = (
        hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2))) / 2
    )  # exact, as published weights
    x = x + gelu @ to_numpy(feed_forward.outputs.kernel)
    close(encoder(IMAGES), normalized(x), 1e-4)


@pytest.mark.parametrize("kind", ["class", "no class token", "registers", "attention", "batch"])
def test_a_set_of_all_patches_is_the_image(kind):
    encoder = small(**KINDS[kind])
    whole = encoder(IMAGES, return_intermediates=True)
    order = np.array([[3, 0, 5, 1, 4, 2], [5, 4, 3, 2, 1, 0]], "int32")
    tokens = ops.take_along_axis(encoder.embed(IMAGES), order[:, :, None], axis=1)
    found = encoder.encode(tokens, GRID, indices=order)
    close(found["features"], whole["features"], 1e-4)
    expected = np.take_along_axis(to_numpy(whole["patch_tokens"]), order[:, :, None], axis=1)
    close(found["patch_tokens"], expected, 1e-4)


def test_patches_that_are_left_out_have_no_influence():
    encoder = small(registers=1)
    indices = np.array([[0, 4], [5, 2]], "int32")
    other = IMAGES.copy()
    other[0, :4, 4:] = 7.0  # patches 1 and 2 of the first image
    outputs = []
    for images in (IMAGES, other):
        tokens = ops.take_along_axis(encoder.embed(images), indices[:, :, None], axis=1)
        outputs.append(encoder.encode(tokens, GRID, indices=indices))
    close(*(one["features"] for one in outputs))


def test_attention_masks_are_of_patches():
    """A token that attends to itself and the class token alone does not see the other patches."""
    encoder = small(registers=1)
    mask = np.eye(6, dtype=bool)
    other = IMAGES.copy()
    other[:, 4:] = 0.0
    found = []
    for images in (IMAGES, other):
        tokens = encoder.embed(images)
        # one block, since class token and registers carry what they saw to the next
        x = encoder._place(tokens, GRID, None)
        x, scores = encoder.blocks[0](
            x,
            attention_mask=encoder._with_extra_tokens(mask),
            return_attention_scores=True,
        )
        found.append(to_numpy(x)[:, 2:5])
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)
    scores = to_numpy(
        encoder.encode(
            encoder.embed(IMAGES), GRID, attention_mask=mask, return_attention_scores=True
        )["attention_scores"][1]
    )
    assert scores.shape == (2, 2, 8, 8)
    allowed = np.ones((8, 8), bool)
    allowed[2:, 2:] = mask
    assert np.all((scores > 0) == allowed)
    np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "sincos", None])
def test_images_of_other_sizes(positions):
    encoder = small(positions=positions)
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 8, 3)).astype("float32")
    found = encoder(images, return_intermediates=True)
    assert tuple(found["patch_tokens"].shape) == (1, 8, 8)
    order = np.arange(8, dtype="int32")[None, ::-1]
    tokens = ops.take_along_axis(encoder.embed(images), order[:, :, None], axis=1)
    close(encoder.encode(tokens, (4, 2), indices=order)["features"], found["features"], 1e-4)


@pytest.mark.parametrize("kind", ["registers", "attention", "BEiT"])
def test_half_precision(kind):
    encoder = networks.vit((8, 2, 2), (8, 12, 3), 4, dtype="mixed_bfloat16", **KINDS[kind])
    whole = networks.vit((8, 2, 2), (8, 12, 3), 4, **KINDS[kind])
    whole.set_weights(encoder.get_weights())
    assert all(weight.dtype == "float32" for weight in encoder.weights)
    outputs = encoder(IMAGES)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    close(ops.cast(outputs, "float32"), whole(IMAGES), 0.1)


def test_dropout_and_stochastic_depth_are_for_training():
    rates = {"dropout_rate": 0.2, "attention_dropout_rate": 0.2, "drop_path_rate": 0.4}
    encoder, plain = small(**rates), small()
    for weight, other in zip(encoder.trainable_weights, plain.trainable_weights, strict=True):
        weight.assign(other)
    close(encoder(IMAGES), plain(IMAGES))
    trained = to_numpy(encoder(IMAGES, training=True))
    assert np.abs(trained - to_numpy(encoder(IMAGES))).max() > 0.01
    depths = [block.attention_residual.drop_path.rate for block in encoder.blocks]
    assert depths == [0.0, 0.4]


@pytest.mark.parametrize("final_norm", ["tokens", "features"])
def test_encode_uses_the_statistics_of_the_batch(final_norm):
    """Trainers call `encode` by itself, and not within a call of the network."""
    arguments = {"norm": "batch", "pooling": "mean", "final_norm": final_norm}
    called, encoded = small(**arguments), small(**arguments)
    encoded.set_weights(called.get_weights())
    before = to_numpy(encoded.norm.moving_mean)
    expected = called(IMAGES, training=True)
    found = encoded.encode(encoded.embed(IMAGES), GRID, training=True)["features"]
    close(found, expected)
    assert np.abs(to_numpy(encoded.norm.moving_mean) - before).max() > 1e-3
    for ours, theirs in zip(encoded.get_weights(), called.get_weights(), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("seed", [3, np.int64(3), None])
def test_learned_tokens_and_positions_start_different(seed):
    def learned():
        encoder = networks.vit((8, 1, 2), (8, 12, 3), 4, registers=2, seed=seed)
        layers_of = (encoder.class_token, encoder.register_tokens, encoder.position_embedding)
        return np.concatenate([to_numpy(one.weights[0]).reshape(-1, 8) for one in layers_of])

    found = learned()
    assert len(np.unique(found, axis=0)) == len(found) and len(np.unique(found)) > 70
    assert np.array_equal(found, learned()) == (seed is not None)


@pytest.mark.parametrize(
    ("size", "parameters"), [("tiny", 5_524_416), ("small", 21_665_664)], ids=str
)
def test_sizes(size, parameters):
    """Those of timm's `vit_tiny_patch16_224` and `vit_small_patch16_224` without a classifier."""
    encoder = networks.vit(size)
    assert encoder.count_params() == parameters
    # a normal distribution of 0.02 cut at two standard deviations
    spread = np.std(to_numpy(encoder.position_embedding.embeddings))
    np.testing.assert_allclose(spread, 0.88 * 0.02, rtol=0.02)


def test_sizes_are_those_of_the_papers(monkeypatch):
    module = sys.modules[networks.VisionTransformer.__module__]
    monkeypatch.setattr(module, "VisionTransformer", lambda shape, patch, *size: size)
    assert networks.vit("base") == (768, 12, 12)
    assert networks.vit("large") == (1024, 24, 16)
    assert networks.vit("huge") == (1280, 32, 16)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": "giant"}, ValueError, r"`size` must be one of \['tiny'"),
        ({"size": (9, 1, 2)}, ValueError, "divisor of the width"),
        ({"input_shape": (9, 12, 3)}, ValueError, r"Resize them to \(8, 12\)"),
        ({"input_shape": (8, 12)}, ValueError, "`input_shape` must be"),
        ({"input_shape": (None, None, 3)}, ValueError, "`input_shape` must be"),
        ({"patch_size": 0}, ValueError, "`patch_size`"),
        ({"positions": "rotary"}, ValueError, "`positions` must be one of"),
        ({"pooling": "max"}, ValueError, "`pooling` must be one of"),
        ({"relative_bias": True}, ValueError, "`relative_bias` must be one of"),
        ({"final_norm": "last"}, ValueError, "`final_norm` must be one of"),
        ({"norm": "group"}, ValueError, "`norm` must be one of"),
        ({"class_token": False}, ValueError, "needs a class token"),
        ({"relative_bias": "block", "registers": 1}, ValueError, "registers have no place"),
        ({"final_norm": "features", "pooling": None}, ValueError, "needs `pooling`"),
        ({"registers": -1}, ValueError, "`registers` must be"),
        ({"registers": 1.5}, TypeError, "`registers` must be"),
        ({"drop_path_rate": 1.0}, ValueError, "`drop_path_rate` must be"),
        ({"pixel_std": 0.0}, ValueError, "`pixel_std` must be a positive number"),
        ({"pixel_mean": [0.1, 0.2]}, ValueError, "one for each of 3 channels"),
        ({"pixel_mean": "half"}, TypeError, "`pixel_mean` must be a number"),
    ],
)
def test_bad_arguments(arguments, error, message):
    arguments = {"size": (8, 1, 2), "input_shape": (8, 12, 3), "patch_size": 4, **arguments}
    with pytest.raises(error, match=message):
        networks.vit(**arguments)


def test_bad_calls():
    encoder = small(relative_bias="block")
    with pytest.raises(ValueError, match="needs all patches"):
        encoder.encode(ops.zeros((1, 2, 8)), GRID, indices=np.array([[0, 1]]))
    with pytest.raises(ValueError, match=r"A grid of \(2, 3\)"):
        encoder(np.zeros((1, 16, 12, 3), "float32"))
    with pytest.raises(ValueError, match=r"Resize them to \(8, 8\)"):
        small()(np.zeros((1, 8, 9, 3), "float32"))
    with pytest.raises(TypeError, match=r"No layers of Keras are equal.*`model\.export`"):
        networks.to_keras(encoder)


class Mixer(networks.TokenEncoder):
    """An encoder of one's own that cannot leave patches out."""

    patch_size = (4, 4)

    def __init__(self):
        super().__init__()
        self.patches = layers.PatchEmbedding(4, 8)

    def grid(self, shape):
        return self.patches.grid(shape)

    def embed(self, images):
        return self.patches(images)

    def encode(self, tokens, grid, training=None):
        return {"features": ops.mean(tokens, axis=1), "patch_tokens": tokens}


def test_the_protocol_of_encoders():
    mixer = Mixer()
    assert networks.token_encoder(mixer) is mixer
    assert mixer(IMAGES, return_intermediates=True)["patch_tokens"].shape == (2, 6, 8)
    with pytest.raises(TypeError, match=r"with \['indices'\], which 'mixer\w*' does not take"):
        networks.token_encoder(mixer, needs=["indices", "training"])
    with pytest.raises(TypeError, match="`encoder` must be a"):
        networks.token_encoder(keras.layers.Dense(2))
    for name in ("grid", "embed", "encode"):
        with pytest.raises(NotImplementedError, match=f"must implement `{name}"):
            getattr(networks.TokenEncoder(), name)(*(None,) * (1 + (name == "encode")))
