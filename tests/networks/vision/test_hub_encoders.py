"""Backbones of KerasHub as encoders of methods that hide patches."""

import re

import keras
import numpy as np
import pytest
from keras import ops

import keras_ssl
from keras_ssl import layers, networks, optimizers
from keras_ssl._copying import copy_layer

keras_hub = pytest.importorskip("keras_hub")

to_numpy = ops.convert_to_numpy
IMAGES = np.random.default_rng(0).random((2, 16, 16, 3)).astype("float32")
SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
DINOV2 = {**SMALL, "patch_size": 4, "intermediate_dim": 32, "image_shape": (16, 16, 3)}
VIT = {**SMALL, "mlp_dim": 32, "patch_size": (4, 8), "image_shape": (16, 16, 3)}
BACKBONES = {
    "ViT": (lambda: keras_hub.models.ViTBackbone(**VIT), 1),
    "ViT without class token": (
        lambda: keras_hub.models.ViTBackbone(
            **VIT, use_class_token=False, use_patch_bias=False, dropout_rate=0.1
        ),
        0,
    ),
    "DINOv2": (
        lambda: keras_hub.models.DINOV2Backbone(**DINOV2, position_embedding_shape=(24, 24, 3)),
        1,
    ),
    "DINOv2 with registers": (
        lambda: keras_hub.models.DINOV2Backbone(
            **DINOV2,
            num_register_tokens=3,
            use_swiglu_ffn=True,
            use_mask_token=False,
            position_embedding_shape=(16, 16, 3),
        ),
        4,
    ),
}


def made(name):
    """Return a backbone with weights that are not those of the start, its encoder, its tokens."""
    make, extra = BACKBONES[name]
    backbone = make()
    random = np.random.default_rng(0)
    for weight in backbone.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            weight.assign(weight + random.normal(0, 0.3, weight.shape))
    inputs = {"images": IMAGES} if isinstance(backbone.input, dict) else IMAGES
    return backbone, networks.token_encoder(backbone, needs=["indices"]), backbone(inputs), extra


def close(found, expected):
    np.testing.assert_allclose(to_numpy(found), to_numpy(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_equals_the_backbone(name, tmp_path):
    backbone, encoder, expected, extra = made(name)
    assert networks.token_encoder(encoder) is encoder and encoder.extra_tokens == extra
    assert {id(one) for one in encoder.weights} == {id(one) for one in backbone.weights}
    found = encoder(IMAGES, return_intermediates=True)
    close(found["patch_tokens"], expected[:, extra:])
    features = expected[:, 0] if extra else ops.mean(expected, axis=1)
    close(found["features"], features)
    close(encoder(IMAGES), features)
    assert encoder.compute_output_shape(IMAGES.shape) == (2, 16)
    assert len(found["blocks"]) == 2 and found["blocks"][1].shape == expected.shape
    assert ("class_token" in found) == (extra > 0) and ("registers" in found) == (extra > 1)
    if extra > 1:
        close(found["registers"], expected[:, 1:4])

    copied = copy_layer(encoder)
    close(copied(IMAGES), features)
    shared = {id(one) for one in copied.variables} & {id(one) for one in encoder.variables}
    assert not shared
    encoder.save(tmp_path / "encoder.keras")
    if name == "DINOv2":  # KerasHub resizes its positions, and loses some of them
        backbone.save(tmp_path / "backbone.keras")
        expected = keras.models.load_model(tmp_path / "backbone.keras")({"images": IMAGES})
        features = expected[:, 0]
    close(keras.models.load_model(tmp_path / "encoder.keras")(IMAGES), features)


@pytest.mark.parametrize("name", BACKBONES)
def test_sets_of_patches(name):
    _, encoder, expected, extra = made(name)
    tokens, grid = encoder.embed(IMAGES), encoder.grid(IMAGES.shape)
    count = grid[0] * grid[1]
    order = np.stack([np.random.default_rng(n).permutation(count) for n in range(2)])
    order = order.astype("int32")
    taken = ops.take_along_axis(tokens, order[:, :, None], axis=1)
    found = encoder.encode(taken, grid, indices=order)
    rows = np.take_along_axis(to_numpy(expected)[:, extra:], order[:, :, None], axis=1)
    close(found["patch_tokens"], rows)
    some = encoder.encode(taken[:, :3], grid, indices=order[:, :3])
    assert some["patch_tokens"].shape == (2, 3, 16)


def test_what_backbones_lack_is_said():
    backbone = keras_hub.models.ViTBackbone(**VIT)
    with pytest.raises(TypeError, match=r"with \['attention_mask'\], which .* does not take"):
        networks.token_encoder(backbone, needs=["attention_mask"])
    with pytest.raises(ValueError, match="Images must be 16x16 with their channels last"):
        networks.token_encoder(backbone)(np.zeros((1, 16, 24, 3), "float32"))
    first = {**VIT, "image_shape": (3, 16, 16)}
    backbone = keras_hub.models.ViTBackbone(**first, data_format="channels_first")
    with pytest.raises(ValueError, match="channels come first"):
        networks.token_encoder(backbone)
    with pytest.raises(TypeError, match="or a `ViTBackbone` or `DINOV2Backbone` of KerasHub"):
        networks.token_encoder(keras.layers.Dense(2))


@pytest.mark.parametrize("name", ["ViT", "DINOv2 with registers"])
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow")
def test_mae_learns_with_a_backbone(name, tmp_path):
    backbone, *_ = made(name)
    trainer = keras_ssl.trainers.MAE(backbone, layers.TokenDecoder(16, depth=1, num_heads=2))
    trainer.compile(keras.optimizers.Adam(0.003))
    images = np.random.default_rng(1).random((32, 16, 16, 3)).astype("float32")
    losses = trainer.fit(images, batch_size=16, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    # what was trained is the user's own backbone
    inputs = {"images": IMAGES} if isinstance(backbone.input, dict) else IMAGES
    close(trainer.encoder(IMAGES), backbone(inputs)[:, 0])
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.models.load_model(tmp_path / "trainer.keras")
    close(loaded.encoder(IMAGES), trainer.encoder(IMAGES))


@pytest.mark.parametrize("name", BACKBONES)
def test_learning_rates_fall_with_depth_and_kernels_alone_decay(name):
    encoder = networks.token_encoder(BACKBONES[name][0]())
    factors = optimizers.layer_wise_decay(encoder, 0.5)
    for variable in encoder.trainable_variables:
        path = f"encoder/{variable.path}"
        # MAE's rule: 0 for patches and tokens, the number of the block, then 1 more than blocks
        block = re.search(r"transformer_block_(\d+)/|layers_(\d+)/", path)
        depth = 0 if "embedding" in path else 3
        if block:
            depth = int(block[1]) if block[1] else int(block[2]) + 1
        found = next((f for pattern, f in factors.items() if re.search(pattern, path)), 1.0)
        assert found == 0.5 ** (3 - depth), path
        is_kernel = path.endswith("kernel")
        assert is_kernel != bool(re.search(optimizers.NO_WEIGHT_DECAY, path)), path
