import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ssl import decoding, networks, text, trainers

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


def test_texts_of_networks_without_segments():
    texts = ["a cat", "two dogs", "a dog and a cat"]
    tokenizer = text.Tokenizer.word_piece(texts, 60, minimum_count=1)
    network = networks.text_transformer((16, 1, 2), tokenizer.vocabulary_size, max_length=8)
    for model in (network, trainers.Tower(network, 4)):
        found = text.TextModel(model, tokenizer, 8).predict_texts(texts)
        expected = model.predict(tokenizer(texts, 8, segment_ids=False), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


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


def writer(kind="characters", **arguments):
    tokenizer = tokenizer_of(kind)
    gpt = networks.gpt2((16, 1, 2), tokenizer.vocabulary_size, max_length=12, seed=0)
    return text.TextModel(gpt, tokenizer, **{"length": 12, **arguments})


@pytest.mark.parametrize("kind", ["byte_pair", "characters"])
def test_written_texts_are_those_of_decode(kind):
    model, prompts = writer(kind), ["dull", "a"]
    method = decoding.Sampling(temperature=2.0)
    written = model.generate_texts(prompts, 5, method, seed=3)
    encoded = model.tokenizer.encode(prompts)
    end = model.tokenizer.end_token_id
    found = decoding.decode(model.model, encoded, 5, method=method, end_token=end, seed=3)
    for row, length, prompt, whole in zip(*found[:2], prompts, written, strict=True):
        assert whole == model.tokenizer.decode(row[:length])
        assert whole.startswith(prompt)
    assert model.generate_texts(encoded, 5, method, seed=3) == written
    assert written != model.generate_texts(prompts, 5, method, seed=4)


def test_vocabulary_without_special_tokens_writes_to_the_last_token():
    class Digits(text.BaseTokenizer):
        word_starts = np.ones(10, bool)

        def __init__(self):
            super().__init__("0123456789", {})

        def encode_texts(self, texts):
            return [np.array([int(one) for one in of_text], "int32") for of_text in texts]

        def decode_ids(self, ids, skip_special_tokens):
            return "".join(map(str, ids))

        def get_config(self):
            return {}

    model = text.TextModel(networks.gpt2((8, 1, 2), 10, max_length=8), Digits(), 8)
    assert [len(one) for one in model.generate_texts(["12", "3"], 4)] == [6, 5]
    with pytest.raises(ValueError, match="special token in the role 'pad'"):
        model.translate_texts(["12"])


def test_translations_end_at_the_end_token():
    tokenizer = text.VocabularyTokenizer.words(TEXTS)
    network = networks.transformer((16, 1, 2), tokenizer.vocabulary_size, seed=0)
    model = text.TextModel(network, tokenizer, 6)
    translated = model.translate_texts(["a lovely film", "dull"])
    context = tokenizer(["a lovely film", "dull"], 6)
    start, end = tokenizer.start_token_id, tokenizer.end_token_id
    found = decoding.decode(network, [[start]] * 2, 6, end_token=end, context=context)
    assert translated == tokenizer.decode([r[:n] for r, n in zip(*found[:2], strict=True)])
    # a target of an untrained network goes on to the last token, and a batch of one is the same
    assert model.translate_texts(["a lovely film", "dull"], batch_size=1) == translated
    assert len(model.translate_texts(["dull"], max_new_tokens=2)[0].split()) <= 2


def test_captions_end_at_the_end_token():
    tokenizer = text.VocabularyTokenizer.words(TEXTS)
    encoder = networks.conv_encoder((8, 8, 3), (8,), channels=4)
    network = networks.ImageCaptioner(encoder, tokenizer.vocabulary_size, 8, seed=0)
    model = text.TextModel(network, tokenizer, 6)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3))
    start, end = tokenizer.start_token_id, tokenizer.end_token_id
    found = decoding.decode(network, [[start]] * 3, 6, end_token=end, context=images)
    captions = model.caption_images(images)
    assert captions == tokenizer.decode([r[:n] for r, n in zip(*found[:2], strict=True)])
    assert model.caption_images(images, batch_size=2) == captions
    with pytest.raises(ValueError, match="Images must be numbers of shape"):
        model.caption_images(images[..., :1])


def test_bad_texts_to_write():
    model = writer()
    with pytest.raises(TypeError, match="`prompts` must"):
        model.generate_texts("dull", 3)
    with pytest.raises(ValueError, match="`prompts` must hold at least one text"):
        model.generate_texts([], 3)
    with pytest.raises(ValueError, match="empty prompt in row 1"):
        model.generate_texts(["dull", ""], 3)
    with pytest.raises(ValueError, match="at most 12 tokens"):
        model.generate_texts(["dull"], 9)
    with pytest.raises(TypeError, match="`model` must be a decoder"):
        model_with(model.tokenizer).generate_texts(["dull"], 3)
    with pytest.raises(ValueError, match="`context` must be None"):
        model.translate_texts(["dull"], 3)


def test_bad_arguments():
    tokenizer = text.VocabularyTokenizer(["a"])
    with pytest.raises(TypeError, match="`model` must be a Model"):
        text.TextModel(keras.layers.Dense(1), tokenizer, 5)
    with pytest.raises(TypeError, match="`tokenizer` must be a BaseTokenizer"):
        text.TextModel(keras.Sequential(), "tokenizer.json", 5)
