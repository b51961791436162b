"""The example of vectors of words, on a text of topics."""

import re

import keras
import numpy as np
import pytest

from tests.examples.run import run

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
)


@pytest.mark.slow
def test_neighbors_are_of_the_same_topic(tmp_path):
    rng = np.random.default_rng(0)
    letters = "abcdefghij"
    names = [topic + x + y for topic in "abcd" for x in letters[:6] for y in letters]
    lines = [rng.choice(names[60 * t :][:60], 12) for t in rng.integers(0, 4, 2000)]
    (tmp_path / "text.txt").write_text("\n".join(" ".join(line) for line in lines))
    pairs = [(a, b, float(a[0] == b[0])) for a in names[::9] for b in names[::10] if a != b]
    (tmp_path / "pairs.tsv").write_text("".join(f"{a}\t{b}\t{score}\n" for a, b, score in pairs))
    printed = run(
        *("word2vec.py", "text.txt", "--pairs", "pairs.tsv", "--queries", "aab", "bfa", "cbc"),
        *("--dim", "16", "--rate", "0.05", "--epochs", "6", "--subsample", "1"),
        cwd=tmp_path,
    )
    assert "24,000 words in 2,000 lines, 240 of them different" in printed
    rows = dict(re.findall(r"^\| ([\w ]+) \| ([-\d.]+) \|$", printed, re.MULTILINE))
    assert set(rows) == {"word2vec", "PPMI and SVD"}
    assert all(float(value) > 0.6 for value in rows.values())  # 0.75 at best, with so many ties
    for query in ("aab", "bfa", "cbc"):
        (found,) = re.findall(rf"^{query}: (.*)$", printed, re.MULTILINE)
        assert sum(word[0] == query[0] for word in found.split(", ")) >= 7
    assert (tmp_path / "word2vec" / "map.png").stat().st_size > 1000
    assert keras.saving.load_model(tmp_path / "word2vec" / "word2vec.keras").dim == 16
