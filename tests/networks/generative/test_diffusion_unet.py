"""The U-Net of diffusion models: diffusers' numbers, conditions, recomputation, sizes, errors."""

import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import networks
from keras_ssl.networks.generative._blocks import AttentionBlock, ResidualBlock

REFERENCE = Path(__file__).parents[2] / "reference"
DIFFUSERS = json.loads((REFERENCE / "diffusion_unet.json").read_text())["cases"]
to_numpy = ops.convert_to_numpy


def reference_script():
    spec = importlib.util.spec_from_file_location(
        "make_diffusion_unet", REFERENCE / "make_diffusion_unet.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def set_weights_of_diffusers(model, weights, levels):
    """Sets the weights of a `UNet2DModel`, given by name."""
    kinds = {"norm1": "norm_1", "conv1": "convolution_1", "time_emb_proj": "time_projection"}
    kinds |= {"norm2": "norm_2", "conv2": "convolution_2", "conv_shortcut": "shortcut"}
    projections, used = {}, 0
    for name, value in weights:
        *path, weight = name.split(".")
        path = ".".join(path)
        path = re.sub(r"^down_blocks\.(\d)", lambda m: f"down_{int(m[1]) + 1}", path)
        path = re.sub(r"^up_blocks\.(\d)", lambda m: f"up_{levels - int(m[1])}", path)
        path = re.sub(r"\.(resnets)\.(\d)", lambda m: f"_block_{int(m[2]) + 1}", path)
        path = re.sub(r"\.(attentions)\.(\d)", lambda m: f"_block_{int(m[2]) + 1}_attention", path)
        path = path.replace("mid_block_block_1_attention", "middle_attention")
        path = path.replace("mid_block", "middle").replace(".downsamplers.0.conv", "_halve")
        path = path.replace(".upsamplers.0.conv", "_double.convolution")
        path = path.replace("conv_in", "first_convolution").replace("conv_out", "last_convolution")
        path = path.replace("conv_norm_out", "last_norm").replace("linear_1", "hidden")
        path = path.replace("linear_2", "outputs").replace("class_embedding", "label_embedding")
        path = path.replace("group_norm", "norm")
        layer, *parts = path.split(".")
        layer = model.get_layer(layer)
        if parts and parts[0].startswith("to_"):
            own = projections.setdefault(layer.name, {})
            own[parts[0], weight] = value.T if weight == "weight" else value
            used += 1
            continue
        for part in parts:
            layer = getattr(layer, kinds.get(part, part))
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        elif value.ndim == 2 and "embedding" not in layer.name:
            value = value.T
        if weight == "bias":
            variable = layer.beta if hasattr(layer, "beta") else layer.bias
        else:
            names = ("gamma", "kernel", "embeddings")
            variable = next(getattr(layer, one) for one in names if hasattr(layer, one))
        variable.assign(value)
        used += 1
    for layer, own in projections.items():
        names = ("to_q", "to_k", "to_v", "to_out")
        arrays = [(own[name, "weight"], own[name, "bias"]) for name in names]
        model.get_layer(layer).attention.set_projections(arrays)
    return used


@pytest.mark.parametrize("case", DIFFUSERS, ids=lambda case: case["time"])
def test_equals_diffusers(case):
    script = reference_script()
    shape = (script.SIZE, script.SIZE, script.CHANNELS)
    model = networks.diffusion_unet(
        shape, (8, 16), 1, (1,), 8, groups=4, time=case["time"], num_classes=case["classes"]
    )
    sizes = [int(np.prod(shape)) for _, shape in case["shapes"]]
    assert model.count_params() == sum(sizes)
    assert not np.any(to_numpy(model.get_layer("last_convolution").kernel))  # starts as zero
    used = set_weights_of_diffusers(model, script.draw_weights(case["shapes"]), levels=2)
    assert used == len(sizes)
    inputs = {"x": script.draw_images(), "time": np.array(script.TIMES, "float32")}
    if case["classes"]:
        inputs["label"] = np.array(script.LABELS)
    np.testing.assert_allclose(to_numpy(model(inputs)), case["outputs"], rtol=1e-4, atol=3e-5)


def conditional(**changes):
    arguments = {"num_classes": 3, "token_dim": 5, "tokens_mask": True, "condition_channels": 2}
    arguments |= {"dropout_rate": 0.2, "seed": 0, **changes}
    shape = arguments.pop("input_shape", (4, 8, 2))
    return networks.diffusion_unet(shape, (4, 8), 1, (1,), 4, **arguments)


def inputs_of_conditional(rng, rows=2):
    """The same example, `rows` times."""
    one = {
        "x": rng.normal(size=(4, 8, 2)).astype("float32"),
        "time": np.float32(0.5),
        "label": np.int32(1),
        "tokens": rng.normal(size=(4, 5)).astype("float32"),
        "tokens_mask": np.array([1, 1, 1, 0], bool),
        "image": rng.normal(size=(4, 8, 2)).astype("float32"),
    }
    return {key: np.stack([value] * rows) for key, value in one.items()}


def test_conditions(rng, tmp_path, set_dtype_policy):
    """Each row but the first two has another value of one input, the second one of its padding."""
    inputs = inputs_of_conditional(rng, rows=8)
    inputs["tokens"][1, 3] = 7.0
    for row, key in enumerate(inputs, start=2):
        inputs[key][row] = ~inputs[key][row] if "mask" in key else inputs[key][row] + 1
    model = conditional(input_shape=(None, None, 2))
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.3, weight.shape))
    outputs = to_numpy(model(inputs))
    differences = np.abs(outputs - outputs[0]).max(axis=(1, 2, 3))
    assert differences[1] < 1e-5 and differences[2:].min() > 1e-3

    model.save(tmp_path / "denoiser.keras")
    loaded = keras.models.load_model(tmp_path / "denoiser.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(inputs), outputs, rtol=1e-5, atol=1e-5)

    set_dtype_policy("mixed_float16")
    half = conditional()
    half.set_weights(model.get_weights())
    found = half(inputs)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, outputs, atol=0.03 * np.abs(outputs).max())


def value_and_gradients(block, attention, inputs, tokens):
    import tensorflow as tf

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            tape.watch([*inputs, tokens])
            y = attention(block(*inputs, training=True), tokens, training=True)
            loss = tf.reduce_sum(y**2)
        weights = block.trainable_weights + attention.trainable_weights
        return loss, tape.gradient(loss, [*inputs, tokens, *(one.value for one in weights)])

    return tf.nest.flatten(step())


def test_recomputation_changes_nothing(rng):
    """Dropout masks too are those of a block that keeps everything."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken by TensorFlow; recomputation is tested on both")
    shapes = ((2, 4, 4, 8), (2, 6), (2, 3, 5))
    *inputs, tokens = (ops.convert_to_tensor(rng.normal(size=one), "float32") for one in shapes)
    found = []
    for remat in (False, True):
        block = ResidualBlock(4, 2, time="scale_shift", dropout_rate=0.3, remat=remat, seed=0)
        attention = AttentionBlock(2, 2, remat=remat)
        block.build(*(one.shape for one in inputs))
        attention.build((2, 4, 4, 4), tokens.shape)
        random = np.random.default_rng(0)
        for weight in block.trainable_weights + attention.trainable_weights:
            weight.assign(random.normal(size=weight.shape))

        found.append(value_and_gradients(block, attention, inputs, tokens))
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-3, atol=1e-3 * np.abs(plain).max())
    blocks = [one for one in conditional(remat=True).layers if hasattr(one, "remat")]
    assert len(blocks) == 16 and all(one.remat for one in blocks)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (28, 30, 1), "widths": (4, 4, 4)}, "28x28 or 28x32"),
        ({"input_shape": (28, 28)}, "`input_shape`"),
        ({"widths": ()}, "`widths`"),
        ({"blocks": 0}, "`blocks`"),
        ({"attention_levels": (2,)}, "`attention_levels`.*0 to 1"),
        ({"attention_levels": 1}, "`attention_levels`"),
        ({"head_dim": 3}, "`head_dim`"),
        ({"groups": 3}, "`groups`"),
        ({"time": "cross"}, "`time`"),
        ({"tokens_mask": True}, "`tokens_mask`"),
        ({"num_classes": 0}, "`num_classes`"),
    ],
)
def test_wrong_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        networks.diffusion_unet(**{"input_shape": (8, 8, 1), "widths": (4, 4), **arguments})


def test_a_missing_input_and_a_wrong_size_are_named(rng):
    model = conditional(input_shape=(None, None, 2))
    inputs = inputs_of_conditional(rng)
    with pytest.raises(ValueError, match=r"4x6 or 4x8"):
        model({**inputs, "x": inputs["x"][:, :, :7], "image": inputs["image"][:, :, :7]})
    del inputs["label"]
    with pytest.raises(ValueError, match='"label"'):
        model(inputs)
