import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ssl import text

TEXTS = ["a lovely film", "dull and\nlong", "lovely"]
LENGTH = 10


def tokenizer_of(kind):
    if kind == "characters":
        return text.VocabularyTokenizer.characters(TEXTS)
    pytest.importorskip("tokenizers")
    train = getattr(text.Tokenizer, kind)
    return train(TEXTS, vocabulary_size=300)


def model_with(tokenizer, length=LENGTH):
    inputs = {
        "token_ids": keras.Input((length,), dtype="int32", name="token_ids"),
        "padding_mask": keras.Input((length,), dtype="bool", name="padding_mask"),
    }
    if tokenizer.has_segments:
        inputs["segment_ids"] = keras.Input((length,), dtype="int32", name="segment_ids")
    h = keras.layers.Embedding(tokenizer.vocabulary_size, 4)(inputs["token_ids"])
    h = keras.layers.GlobalAveragePooling1D()(h, mask=inputs["padding_mask"])
    return text.TextModel(keras.Model(inputs, keras.layers.Dense(1)(h)), tokenizer, length)


@pytest.mark.parametrize("kind", ["word_piece", "byte_pair", "characters"])
def test_tokenizer_is_saved_in_the_file_of_the_model(tmp_path, kind):
    model = model_with(tokenizer_of(kind))
    assert model.built  # as what it wraps, so that it can be saved at once
    before = model.predict_texts(TEXTS)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded.predict_texts(TEXTS), before)
    assert loaded.tokenizer.get_config() == model.tokenizer.get_config()
    assert loaded.tokenizer.vocabulary == model.tokenizer.vocabulary
    assert loaded.length == LENGTH


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data needs TensorFlow")
def test_training_on_batches():
    model = model_with(text.VocabularyTokenizer.words(TEXTS))
    model.compile("sgd", "mse")
    data = text.batches(TEXTS, model.tokenizer, LENGTH, batch_size=2, labels=[1.0, 0.0, 1.0])
    history = model.fit(data, epochs=2, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]
    assert model.predict_texts(iter(TEXTS)).shape == (3, 1)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data needs TensorFlow")
def test_python_code_of_the_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("tokenizers")
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).resolve().parents[2] / "docs" / "text.md").read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        if "encoder" in block:
            names["encoder"] = model_with(names["tokenizer"], length=16).model
        exec(compile(block, "text.md", "exec"), names)
    assert names["x"]["segment_ids"].shape == (2, 16)
    assert names["may_attend"].shape == (1, 32, 32)
    assert next(iter(names["train"]))["token_ids"].shape == (12, 65)
    assert keras.saving.load_model("model.keras").predict_texts(["a film"]).shape == (1, 1)


def test_bad_arguments():
    tokenizer = text.VocabularyTokenizer(["a"])
    with pytest.raises(TypeError, match="`model` must be a Model"):
        text.TextModel(keras.layers.Dense(1), tokenizer, 5)
    with pytest.raises(TypeError, match="`tokenizer` must be a BaseTokenizer"):
        text.TextModel(keras.Sequential(), "tokenizer.json", 5)
