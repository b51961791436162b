"""Published weights of CLIP: outputs of `transformers`, folders written, bad files."""

import importlib.util
import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import convert, layers, networks, trainers

safetensors = pytest.importorskip("safetensors.numpy")

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = json.loads((REFERENCE / "published_clip.json").read_text())
to_numpy = ops.convert_to_numpy
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need TensorFlow"
)


def reference_script():
    spec = importlib.util.spec_from_file_location("clip", REFERENCE / "make_published_clip.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = reference_script()
draw = script.script()


def tensors_of(case):
    shapes = CASES[case]["shapes"].items()
    return {name: np.asarray(script.draw_tensor(name, shape)) for name, shape in shapes}


def write(folder, case, changes=None, tensors=None):
    """Write a stored configuration with tensors drawn from their names."""
    folder.mkdir(exist_ok=True)
    config = {**CASES[case]["config"], **(changes or {})}
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.save_file(tensors or tensors_of(case), folder / "model.safetensors")
    return folder


def read(folder, reader=convert.towers_from_hugging_face, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reader(folder, **{"include_rescaling": False, **kwargs})


def images_of(case, size):
    return draw.draw_images(size, CASES[case]["config"]["vision_config"]["num_channels"])


def check(image, text, logit_scale, case):
    """Compare towers with the stored outputs."""
    ids, mask = script.draw_tokens()
    texts = text({"token_ids": ids, "padding_mask": mask})
    for stored in CASES[case]["outputs"]:
        vectors = image(images_of(case, stored["size"]))
        for name, found in (
            ("images", vectors),
            ("texts", texts),
            ("unmasked_texts", text(ids)),
            ("logits", logit_scale(ops.matmul(vectors, ops.transpose(texts)))),
        ):
            np.testing.assert_allclose(
                to_numpy(found).ravel(), stored[name], rtol=1e-5, atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("case", CASES)
def test_towers_equal_transformers(case, tmp_path):
    check(*read(write(tmp_path, case)), case)


@needs_tensorflow
@pytest.mark.parametrize("case", CASES)
def test_a_trainer_equals_transformers_and_can_be_trained(case, tmp_path):
    trainer = read(write(tmp_path, case), convert.from_hugging_face, name="published")
    assert isinstance(trainer, trainers.CLIP) and trainer.name == "published"
    check(trainer.tower("image"), trainer.tower("text"), trainer.logit_scale, case)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    check(loaded.tower("image"), loaded.tower("text"), loaded.logit_scale, case)
    ids, mask = script.draw_tokens()
    x = {
        "image": np.concatenate([images_of(case, (8, 8))] * 2)[:3],
        "text": {"token_ids": ids, "padding_mask": mask},
    }
    loaded.compile(keras.optimizers.SGD(0.1))
    before = [one.copy() for one in loaded.get_weights()]
    assert np.isfinite(loaded.fit(x, verbose=0).history["loss"][0])
    changed = zip(before, loaded.get_weights(), strict=True)
    assert any(np.any(old != new) for old, new in changed)


@pytest.mark.parametrize("case", CASES)
def test_what_is_written_is_what_was_read(case, tmp_path):
    """All tensors, and all that the configuration says of the networks."""
    towers = read(
        write(tmp_path / "published", case), include_rescaling=True, pixel_mean=0.4, pixel_std=0.2
    )
    convert.to_hugging_face(towers, tmp_path / "written")
    written = safetensors.load_file(tmp_path / "written" / "model.safetensors")
    published = tensors_of(case)
    assert set(written) == set(published)
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, published[name], err_msg=name)
    config = json.loads((tmp_path / "written" / "config.json").read_text())
    stored = CASES[case]["config"]
    assert config["projection_dim"] == stored["projection_dim"]
    for part in ("text_config", "vision_config"):
        # of the parts' own, `transformers` makes no use
        assert config[part].pop("projection_dim") == stored["projection_dim"]
        assert {name: stored[part][name] for name in config[part]} == config[part]
    again = convert.towers_from_hugging_face(tmp_path / "written")  # without a warning
    arguments = again[0].encoder.get_config()
    assert set(arguments["pixel_mean"]) == {0.4} and set(arguments["pixel_std"]) == {0.2}
    for one, other in zip(again, towers, strict=True):
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


@needs_tensorflow
def test_a_trained_model_is_written(tmp_path):
    trainer = trainers.CLIP(
        networks.vit((8, 1, 2), (8, 8, 3), 4, first_norm=True, patch_bias=False),
        networks.text_transformer((8, 1, 2), 11, max_length=7, pooling="end", end_token=7),
        width=6,
    )
    trainer.compile("adam")
    ids = script.draw_tokens()[0]
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype("float32")
    trainer.fit({"image": images, "text": ids}, verbose=0)
    convert.to_hugging_face(trainer, tmp_path / "written")
    same = convert.from_hugging_face(tmp_path / "written")
    for name, x in (("image", images), ("text", ids)):
        np.testing.assert_allclose(same.tower(name)(x), trainer.tower(name)(x), atol=1e-6)
    assert float(same.logit_scale.temperature) == pytest.approx(0.07, rel=0.01)


def test_old_files(tmp_path):
    """Numbers that are no weights, and a second configuration that counts."""
    tensors = {**tensors_of("largest"), "text_model.embeddings.position_ids": np.arange(7)[None]}
    old = CASES["largest"]["config"]["text_config"]
    changes = {"text_config": {"hidden_size": 4}, "text_config_dict": old}
    check(*read(write(tmp_path, "largest", changes, tensors)), "largest")


@pytest.mark.parametrize(
    ("part", "change", "tensor", "message"),
    [
        ("text_config", {"hidden_act": "glu"}, {}, "`hidden_act` must be one of"),
        ("text_config", {"eos_token_id": [7, 8]}, {}, "`eos_token_id` must be one integer"),
        ("text_config", {"eos_token_id": 11}, {}, "`end_token` must be below"),
        ("text_config", {"vocab_size": 12}, {}, r"token_embedding\.weight \(11, 8\), expected"),
        ("vision_config", {"num_hidden_layers": 3}, {}, r"missing: vision_model\.encoder\.layers"),
        ("vision_config", {}, {"more": np.ones(2)}, "unknown: more"),
        ("vision_config", {"image_size": 9}, {}, "divisible by `patch_size`"),
    ],
)
def test_bad_files(part, change, tensor, message, tmp_path):
    changes = {part: {**CASES["largest"]["config"][part], **change}}
    folder = write(tmp_path, "largest", changes, {**tensors_of("largest"), **tensor})
    with pytest.raises(ValueError, match=message):
        read(folder)


def test_bad_arguments(tmp_path):
    with pytest.raises(TypeError, match=r"Received: \['depth'\]"):
        read(write(tmp_path / "clip", "largest"), depth=3)
    with pytest.raises(ValueError, match=r"`text_config` in `config\.json` must be an object"):
        read(write(tmp_path / "clip", "largest", {"text_config": [1]}))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(ValueError, match=r"must be one of \['clip'\]"):
        read(tmp_path / "other")


def parts(end_token=7, scale=None, width=6, vision=None, text=None):
    """Return towers of CLIP's architecture but for some arguments, and a scale."""
    image = networks.vit(
        (8, 1, 2), **{"first_norm": True, "patch_bias": False, **SMALL, **(vision or {})}
    )
    text = {"pooling": "end", "end_token": end_token, **(text or {})}
    texts = networks.text_transformer((8, 1, 2), 11, max_length=7, **text)
    towers = trainers.Tower(image, width), trainers.Tower(texts, 6)
    return (*towers, scale or layers.LogitScale())


SMALL = {"input_shape": (8, 8, 3), "patch_size": 4}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"end_token": 2}, "`end_token` must not be 2"),
        ({"end_token": None, "text": {"pooling": "last"}}, "pooling='last' .* expected 'end'"),
        ({"vision": {"first_norm": False}}, "first_norm=False .* expected True"),
        ({"vision": {"input_shape": (8, 12, 3)}}, "square images"),
        ({"scale": layers.LogitScale(bias=0.0)}, "has no bias"),
        ({"width": None}, "widths None and 6"),
    ],
)
def test_towers_that_have_no_place(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        convert.to_hugging_face(parts(**arguments), tmp_path / "written")
    assert not (tmp_path / "written").exists()


def test_other_models_have_no_place(tmp_path):
    image, text, scale = parts()
    small = trainers.Tower(networks.small_resnet((8, 8, 3), width=8), 6, name="small")
    with pytest.raises(TypeError, match=r"encoder of 'small' must be a `networks\.vit`"):
        convert.to_hugging_face((small, text, scale), tmp_path / "written")
    with pytest.raises(TypeError, match="its two towers and its scale"):
        convert.to_hugging_face((image, text), tmp_path / "written")
    with pytest.raises(ValueError, match="`architecture='clip'`"):
        convert.to_hugging_face((image, text, scale), tmp_path / "written", "vit")
    with pytest.raises(ValueError, match="Received: first_norm=True, patch_bias=False"):
        convert.to_hugging_face(image.encoder, tmp_path / "written")
