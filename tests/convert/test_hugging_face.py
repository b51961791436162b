"""Published weights: features of `transformers`, folders written and read, and what is refused."""

import importlib.util
import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import convert, layers, networks

safetensors = pytest.importorskip("safetensors.numpy")

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = json.loads((REFERENCE / "published_weights.json").read_text())["cases"]
to_numpy = ops.convert_to_numpy


def reference_script():
    spec = importlib.util.spec_from_file_location("made", REFERENCE / "make_published_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = reference_script()


def tensors_of(case):
    return {name: script.draw(name, shape) for name, shape in CASES[case]["shapes"].items()}


def write(folder, case, changes=None, tensors=None):
    """Write a stored configuration with tensors drawn from their names."""
    folder.mkdir(exist_ok=True)
    config = {**CASES[case]["config"], **(changes or {})}
    config = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.save_file(tensors or tensors_of(case), folder / "model.safetensors")
    return folder


def read(folder, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert.from_hugging_face(folder, **{"include_rescaling": False, **kwargs})


@pytest.mark.parametrize("case", CASES)
def test_equals_transformers(case, tmp_path):
    folder = write(tmp_path / "published", case)
    encoder = read(folder)
    channels = CASES[case]["config"]["num_channels"]
    for stored in CASES[case]["outputs"]:
        if encoder.get_config()["relative_bias"] is not None:
            encoder = read(folder, input_shape=(*stored["size"], channels))
        images = script.draw_images(stored["size"], channels)
        grid = encoder.grid(images.shape)
        tokens, indices = encoder.embed(images), None
        if case == "vit_mae_hidden":
            visible = len(stored["tokens"]) // 16 - 1
            order = np.argsort(script.draw_noise(grid[0] * grid[1]), axis=1)
            indices = order[:, :visible].astype("int32")
            tokens = ops.take_along_axis(tokens, indices[:, :, None], axis=1)
        found = encoder.encode(tokens, grid, indices=indices)
        blocks = to_numpy(found["blocks"][0])
        np.testing.assert_allclose(blocks.ravel(), stored["first_block"], rtol=1e-5, atol=1e-5)
        features = to_numpy(found["features"])
        np.testing.assert_allclose(features.ravel(), stored["features"], rtol=1e-5, atol=1e-5)
        expected = np.reshape(stored["tokens"], blocks.shape)
        if case in ("beit", "beit_positions"):  # whose last tokens are not normalized
            np.testing.assert_allclose(found["blocks"][-1], expected, rtol=1e-5, atol=1e-5)
            continue
        for name, part in (
            ("patch_tokens", expected[:, encoder.extra_tokens :]),
            ("class_token", expected[:, 0]),
            ("registers", expected[:, 1 : encoder.extra_tokens]),
        ):
            if name in found:
                np.testing.assert_allclose(to_numpy(found[name]), part, rtol=1e-5, atol=1e-5)


ENCODERS = [case for case in CASES if CASES[case]["config"]["architectures"][0].endswith("Model")]


@pytest.mark.parametrize("case", ENCODERS)
def test_what_is_written_is_what_was_read(case, tmp_path):
    """All tensors but the pooler's, and all that the configuration says of the network."""
    architecture = CASES[case]["config"]["model_type"]
    published = tensors_of(case)
    folder = write(tmp_path / "published", case)
    encoder = read(folder, include_rescaling=True, pixel_mean=[0.4, 0.5, 0.6], pixel_std=0.2)
    mask_token = None
    if "embeddings.mask_token" in published:
        mask_token = convert.mask_token_from_hugging_face(folder)
    convert.to_hugging_face(encoder, tmp_path / "new" / "written", architecture, mask_token)
    written = safetensors.load_file(tmp_path / "new" / "written" / "model.safetensors")
    assert set(published) - set(written) <= {"pooler.dense.weight", "pooler.dense.bias"}
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, published[name], err_msg=name)
    config = json.loads((tmp_path / "new" / "written" / "config.json").read_text())
    assert {name: CASES[case]["config"][name] for name in config} == config
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["written"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        again = convert.from_hugging_face(tmp_path / "new" / "written")
    left_out = [str(one.message) for one in caught if one.category is UserWarning]
    assert len(left_out) == (mask_token is not None)
    assert all(one.endswith("not read: embeddings.mask_token") for one in left_out)
    assert again.get_config()["pixel_mean"] == (0.4, 0.5, 0.6)
    assert again.get_config()["pixel_std"] == (0.2, 0.2, 0.2)
    for one, other in zip(again.weights, encoder.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


@pytest.mark.parametrize("case", ["vit", "dinov2_registers"])
def test_positions_for_other_images_are_those_interpolated_at_each_call(case, tmp_path):
    folder = write(tmp_path, case)
    encoder, other = read(folder), read(folder, input_shape=(12, 8, 3))
    assert other.position_embedding.size == (3, 2)
    images = script.draw_images((12, 8), 3)
    np.testing.assert_allclose(other(images), encoder(images), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"`input_shape` must be \(height, width, 3\)"):
        read(folder, input_shape=(12, 8, 1))
    with pytest.raises(ValueError, match="divisible by `patch_size`"):
        read(folder, input_shape=(12, 9, 3))


def test_fixed_positions(tmp_path):
    """MAE's positions may be sines and cosines here, and are a table in the file."""
    encoder = networks.vit((8, 1, 2), (8, 12, 3), 4, positions="sincos")
    convert.to_hugging_face(encoder, tmp_path / "mae", "vit_mae")
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3))
    for positions in ("sincos", "learned"):
        same = convert.from_hugging_face(tmp_path / "mae", positions=positions)
        np.testing.assert_allclose(same(images), encoder(images), atol=1e-6)
    assert same.get_config()["positions"] == "learned"
    folder = write(tmp_path / "learned", "vit_mae")
    with pytest.raises(ValueError, match="is no table of sines and cosines"):
        read(folder, positions="sincos")
    with pytest.raises(ValueError, match="`positions` can be passed for `vit_mae` alone"):
        read(write(tmp_path / "vit", "vit"), positions="sincos")


def test_files_in_several_shards(tmp_path):
    folder = write(tmp_path / "published", "vit")
    whole = read(folder)
    tensors = tensors_of("vit")
    names = sorted(tensors)
    (folder / "model.safetensors").unlink()
    places = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(names)}
    for file in ("model-0.safetensors", "model-1.safetensors"):
        part = {name: tensors[name] for name in names if places[name] == file}
        safetensors.save_file(part, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    for one, other in zip(read(folder).weights, whole.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    index.write_text(json.dumps({"weight_map": {**places, "more": "model-0.safetensors"}}))
    with pytest.raises(ValueError, match="names tensors that its files lack: more"):
        read(folder)
    index.write_text(json.dumps({"weight_map": {**places, "more": "../model.safetensors"}}))
    with pytest.raises(ValueError, match="`weight_map` from names of tensors to files"):
        read(folder)
    index.write_text(json.dumps({"weight_map": places}))
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(ValueError, match=r"that `folder` lacks: model-1\.safetensors"):
        read(folder)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_files_in_half_precision(dtype, tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    kind = np.float16 if dtype == "float16" else ml_dtypes.bfloat16
    tensors = {name: tensor.astype(kind) for name, tensor in tensors_of("vit").items()}
    encoder = read(write(tmp_path, "vit", tensors=tensors))
    token = tensors["embeddings.cls_token"].astype("float32")[0]
    np.testing.assert_array_equal(to_numpy(encoder.class_token.tokens), token)
    assert encoder.class_token.tokens.dtype == "float32"


def test_half_precision_computes_from_the_same_weights(tmp_path):
    folder = write(tmp_path, "dinov2_registers")
    encoder = read(folder, dtype="mixed_bfloat16", name="published")
    assert encoder.name == "published" and encoder.class_token.tokens.dtype == "float32"
    images = script.draw_images((16, 16), 3)
    assert keras.backend.standardize_dtype(encoder(images).dtype) == "bfloat16"
    np.testing.assert_allclose(ops.cast(encoder(images), "float32"), read(folder)(images), atol=0.1)


def test_preprocessing_is_that_of_the_folder(tmp_path):
    folder = write(tmp_path, "vit")
    plain = read(folder)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype("float32")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    image = {"image_mean": mean, "image_std": std}
    normalized = (pixels / 255 - mean) / std
    for config, expected in (
        (image, normalized),
        ({**image, "rescale_factor": 1 / 127.5}, (pixels / 127.5 - mean) / std),
        ({**image, "do_rescale": False}, (pixels - mean) / std),
        ({"do_normalize": False}, pixels / 255),
    ):
        (folder / "preprocessor_config.json").write_text(json.dumps(config))
        encoder = convert_quietly(folder)
        np.testing.assert_allclose(
            encoder(pixels), plain(expected.astype("float32")), rtol=1e-4, atol=1e-4
        )
    (folder / "preprocessor_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"`preprocessor_config\.json` lacks image_mean"):
        convert_quietly(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.warns(UserWarning, match="the encoder takes pixels as they are"):
        encoder = convert.from_hugging_face(folder)
    np.testing.assert_array_equal(encoder(normalized), plain(normalized))


def convert_quietly(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert.from_hugging_face(folder)


@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("vit", r"pooler\.dense\.bias, pooler\.dense\.weight"),
        ("vit_no_bias", r"classifier\.bias, classifier\.weight"),
        ("vit_masked", r"decoder\.0\.bias, decoder\.0\.weight, embeddings\.mask_token"),
        ("vit_mae_pretraining", r"decoder\.decoder_embed\.bias.* and \d+ more"),
        ("beit_masked", r"embeddings\.mask_token, lm_head\.bias, lm_head\.weight"),
    ],
)
def test_heads_are_named(case, names, tmp_path):
    folder = write(tmp_path, case)
    with pytest.warns(UserWarning, match=f"not read: {names}"):
        convert.from_hugging_face(folder, include_rescaling=False)


def test_old_files_hold_numbers_that_are_no_weights(tmp_path):
    name = "encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"
    tensors = {**tensors_of("beit"), name: np.zeros((5, 5), int)}
    read(write(tmp_path, "beit", tensors=tensors))


def test_old_configurations_lack_entries(tmp_path):
    absent = ("qkv_bias", "pooler_act", "num_channels", "layer_norm_eps", "hidden_act")
    encoder = read(write(tmp_path, "vit", dict.fromkeys(absent)))
    whole = read(write(tmp_path / "whole", "vit"))
    config = encoder.get_config()
    assert config == {**whole.get_config(), "name": config["name"]}


def test_dropout_is_taken_over(tmp_path):
    changes = {"attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.2}
    folder = write(tmp_path, "beit", {**changes, "drop_path_rate": 0.3})
    with pytest.warns(UserWarning, match="Training differs from `transformers`"):
        encoder = convert.from_hugging_face(folder, include_rescaling=False)
    config = encoder.get_config()
    names = ("attention_dropout_rate", "dropout_rate", "drop_path_rate")
    assert [config[name] for name in names] == [0.1, 0.2, 0.3]
    assert read(folder, drop_path_rate=0.0).get_config()["drop_path_rate"] == 0


def test_a_beit_without_a_normalization_of_features(tmp_path):
    tensors = {n: x for n, x in tensors_of("beit").items() if not n.startswith("pooler.")}
    folder = write(tmp_path, "beit", tensors=tensors)
    with pytest.raises(ValueError, match=r"lacks the normalization.*pooler\.layernorm\.weight"):
        read(folder)
    assert read(folder, final_norm=None, pooling="class").norm is None


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


VIT = tensors_of("vit")
KERNEL = "encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("case", "changes", "tensors", "message"),
    [
        ("vit", {"model_type": "t5"}, None, r"`model_type`.*\['vit', .*Received: .*'t5'"),
        ("vit", {"model_type": "dinov2"}, None, r"unknown: .*missing: .*layer_scale1"),
        ("vit", {"hidden_size": None, "image_size": None}, None, "lacks hidden_size, image_size"),
        ("vit", {"hidden_act": "gelu_new"}, None, r"`hidden_act` must be one of.*'gelu_new'"),
        ("vit", {"head_dim": 8}, None, r"`head_dim` must be .* 4\. Received: head_dim=8"),
        ("vit", {"pruned_heads": {"0": [1]}}, None, "Pruned heads cannot be read"),
        ("vit", {"num_hidden_layers": 1}, None, r"unknown: encoder\.layer\.1"),
        ("vit", {"num_attention_heads": 3}, None, "divisor"),
        ("vit", {"image_size": 9}, None, "divisible by `patch_size`"),
        ("vit", {"intermediate_size": 10}, None, r"other shapes: .*\(12, 8\), expected \(10, 8\)"),
        ("vit", {}, without(VIT, KERNEL), rf"missing: {KERNEL}\. Received: \d+ tensors"),
        ("vit", {}, {**VIT, "encoder.more": np.ones(3)}, r"unknown: encoder\.more"),
        ("vit", {}, {**VIT, KERNEL: np.ones((8, 12), int)}, f"{KERNEL} of int64"),
        (
            "vit_masked",
            {},
            {**tensors_of("vit_masked"), "extra.weight": np.ones(3)},
            r"unknown tensors: extra\.weight",
        ),
        ("vit", {"qkv_bias": False}, None, r"unknown: .*attention\.attention\.key\.bias"),
        (
            "beit",
            {"use_shared_relative_position_bias": True},
            None,
            "A relative bias is either one in each block or one in all",
        ),
    ],
)
def test_refused_folders(case, changes, tensors, message, tmp_path):
    folder = write(tmp_path, case, changes, tensors)
    with pytest.raises(ValueError, match=message):
        read(folder)


def test_truncated_and_absent_files(tmp_path):
    folder = write(tmp_path / "published", "vit")
    file = folder / "model.safetensors"
    content = file.read_bytes()
    for end in (len(content) - 8, 100, 4):
        file.write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"model\.safetensors cannot be read"):
            read(folder)
    file.rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"`folder` must hold.*\['config\.json', 'pytorch_model"):
        read(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"`config\.json` must be JSON"):
        read(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"`config\.json` must hold an object"):
        read(folder)
    with pytest.raises(ValueError, match=r"`folder` must hold `config\.json`"):
        read(tmp_path / "nowhere")
    with pytest.raises(TypeError, match=r"Arguments must be among .*Received: \['depth'\]"):
        read(write(tmp_path / "whole", "vit"), depth=3)


def small(**kwargs):
    return networks.vit((8, 1, 2), (8, 8, 3), 4, **kwargs)


@pytest.mark.parametrize(
    ("architecture", "arguments", "message"),
    [
        ("resnet", {}, r"`architecture` must be one of.*'resnet'"),
        ("vit", {"registers": 2, "gated": True}, r"registers=2, gated=True"),
        ("vit", {"relative_bias": "block"}, "relative_bias='block'"),
        ("vit", {"layer_scale": 0.1}, r"layer_scale=0\.1"),
        ("vit", {"norm": "rms", "query_key_norm": "rms"}, "norm='rms', query_key_norm='rms'"),
        ("vit", {"activation": "elu"}, "activation='elu'"),
        ("vit", {"pooling": "attention"}, "pooling='attention'"),
        ("vit", {"final_norm": None}, "final_norm=None"),
        ("vit", {"pooling": "mean", "class_token": False}, "class_token=False"),
        ("vit", {"positions": None}, "positions=None"),
        ("vit_mae", {"pooling": "mean", "final_norm": "features"}, "final_norm='features'"),
        ("beit", {"use_bias": False}, "use_bias=False"),
        ("beit", {"pooling": "mean"}, "pooling='mean'"),
        ("beit", {"final_norm": "features"}, "pooling='class'"),
        ("dinov2", {}, "layer_scale=None"),
        ("dinov2", {"layer_scale": 1.0, "registers": 1}, "registers=1"),
        ("dinov2_with_registers", {"layer_scale": 1.0}, "registers=0"),
        ("dinov2", {"layer_scale": 1.0, "gated": True}, "gated=True"),
        ("dinov2", {"layer_scale": 1.0, "hidden_dim": 12}, "`hidden_dim` must be a multiple"),
    ],
)
def test_architectures_without_a_place_for_an_encoder(architecture, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert.to_hugging_face(small(**arguments), tmp_path / "new", architecture)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "there").write_text("")
    with pytest.raises(ValueError, match="`folder` must be new or empty"):
        convert.to_hugging_face(small(), tmp_path)
    with pytest.raises(ValueError, match="`folder` must be new or empty"):
        convert.to_hugging_face(small(), tmp_path / "there")
    with pytest.raises(TypeError, match=r"`encoder` must be a `networks\.VisionTransformer`"):
        convert.to_hugging_face(keras.layers.Dense(2), tmp_path / "new")
    assert [file.name for file in tmp_path.iterdir()] == ["there"]


def test_mask_tokens(tmp_path):
    encoder = small(layer_scale=1.0)
    with pytest.raises(TypeError, match="`mask_token` must be a"):
        convert.to_hugging_face(encoder, tmp_path, "dinov2", mask_token=np.ones(8))
    token = layers.MaskToken()
    with pytest.raises(ValueError, match="`mask_token` must be built with the encoder's width"):
        convert.to_hugging_face(encoder, tmp_path, "dinov2", mask_token=token)
    token.build([(None, 4, 8), (None, 4)])
    with pytest.raises(ValueError, match="'vit' has no mask token"):
        convert.to_hugging_face(small(), tmp_path, "vit", mask_token=token)
    folder = write(tmp_path / "published", "beit")
    found = convert.mask_token_from_hugging_face(folder)
    np.testing.assert_array_equal(
        to_numpy(found.token), tensors_of("beit")["embeddings.mask_token"].ravel()
    )
    with pytest.raises(ValueError, match="must hold a tensor"):
        convert.mask_token_from_hugging_face(write(tmp_path / "vit", "vit"))


def test_an_absent_library_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-ssl\[convert\]'"):
        convert.to_hugging_face(small(), tmp_path / "new")
