"""The example of translation, between two languages of six words."""

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

SPANISH = ["rio", "piedra", "mar", "luz", "casa", "perro"]
ENGLISH = ["river", "stone", "sea", "light", "house", "dog"]
TINY = (
    *("--groups", "chapter", "--validation", "0.05", "--test", "0.05", "--output", "out"),
    *("--vocabulary", "300", "--length", "32", "--blocks", "1", "--heads", "2", "--width", "32"),
)


def write_pairs(path):
    rng = np.random.default_rng(0)
    lines = ["chapter\tspanish\tenglish"]
    for number in range(600):
        meant = rng.integers(0, 6, rng.integers(2, 13))
        sides = (" ".join(words[one] for one in meant) for words in (SPANISH, ENGLISH))
        lines.append("\t".join([str(number // 10), *sides]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_translation_is_better_than_that_of_the_nearest_sentence(tmp_path):
    pytest.importorskip("tokenizers")
    pytest.importorskip("sacrebleu")
    write_pairs(tmp_path / "pairs.tsv")
    printed = run(
        *("translate.py", "pairs.tsv", *TINY, "--epochs", "12", "--batch-size", "16"),
        *("--learning-rate", "1e-2", "--warmup", "40"),
        cwd=tmp_path,
    )
    assert "{'validation pairs': 30, 'test pairs': 30, 'train pairs': 540}" in printed
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["translations"]
    copied, nearest, greedy, beams = (row["BLEU"] for row in rows)
    assert copied < 1 < nearest < 40 < min(greedy, beams)
    assert (tmp_path / "out" / "translations.txt").read_text().count("reference:") == 30
    for name in ("attention", "curves"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 1000
    model = keras.saving.load_model(tmp_path / "out" / "translator.keras")
    assert isinstance(model, text.TextModel)
    assert model.predict_texts(["mar luz"]).shape == (1, 32, 32)
