"""The examples on labelled sentences, whose label is that of their adjectives."""

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

ADJECTIVES = [["dull", "awful", "stale"], ["lovely", "bright", "clever"]]
NOUNS = ["film", "plot", "music", "story"]


def write_sentences(folder):
    rng = np.random.default_rng(0)
    folder.mkdir()
    for part, count in {"train": 200, "dev": 40, "test": 60}.items():
        labels = rng.integers(0, 2, count)
        texts = [
            "a {} {} and {} {}".format(
                *(rng.choice(words) for words in 2 * (ADJECTIVES[label], NOUNS))
            )
            for label in labels
        ]
        rows = [f"{one}\t{label}\n" for one, label in zip(texts, labels, strict=True)]
        (folder / f"{part}.tsv").write_text("".join(rows), encoding="utf-8")


def test_bert_from_hidden_words_to_sentence_embeddings(tmp_path):
    pytest.importorskip("tokenizers")
    write_sentences(tmp_path / "sentences")
    (tmp_path / "more.txt").write_text("a dull film\n\na bright story\n" * 20, encoding="utf-8")
    printed = run(
        *("bert.py", "sentences", "--text", "more.txt", "--vocabulary", "100", "--length", "16"),
        *("--size", "32", "1", "2", "--batch-size", "16", "--epochs", "3", "--output", "out"),
        *("--learning-rate", "5e-3", "--warmup", "10", "--fine-tuning-epochs", "4"),
        *("--fine-tuning-rate", "5e-3", "--simcse-epochs", "1"),
        cwd=tmp_path,
    )
    assert "240 texts in all" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["fine-tuned from"] for row in report["classifiers"]] == ["random", "pre-trained"]
    assert all(row["test accuracy"] > 0.8 for row in report["classifiers"])
    assert all(row["uniformity"] < 0 for row in report["embeddings"])
    assert all(row["linear classifier"] > 0.8 for row in report["embeddings"])
    # of 20 tokens or so
    assert 1 < report["perplexity of hidden tokens"] < 10
    assert "it was:" in (tmp_path / "out" / "filled_in.txt").read_text(encoding="utf-8")
    for name in ("pretraining", "fine_tuning", "embedding"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000
    for name, shape in (("classifier", (1, 2)), ("encoder", (1, 32))):
        model = keras.saving.load_model(tmp_path / "out" / f"{name}.keras")
        assert isinstance(model, text.TextModel)
        assert model.predict_texts(["a dull plot"]).shape == shape


def test_a_bidirectional_lstm_reads_the_adjectives(tmp_path):
    write_sentences(tmp_path / "sentences")
    run(
        *("sentiment_bilstm.py", "sentences", "--units", "8", "--width", "8", "--epochs", "8"),
        *("--batch-size", "16", "--learning-rate", "1e-2", "--dropout", "0.1", "--output", "out"),
        cwd=tmp_path,
    )
    rows = json.loads((tmp_path / "out" / "report.json").read_text())
    assert float(rows[0]["accuracy"].split()[0]) > 90 > float(rows[2]["accuracy"].split()[0])
    assert (tmp_path / "out" / "attention.png").stat().st_size > 1000
    assert isinstance(keras.saving.load_model(tmp_path / "out" / "sentiment.keras"), text.TextModel)
