"""Diffusion transformers: diffusers' numbers, conditions, half precision, errors."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import networks

REFERENCE = Path(__file__).parents[2] / "reference"
DIFFUSERS = json.loads((REFERENCE / "dit.json").read_text())
to_numpy = ops.convert_to_numpy


def reference_script():
    spec = importlib.util.spec_from_file_location("make_dit", REFERENCE / "make_dit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def set_weights_of_diffusers(model, weights):
    """Sets the weights of a `DiTTransformer2DModel`, given by name."""
    weights = dict(weights)

    def take(layer, name):
        layer.kernel.assign(weights.pop(f"{name}.weight").T)
        layer.bias.assign(weights.pop(f"{name}.bias"))

    patches = model.get_layer("patch_embedding")
    kernel = weights.pop("pos_embed.proj.weight").transpose(2, 3, 1, 0)
    patches.kernel.assign(kernel.reshape(-1, kernel.shape[-1]))
    patches.bias.assign(weights.pop("pos_embed.proj.bias"))
    embedder = "transformer_blocks.0.norm1.emb"
    time = model.get_layer("time_embedding")
    take(time.hidden, f"{embedder}.timestep_embedder.linear_1")
    take(time.outputs, f"{embedder}.timestep_embedder.linear_2")
    table = weights.pop(f"{embedder}.class_embedder.embedding_table.weight")
    model.get_layer("label_embedding").embeddings.assign(table)
    for number in range(2):
        block, name = model.get_layer(f"block_{number + 1}"), f"transformer_blocks.{number}"
        take(block.modulation, f"{name}.norm1.linear")
        arrays = []
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            path = f"{name}.attn1.{part}"
            arrays.append((weights.pop(f"{path}.weight").T, weights.pop(f"{path}.bias")))
        block.attention.set_projections(arrays)
        take(block.feed_forward.hidden, f"{name}.ff.net.0.proj")
        take(block.feed_forward.outputs, f"{name}.ff.net.2")
    last = model.get_layer("pixels")
    take(last.modulation, "proj_out_1")
    take(last.pixels, "proj_out_2")
    assert not weights


def test_equals_diffusers():
    script = reference_script()
    shape = (script.SIZE, script.SIZE, script.CHANNELS)
    size = (4 * script.HEADS, script.DEPTH, script.HEADS)
    model = networks.dit(size, shape, script.PATCH, num_classes=script.CLASSES)
    assert model.count_params() == sum(int(np.prod(one)) for _, one in DIFFUSERS["shapes"])
    inputs = {
        "x": script.draw_images(),
        "time": np.array(script.TIMES, "float32"),
        "label": np.array(script.LABELS),
    }
    assert np.all(to_numpy(model(inputs)) == 0)  # as it starts
    set_weights_of_diffusers(model, script.draw_weights(DIFFUSERS["shapes"]))
    np.testing.assert_allclose(to_numpy(model(inputs)), DIFFUSERS["outputs"], rtol=1e-4, atol=2e-5)


def test_conditions(rng, tmp_path, set_dtype_policy):
    """Each row but the first two has another value of one input, the second one of its padding."""
    one = {
        "x": rng.normal(size=(4, 6, 2)).astype("float32"),
        "time": np.float32(0.5),
        "label": np.int32(1),
        "tokens": rng.normal(size=(3, 5)).astype("float32"),
        "tokens_mask": np.array([1, 1, 0], bool),
        "image": rng.normal(size=(4, 6, 3)).astype("float32"),
    }
    inputs = {key: np.stack([value] * 8) for key, value in one.items()}
    inputs["tokens"][1, 2] = 7.0
    for row, key in enumerate(inputs, start=2):
        inputs[key][row] = ~inputs[key][row] if "mask" in key else inputs[key][row] + 1
    arguments = {"num_classes": 3, "token_dim": 5, "tokens_mask": True, "condition_channels": 3}
    arguments |= {"dropout_rate": 0.1, "remat": True, "seed": 0}
    model = networks.dit((8, 1, 2), (4, 6, 2), **arguments)
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.3, weight.shape))
    outputs = to_numpy(model(inputs))
    differences = np.abs(outputs - outputs[0]).max(axis=(1, 2, 3))
    assert differences[1] < 1e-5 and differences[2:].min() > 1e-3

    model.save(tmp_path / "denoiser.keras")
    loaded = keras.models.load_model(tmp_path / "denoiser.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(inputs), outputs, rtol=1e-5, atol=1e-5)

    set_dtype_policy("mixed_float16")
    half = networks.dit((8, 1, 2), (4, 6, 2), **arguments)
    half.set_weights(model.get_weights())
    found = half(inputs)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, outputs, atol=0.03 * np.abs(outputs).max())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "tiny"}, "`size`"),
        ({"size": (6, 1, 2)}, "`size`"),
        ({"input_shape": (9, 8, 2)}, "divisible by `patch_size`"),
        ({"tokens_mask": True}, "`tokens_mask`"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=rf"{message}.*Received"):
        networks.dit(**{"size": (8, 1, 2), "input_shape": (8, 8, 2), **arguments})
