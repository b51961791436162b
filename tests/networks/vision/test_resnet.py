import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_ssl
from keras_ssl import networks

REFERENCE = Path(__file__).parents[2] / "reference"
TORCHVISION = json.loads((REFERENCE / "resnet.json").read_text())["cases"]
BUILDERS = {
    name: getattr(networks, name) for name in ("resnet18", "resnet34", "resnet50", "small_resnet")
}


def reference_script():
    spec = importlib.util.spec_from_file_location("make_resnet", REFERENCE / "make_resnet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def our_layer_and_weight(name):
    """torchvision's `layer1.0.conv2.weight` is our `stage1_block1_conv2`, `kernel`."""
    *path, weight = name.split(".")
    layer = ".".join(path)
    layer = re.sub(r"^(conv|bn)1$", r"stem_\1", layer)
    layer = re.sub(r"^layer(\d)\.(\d)\.", lambda m: f"stage{m[1]}_block{int(m[2]) + 1}_", layer)
    layer = layer.replace("downsample.0", "shortcut_conv").replace("downsample.1", "shortcut_norm")
    layer = layer.replace("bn", "norm")
    if "conv" in layer:
        return layer, "kernel"
    return layer, {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }[weight]


def trainable_count(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.few(1)
@pytest.mark.parametrize("case", TORCHVISION, ids=lambda c: f"{c['name']}-{c['stem']}")
def test_equals_torchvision(case):
    script = reference_script()
    size = case["size"]
    model = BUILDERS[case["name"]](
        (size, size, 3), stem=getattr(networks, case["stem"]), include_rescaling=False
    )
    assert trainable_count(model) == case["parameters"]

    count = 0
    for name, value in script.draw_weights(case["shapes"]):
        layer, weight = our_layer_and_weight(name)
        if value.ndim == 4:
            value = value.transpose(2, 3, 1, 0)
        getattr(model.get_layer(layer), weight).assign(value)
        count += 1
    assert count == len(model.weights)

    images = script.draw_images(size)
    inference = model.predict(images, verbose=0)[:, ::16]
    scale = np.std(case["inference"])
    np.testing.assert_allclose(inference, case["inference"], rtol=1e-4, atol=1e-4 * scale)
    # statistics of two images are over few values in the last stages, so rounding is visible
    training = keras.ops.convert_to_numpy(model(images, training=True))[:, ::16]
    scale = np.std(case["training"])
    np.testing.assert_allclose(training, case["training"], rtol=1e-3, atol=2e-3 * scale)


@pytest.mark.parametrize("name", BUILDERS)
def test_features_of_any_channel_count_and_size(name, rng):
    model = BUILDERS[name]((None, None, 2), width=4)
    assert model.name == name
    for shape in ((2, 16, 16, 2), (1, 9, 13, 2)):
        features = model(rng.uniform(0, 255, shape))
        assert features.shape == (shape[0], model.output_shape[-1])
        assert np.all(np.isfinite(features))


def test_width_scales_the_features():
    sizes = {name: build((8, 8, 3), width=4).output_shape[-1] for name, build in BUILDERS.items()}
    assert sizes == {"resnet18": 32, "resnet34": 32, "resnet50": 128, "small_resnet": 16}


@pytest.mark.parametrize(
    ("stem", "size"),
    [(networks.cifar_stem, 32), (networks.strided_stem, 16), (networks.imagenet_stem, 8)],
)
def test_stem_resolution(stem, size):
    model = networks.resnet((1,), (32, 32, 3), width=4, stem=stem)
    assert model.get_layer("stage1_block1_output").output.shape == (None, size, size, 4)


def test_own_stem():
    def patches(x, width):
        return keras.layers.Conv2D(width, 4, strides=4, name="patches")(x)

    model = networks.resnet18((32, 32, 3), width=4, stem=patches)
    assert model.get_layer("stage1_block1_output").output.shape == (None, 8, 8, 4)


def test_rescaling_maps_pixels_to_minus_one_and_one(rng):
    with_rescaling = networks.small_resnet((8, 8, 1), width=4)
    without = networks.small_resnet((8, 8, 1), width=4, include_rescaling=False)
    without.set_weights(with_rescaling.get_weights())
    pixels = rng.integers(0, 256, (3, 8, 8, 1)).astype("uint8")
    np.testing.assert_allclose(
        with_rescaling(pixels), without(pixels.astype("float32") / 127.5 - 1), rtol=1e-4, atol=1e-5
    )


def test_blocks_start_as_their_shortcuts(rng):
    images = rng.uniform(0, 255, (2, 8, 8, 3))
    for zero, same in ((True, True), (False, False)):
        model = networks.resnet((2,), (8, 8, 3), width=4, zero_init_last_gamma=zero)
        start, end = (model.get_layer(f"stage1_block{i}_output").output for i in (1, 2))
        before, after = keras.Model(model.input, [start, end])(images)
        assert np.allclose(before, after, atol=1e-6) is same


@pytest.mark.parametrize("name", BUILDERS)
def test_no_convolution_of_single_pixels_has_strides(name):
    # in training such convolutions of few channels abort the process (docs/faults.md)
    convolutions = [
        one
        for one in BUILDERS[name]((16, 16, 3), width=8).layers
        if isinstance(one, keras.layers.Conv2D) and one.kernel_size == (1, 1)
    ]
    assert convolutions and all(one.strides == (1, 1) for one in convolutions)


def test_narrow_networks_train():
    model = networks.resnet((1, 1), (64, 64, 3), width=8)
    model.compile("sgd", "mse")
    images = np.zeros((40, 64, 64, 3), "uint8")
    loss = model.fit(images, np.zeros((40, 16)), batch_size=40, epochs=3, verbose=0)
    assert np.isfinite(loss.history["loss"]).all()


def test_start_keeps_the_variance(rng):
    # He initialization: a plain chain keeps the scale of the signal
    model = networks.resnet((3,), (16, 16, 3), width=64, zero_init_last_gamma=False)
    kernel = np.asarray(model.get_layer("stage1_block2_conv1").kernel)
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.05)
    assert all("bias" not in weight.path for weight in model.weights)


def test_saves_and_loads(tmp_path, rng):
    model = networks.resnet((1, 2), (16, 16, 3), width=4, bottleneck=True)
    images = rng.uniform(0, 255, (2, 16, 16, 3))
    model(images, training=True)
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(images), model(images), atol=1e-6)


def test_mixed_precision(rng):
    images = rng.uniform(0, 255, (4, 16, 16, 3))
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        model = networks.small_resnet((16, 16, 3), width=4)
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(model(images, training=True).dtype) == "bfloat16"
    assert {w.dtype for w in model.weights} == {"float32"}
    model.compile("sgd", "mse")
    model.fit(images, np.zeros((4, 16)), verbose=0)
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"blocks": ()}, ValueError, "blocks"),
        ({"blocks": (1, 0)}, ValueError, "blocks"),
        ({"input_shape": (32, 32)}, ValueError, "input_shape"),
        ({"input_shape": (32, 32, None)}, ValueError, "input_shape"),
        ({"width": 0}, ValueError, "width"),
        ({"stem": "cifar"}, TypeError, "stem"),
    ],
)
def test_wrong_arguments_raise(arguments, error, message):
    with pytest.raises(error, match=f"`{message}`.*Received"):
        networks.resnet(**{"blocks": (1,), **arguments})


def test_is_in_the_namespace():
    assert keras_ssl.networks.resnet18 is networks.resnet18
