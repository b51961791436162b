"""Published weights of BERT and GPT-2: outputs of `transformers`, folders written, bad files."""

import importlib.util
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from keras_ssl import convert, networks

safetensors = pytest.importorskip("safetensors.numpy")

REFERENCE = Path(__file__).parents[1] / "reference"
CASES = json.loads((REFERENCE / "published_text.json").read_text())
to_numpy = ops.convert_to_numpy


def reference_script():
    spec = importlib.util.spec_from_file_location("text", REFERENCE / "make_published_text.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = reference_script()
draw = script.draw()


def tensors_of(case):
    return {name: draw(name, shape) for name, shape in CASES[case]["shapes"].items()}


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
        return convert.from_hugging_face(folder, **kwargs)


def inputs_of(case):
    ids, mask, segments = script.draw_tokens(CASES[case]["config"])
    inputs = {"token_ids": ids, "padding_mask": mask}
    if CASES[case]["config"]["model_type"] == "bert":
        inputs["segment_ids"] = segments
    return inputs


@pytest.mark.parametrize("case", CASES)
def test_equals_transformers(case, tmp_path):
    encoder, stored = read(write(tmp_path, case)), CASES[case]["outputs"]
    inputs = inputs_of(case)
    found, mask = encoder.encode(inputs), inputs["padding_mask"]
    for name, ours in (("tokens", found["tokens"]), ("first_block", found["blocks"][0])):
        if name not in stored:
            continue
        ours = to_numpy(ours)
        expected = np.reshape(stored[name], ours.shape)
        np.testing.assert_allclose(ours[mask], expected[mask], rtol=1e-5, atol=1e-5)
    if "pooled" in stored:
        pooled = to_numpy(found["pooled"])
        np.testing.assert_allclose(pooled.ravel(), stored["pooled"], rtol=1e-5, atol=1e-5)
    if "logits" in stored:
        logits = to_numpy(encoder.logits(found["tokens"]))
        expected = np.reshape(stored["logits"], logits.shape)
        np.testing.assert_allclose(logits[mask], expected[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["bert", "bert_masked", "gpt2", "gpt2_language"])
def test_what_is_written_is_what_was_read(case, tmp_path):
    """All tensors of the encoder, and all that the configuration says of the network."""
    encoder = read(write(tmp_path / "published", case))
    convert.to_hugging_face(encoder, tmp_path / "written")
    written = safetensors.load_file(tmp_path / "written" / "model.safetensors")
    prefix = "bert." if case.startswith("bert") else "transformer."
    published = {name.removeprefix(prefix): one for name, one in tensors_of(case).items()}
    assert {name.partition(".")[0] for name in set(published) - set(written)} <= {"cls"}
    for name, tensor in written.items():
        np.testing.assert_array_equal(tensor, published[name], err_msg=name)
    config = json.loads((tmp_path / "written" / "config.json").read_text())
    stored = CASES[case]["config"]
    assert {name: stored.get(name) for name in config if name != "architectures"} == {
        name: one for name, one in config.items() if name != "architectures"
    }
    again = convert.from_hugging_face(tmp_path / "written")
    for one, other in zip(again.weights, encoder.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))


def test_arguments_beside_the_folder(tmp_path):
    folder = write(tmp_path, "bert")
    with pytest.warns(UserWarning, match=r"not read: pooler\.dense\.bias, pooler\.dense\.weight"):
        encoder = convert.from_hugging_face(folder, pooling="mean", dropout_rate=0.3)
    assert encoder.pooler is None and encoder.get_config()["dropout_rate"] == 0.3
    with pytest.raises(TypeError, match=r"Received: \['depth'\]"):
        read(folder, depth=3)
    with pytest.warns(UserWarning, match=r"not read: classifier\.bias, classifier\.weight"):
        convert.from_hugging_face(write(tmp_path / "head", "bert_classifier"))


def test_old_files(tmp_path):
    """Other names of the norms, numbers that are no weights, a configuration without entries."""
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): one
        for name, one in tensors_of("bert").items()
    }
    old["embeddings.position_ids"] = np.arange(7)[None]
    absent = ("hidden_act", "layer_norm_eps", "type_vocab_size")
    encoder = read(write(tmp_path / "old", "bert", dict.fromkeys(absent), old))
    whole = read(write(tmp_path / "new", "bert"))
    for one, other in zip(encoder.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    old = {**tensors_of("gpt2"), "h.0.attn.bias": np.ones((1, 1, 7, 7)), "lm_head.weight": None}
    old["lm_head.weight"] = old["wte.weight"]
    read(write(tmp_path / "gpt2", "gpt2", tensors=old))


def test_updates_of_low_rank_are_written_with_the_weights(tmp_path):
    encoder = read(write(tmp_path / "published", "gpt2"))
    encoder.enable_lora(2, target_layer_names=["attention", "hidden"])
    random = np.random.default_rng(0)
    for variable in encoder.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    convert.to_hugging_face(encoder, tmp_path / "written")
    same, inputs = read(tmp_path / "written"), inputs_of("gpt2")
    np.testing.assert_allclose(same(inputs), encoder(inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("case", "changes", "change", "message"),
    [
        ("bert", {"hidden_act": "glu"}, {}, "`hidden_act` must be one of"),
        ("bert", {"vocab_size": 12}, {}, r"word_embeddings\.weight \(11, 8\), expected \(12, 8\)"),
        ("bert", {"position_embedding_type": "relative_key"}, {}, "must be 'absolute'"),
        ("bert", {"hidden_size": None}, {}, "lacks hidden_size"),
        ("bert", {"num_hidden_layers": 3}, {}, r"missing: encoder\.layer\.2"),
        ("bert", {}, {"encoder.more": np.ones(2)}, r"unknown: encoder\.more"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, {}, "must be False"),
        ("gpt2", {}, {"lm_head.weight": np.ones((11, 8))}, "must equal `wte.weight`"),
        ("gpt2", {"n_head": 3}, {}, "divisor of `width`"),
    ],
)
def test_bad_files(case, changes, change, message, tmp_path):
    folder = write(tmp_path, case, changes, {**tensors_of(case), **change})
    with pytest.raises(ValueError, match=message):
        read(folder)


def test_networks_that_have_no_place(tmp_path):
    model = networks.gpt2((8, 1, 2), 11, max_length=7, use_bias=False)
    with pytest.raises(ValueError, match="Expected `use_bias=True`"):
        convert.to_hugging_face(model, tmp_path / "written")
    with pytest.raises(ValueError, match="`architecture='gpt2'`"):
        convert.to_hugging_face(model, tmp_path / "written", "vit")
    with pytest.raises(TypeError, match=r"`networks\.VisionTransformer`, `networks\.BERT` or"):
        convert.to_hugging_face(networks.transformer((8, 1, 2), 11), tmp_path / "written")
    assert not (tmp_path / "written").exists()
