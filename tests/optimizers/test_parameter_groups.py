"""The variables that recipes of transformers do not decay."""

import re

import keras
import numpy as np
import pytest

from keras_ssl import layers, networks
from keras_ssl.optimizers import NO_WEIGHT_DECAY


def excluded(layer):
    """Names of the variables that get no weight decay, and of those that do."""
    found = {True: set(), False: set()}
    for variable in layer.trainable_variables:
        found[bool(re.search(NO_WEIGHT_DECAY, f"encoder/{variable.path}"))].add(variable.name)
    return found[True], found[False]


@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
def test_blocks_decay_kernels_alone(norm):
    block = layers.TransformerEncoderBlock(
        2,
        8,
        attention=layers.MultiHeadAttention(
            2, query_key_norm="rms", position_bias=layers.RelativePositionBias(2, (2, 2))
        ),
        norm=norm,
        layer_scale=1e-5,
    )
    block(np.zeros((1, 5, 8), "float32"))
    not_decayed, decayed = excluded(block)
    # BEiT decays the table of relative positions
    assert decayed == {"query_key_value_kernel", "output_kernel", "kernel", "table"}
    assert {"query_key_value_bias", "output_bias", "bias", "scale"} < not_decayed
    assert {v.name for v in block.trainable_variables if len(v.shape) == 1} == not_decayed


def test_vision_transformer_decays_kernels_alone():
    encoder = networks.vit(
        (8, 1, 2), (8, 8, 1), 4, registers=1, pooling="attention", layer_scale=1e-5
    )
    decayed = {v.path for v in encoder.trainable_variables if v.name in excluded(encoder)[1]}
    assert decayed and all(re.search("kernel$", path) for path in decayed)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.ClassToken(), (1, 4, 8)),
        (layers.RegisterTokens(2), (1, 4, 8)),
        (layers.MaskToken(), ((1, 4, 8), (1, 4))),
        (layers.LearnedPositionalEmbedding(4, name="position_embedding"), (1, 4, 8)),
        (layers.LearnedPositionalEmbedding(4), (1, 4, 8)),
        (layers.LearnedPositionalEmbedding((2, 2), extra_tokens=1), (1, 5, 8)),  # another number
        (layers.LayerScale(), (1, 4, 8)),
        (keras.layers.GroupNormalization(2), (1, 4, 8)),
    ],
)
def test_tokens_positions_and_scales_do_not_decay(layer, shape):
    layer.build(shape)
    assert excluded(layer)[1] == set() and layer.trainable_variables


def test_pooling_decays_its_kernels_alone():
    layer = layers.AttentionPooling(2)
    layer.build((1, 4, 8))
    not_decayed, decayed = excluded(layer)
    assert not_decayed == {"query", "query_bias", "key_value_bias", "output_bias"}
    assert decayed == {"query_kernel", "key_value_kernel", "output_kernel"}


def test_decoders_of_tokens_decay_their_kernels_alone():
    layer = layers.TokenDecoder(8, 1, 2, output_dim=3)
    layer.build((1, 4, 8), (1, 4), (1, 2))
    not_decayed, decayed = excluded(layer)
    assert "mask_token" in not_decayed
    assert decayed == {"kernel", "query_key_value_kernel", "output_kernel"}


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.Dense(4, use_bias=False), (1, 8)),
        (keras.layers.Conv2D(4, 3, use_bias=False), (1, 8, 8, 2)),
        (keras.layers.Embedding(4, 8), (1, 8)),
        (layers.Prototypes(4), (1, 8)),
        (layers.PatchEmbedding(4, 8, use_bias=False), (1, 8, 8, 3)),
    ],
)
def test_kernels_and_tables_of_words_decay(layer, shape):
    layer.build(shape)
    assert excluded(layer)[0] == set() and layer.trainable_variables


@pytest.mark.parametrize(
    ("path", "is_excluded"),
    [
        ("encoder/vit/patching_and_embedding/class_token", True),  # KerasHub's names
        ("encoder/vit/patching_and_embedding/position_embedding/embeddings", True),
        ("encoder/position_embedding_1/embeddings", True),  # a second layer without a name
        ("encoder/dinov2/embeddings/cls_token", True),
        ("encoder/dinov2/embeddings/position_embeddings", True),
        ("encoder/dinov2/embeddings/register_tokens", True),
        ("encoder/dinov2/block/layer_scale/lambda1", True),
        ("encoder/bias_network/kernel", False),
        ("encoder/token_embedding/embeddings", False),
        ("encoder/token_embedding_1/embeddings", False),
        ("bias", True),  # Keras' own `exclude_from_weight_decay` searches names
    ],
)
def test_paths(path, is_excluded):
    assert bool(re.search(NO_WEIGHT_DECAY, path)) == is_excluded
