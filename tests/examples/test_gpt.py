"""The examples of language models of characters, on a text of few words."""

import json

import keras
import numpy as np
import pytest

from keras_ssl import text
from tests.examples.run import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
    ),
]

METHODS = ["greedy", "temperature 1", "temperature 0.8", "top 10", "top 90 %"]


@pytest.fixture
def text_file(tmp_path):
    rng = np.random.default_rng(0)
    words = ["river", "stone", "to", "sea", "and", "light"]
    (tmp_path / "text.txt").write_text(" ".join(rng.choice(words, 1200)), encoding="utf-8")


@pytest.mark.usefixtures("text_file")
def test_gpt_learns_the_words_of_a_text(tmp_path):
    printed = run(
        *("gpt.py", "text.txt", "--width", "32", "--blocks", "1", "--heads", "2"),
        *("--context", "16", "--batch-size", "16", "--iterations", "150"),
        *("--evaluate-every", "50", "--learning-rate", "1e-2", "--warmup", "10"),
        *("--characters", "15", "--output", "out"),
        cwd=tmp_path,
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    # log 6 nats a word of 4.7 characters with its space; 2.6 by the counts of characters
    assert 0.38 < report["validation_loss"] < 1.0
    assert [row["method"] for row in report["samples"]] == METHODS
    assert f"validation loss {report['validation_loss']:.4f}" in printed
    assert (tmp_path / "out" / "samples.txt").read_text(encoding="utf-8").count("## ") == 5
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000
    assert not list((tmp_path / "out").glob("backup*"))
    model = keras.saving.load_model(tmp_path / "out" / "gpt.keras")
    assert isinstance(model, text.TextModel)
    assert model.predict_texts(["to sea"]).shape == (1, 16, 32)


@pytest.mark.usefixtures("text_file")
def test_an_lstm_predicts_better_than_a_bigram_model(tmp_path):
    printed = run(
        *("char_rnn.py", "text.txt", "--width", "32", "--context", "16", "--batch-size", "16"),
        *("--iterations", "150", "--evaluate-every", "50", "--learning-rate", "2e-2"),
        *("--warmup", "10", "--characters", "15", "--output", "out"),
        cwd=tmp_path,
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert 0.38 < report["validation_loss"] < 0.8 * report["loss_of_a_bigram_model"]
    assert f"loss of a bigram model: {report['loss_of_a_bigram_model']:.4f}" in printed
    assert (tmp_path / "out" / "gates.png").stat().st_size > 1000
    assert isinstance(keras.saving.load_model(tmp_path / "out" / "char_rnn.keras"), text.TextModel)
