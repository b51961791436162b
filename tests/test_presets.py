import json
import re
import zipfile

import keras
import numpy as np
import pytest

import keras_ssl
from keras_ssl import presets, text

X = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
NEEDS_TRAINERS = pytest.mark.skipif(
    keras.backend.backend() not in ("tensorflow", "jax"), reason="trainers need one of these"
)


def encoder(units=3):
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(units)], name="small")


@pytest.fixture
def preset(tmp_path):
    """A preset of an encoder alone."""
    keras_ssl.save_to_preset(tmp_path / "preset", encoder())
    return tmp_path / "preset"


def test_everything_comes_back(tmp_path):
    model, normalization = encoder(), keras.layers.Normalization()
    normalization.adapt(X)
    tokenizer = text.VocabularyTokenizer.words(["a lovely film", "dull"])
    card = {"data": "noise", "metrics": {"knn_accuracy": np.float32(0.5), "loss": [1, 2.0]}}
    keras_ssl.save_to_preset(tmp_path / "a" / "b", model, normalization, tokenizer, card)
    found = keras_ssl.from_preset(str(tmp_path / "a" / "b"))
    assert isinstance(found, presets.Preset)
    assert isinstance(found.preprocessing, keras.layers.Normalization)
    expected = model(normalization(X))
    np.testing.assert_array_equal(found.encoder(found.preprocessing(X)), expected)
    assert found.tokenizer.get_config() == tokenizer.get_config()
    assert found.card["metrics"] == {"knn_accuracy": 0.5, "loss": [1, 2.0]}
    assert found.card["data"] == "noise" and found.card["encoder"]["parameters"] == 21
    assert found.card["encoder"]["input_shape"] == [None, 6]
    assert found.card["versions"]["keras_ssl"] == keras_ssl.__version__
    assert found.card["versions"]["keras"] == keras.__version__
    # nothing is left beside it, and nothing in it is a pickle
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["b"]
    assert sorted(one.name for one in (tmp_path / "a" / "b").iterdir()) == [
        "README.md",
        "card.json",
        "encoder.keras",
        "preprocessing.keras",
        "preset.json",
        "tokenizer.json",
    ]


def test_a_model_as_preprocessing_stays_a_model(tmp_path):
    preprocessing = keras.Sequential([keras.layers.Rescaling(2.0), keras.layers.Rescaling(0.25)])
    keras_ssl.save_to_preset(tmp_path, encoder(), preprocessing)
    found = keras_ssl.from_preset(tmp_path).preprocessing
    assert isinstance(found, keras.Sequential)
    np.testing.assert_allclose(found(X), X / 2)


@NEEDS_TRAINERS
def test_a_trainer_gives_its_encoder_and_how_it_was_trained(tmp_path):
    trainer = keras_ssl.trainers.SimCLR(
        encoder(),
        projector=keras_ssl.layers.ProjectionHead((4, 4)),
        augment=keras_ssl.augment.Views([keras.layers.GaussianNoise(0.1)]),
        loss=keras_ssl.losses.NTXent(temperature=0.3),
    )
    trainer.compile(optimizer=keras.optimizers.SGD(0.1))
    trainer.build((None, 6))
    trainer.optimizer.iterations.assign(7)
    keras_ssl.save_to_preset(tmp_path, trainer, card={"method": "SimCLR of mine"})
    found = keras_ssl.from_preset(tmp_path)
    np.testing.assert_array_equal(found.encoder(X), trainer.encoder(X))
    assert found.card["method"] == "SimCLR of mine"
    assert found.card["settings"]["loss"]["class"] == "NTXent"
    assert found.card["settings"]["loss"]["temperature"] == 0.3
    assert found.card["optimizer"] == "SGD" and found.card["steps"] == 7


def test_a_preset_is_overwritten_only_when_asked(preset, tmp_path):
    with pytest.raises(FileExistsError, match="pass `overwrite=True` to replace a preset"):
        keras_ssl.save_to_preset(preset, encoder(5))
    assert keras_ssl.from_preset(preset).encoder.output_shape == (None, 3)
    keras_ssl.save_to_preset(preset, encoder(5), overwrite=True)
    assert keras_ssl.from_preset(preset).encoder.output_shape == (None, 5)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    for overwrite, error in ((False, FileExistsError), (True, ValueError)):
        with pytest.raises(error, match="`folder` must be"):
            keras_ssl.save_to_preset(tmp_path / "thesis", encoder(), overwrite=overwrite)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


@keras.saving.register_keras_serializable(package="tests_presets")
class Unsaved(keras.layers.Layer):
    """A layer whose saving fails, as on a full disk."""

    def get_config(self):
        raise OSError("disk full")


def test_a_failure_leaves_what_was_there(preset, tmp_path):
    model = keras.Sequential([keras.Input((6,)), Unsaved()])
    with pytest.raises(OSError, match="disk full"):
        keras_ssl.save_to_preset(preset, model, overwrite=True)
    with pytest.raises(OSError, match="disk full"):
        keras_ssl.save_to_preset(tmp_path / "new", model)
    assert [one.name for one in tmp_path.iterdir()] == ["preset"]
    assert keras_ssl.from_preset(preset).encoder.output_shape == (None, 3)


def test_what_is_not_safe_is_neither_saved_nor_loaded(tmp_path, preset):
    unsafe = keras.Sequential([keras.Input((6,)), keras.layers.Lambda(lambda x: x + 1)])
    with pytest.raises(ValueError, match=r"`encoder\.keras` cannot be loaded in Keras' safe mode"):
        keras_ssl.save_to_preset(tmp_path / "new", unsafe)
    assert not (tmp_path / "new").exists()
    # the same in a folder that someone else has made
    unsafe.save(preset / "encoder.keras")
    index = json.loads((preset / "preset.json").read_text())
    index["files"]["encoder.keras"] = presets._signature(preset / "encoder.keras")
    (preset / "preset.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"`encoder\.keras` cannot be loaded in Keras' safe mode"):
        keras_ssl.from_preset(preset)


def test_a_tokenizer_that_is_none_is_refused(tmp_path):
    tokenizer = text.VocabularyTokenizer.words(["a lovely film", "dull"])
    keras_ssl.save_to_preset(tmp_path, encoder(), tokenizer=tokenizer)
    config = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    (tmp_path / "tokenizer.json").write_text(json.dumps(config))
    index = json.loads((tmp_path / "preset.json").read_text())
    index["files"]["tokenizer.json"] = presets._signature(tmp_path / "tokenizer.json")
    (tmp_path / "preset.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"`tokenizer\.json` must hold a tokenizer"):
        keras_ssl.from_preset(tmp_path)


def shorten(file):
    file.write_bytes(file.read_bytes()[:-100])


def turn_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "match"),
    [
        ("preset.json", "unlink", "must be a preset with a file `preset.json`"),
        ("card.json", "unlink", "must be a preset with a file `card.json`"),
        ("encoder.keras", "unlink", "must hold `encoder.keras`"),
        ("encoder.keras", shorten, "`encoder.keras` must be as .* incomplete or has been changed"),
        ("encoder.keras", turn_bit, "`encoder.keras` must be as .* incomplete or has been changed"),
        ("preset.json", shorten, "`preset.json` must be JSON"),
        ("card.json", shorten, "`card.json` must be JSON"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_damaged_presets(preset, name, damage, match):
    (preset / name).unlink() if damage == "unlink" else damage(preset / name)
    with pytest.raises(ValueError, match=match):
        keras_ssl.from_preset(preset)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"version": 2}, "must be a preset of version 1; install a newer keras_ssl"),
        ({"kind": "task"}, "`preset.json` must be that of a preset"),
        ({"files": {}}, "`encoder.keras` must be as `save_to_preset` wrote it, of None bytes"),
        ({"files": ["encoder.keras"]}, "`preset.json` must be that of a preset"),
    ],
    ids=["newer", "other kind", "no digest", "other structure"],
)
def test_other_folders(preset, change, match):
    index = json.loads((preset / "preset.json").read_text())
    (preset / "preset.json").write_text(json.dumps({**index, **change}))
    with pytest.raises(ValueError, match=match):
        keras_ssl.from_preset(preset)


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`folder` must be a preset.*which is not there"):
        keras_ssl.from_preset(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"`folder` must be a preset.*which is a file"):
        keras_ssl.from_preset(tmp_path / "file")
    with pytest.raises(TypeError, match="`folder` must be the name of a folder"):
        keras_ssl.from_preset(None)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"encoder": keras.layers.Dense(3)}, TypeError, "`encoder` must be a keras.Model"),
        (
            {"encoder": keras.Sequential([keras.layers.Dense(3)])},
            ValueError,
            "`encoder` must be built",
        ),
        ({"preprocessing": abs}, TypeError, "`preprocessing` must be a Layer or None"),
        ({"tokenizer": str.split}, TypeError, "`tokenizer` must be a BaseTokenizer or None"),
        ({"card": "SimCLR"}, TypeError, "`card` must be a dictionary"),
        (
            {"card": {"metrics": [{"loss": object()}]}},
            TypeError,
            r"`card\['metrics'\]\[0\]\['loss'\]` must be a string, a number",
        ),
        ({"card": {"metrics": {1: 2}}}, TypeError, r"`card\['metrics'\]` must have strings as"),
    ],
    ids=["layer", "not built", "preprocessing", "tokenizer", "card", "value", "key"],
)
def test_bad_arguments(tmp_path, arguments, error, match):
    with pytest.raises(error, match=match):
        keras_ssl.save_to_preset(tmp_path / "new", **{"encoder": encoder(), **arguments})
    assert not (tmp_path / "new").exists()


def test_the_page_of_the_card_keeps_strings_as_text(tmp_path):
    card = {"note": "a|b\n<script>", "loss": float("nan"), "metrics": {"knn": [0.5, 1]}}
    keras_ssl.save_to_preset(tmp_path / "mine", encoder(), card=card)
    page = (tmp_path / "mine" / "README.md").read_text()
    assert "| note | a\\|b &lt;script> |\n| loss | nan |" in page
    assert "## metrics\n\n| | |\n| --- | --- |\n| knn | [0.5, 1] |" in page
    assert "keras_ssl.from_preset('mine')" in page
    assert keras_ssl.from_preset(tmp_path / "mine").card["loss"] == "nan"


def test_files_are_named_by_their_content(preset):
    """The digests are those of other programs, and a model is a zip file with JSON."""
    index = json.loads((preset / "preset.json").read_text())
    signature = index["files"]["encoder.keras"]
    assert signature["bytes"] == (preset / "encoder.keras").stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", signature["sha256"])
    assert "config.json" in zipfile.ZipFile(preset / "encoder.keras").namelist()
