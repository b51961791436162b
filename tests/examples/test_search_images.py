"""The example of search in a folder: shapes in folders, an equal pair, an outlier, a bad file."""

import json

import keras
import numpy as np
import pytest

from keras_ssl import evaluate, networks, text, trainers
from tests.examples.run import run, start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
    ),
]


@pytest.fixture
def photos(tmp_path):
    """Squares and bars, of which two are equal, noise, a text, and a file that is no image."""
    folder = tmp_path / "photos"
    random = np.random.default_rng(0)
    for kind, (height, width) in {"squares": (10, 10), "bars": (4, 20)}.items():
        (folder / kind).mkdir(parents=True)
        for number in range(10):
            image = np.full((24, 30, 3), 255, "uint8")
            top, left = random.integers(0, 24 - height), random.integers(3, 27 - width)
            image[top : top + height, left : left + width] = random.integers(0, 120, 3)
            keras.utils.save_img(folder / kind / f"{number}.png", image, scale=False)
    keras.utils.save_img(folder / "squares" / "again.PNG", image, scale=False)
    noise = random.integers(0, 256, (24, 24, 3), dtype="uint8")
    keras.utils.save_img(folder / "noise.png", noise, scale=False)
    (folder / "bad.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image either")
    return folder


def test_learns_from_a_folder_and_answers_queries(photos, tmp_path):
    tiny = ("--size", "16", "--width", "4", "--epochs", "2", "--neighbors", "3", "--shown", "4")
    query = photos / "bars" / "9.png"
    printed = run(
        "search_images.py", "photos", *tiny, "--query", str(query), "--output", "out", cwd=tmp_path
    )
    assert "cannot read photos/bad.jpg" in printed and "1 of 23 files cannot be read" in printed
    assert "{'images': 22, 'size': 16}" in printed
    out = tmp_path / "out"
    names = ("curves", "neighbors", "duplicates", "outliers", "map", "query_1")
    for name in names:
        assert np.std(keras.utils.load_img(out / f"{name}.png")) > 5, name  # not blank
    files = json.loads((out / "files.json").read_text())["files"]
    assert len(files) == len(evaluate.SearchIndex.load(out / "index.npz")) == 22
    lines = [line.split("\t") for line in (out / "images.tsv").read_text().splitlines()]
    rows = {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[1:]}
    # the last bar was drawn last, and is that which was saved again
    one, other = rows["photos/bars/9.png"], rows["photos/squares/again.PNG"]
    assert one["nearest"] == other["file"] and other["nearest"] == one["file"]
    assert float(one["cosine"]) > 0.9999
    assert one["group of duplicates"] == other["group of duplicates"] != ""
    assert not (out / "backup").exists()

    # without a folder, the same index answers
    again = run("search_images.py", "--query", str(query), "--output", "out", cwd=tmp_path)
    lines = again[again.index("Nearest to") :].splitlines()
    assert {line.split(" | ")[0].strip("| ") for line in lines[3:5]} == {
        "photos/bars/9.png",
        "photos/squares/again.PNG",
    }
    assert "1.000" in lines[3] and "1.000" in lines[4]


def test_texts_find_images_by_the_towers_of_a_clip(photos, tmp_path):
    tokenizer = text.VocabularyTokenizer(["a", "red", "bar"])
    clip = trainers.CLIP(
        networks.small_resnet((20, 20, 3), width=4),
        networks.text_transformer((8, 1, 2), tokenizer.vocabulary_size, max_length=6),
        width=8,
    )
    clip.compile("adam")
    pairs = {
        "image": np.zeros((4, 20, 20, 3)),
        "text": tokenizer(["a red bar"] * 4, 6, segment_ids=False),
    }
    clip.fit(pairs, verbose=0)
    vector = clip.tower("text").predict(tokenizer(["a red bar"], 6, segment_ids=False), verbose=0)
    clip.save(tmp_path / "clip.keras")
    text.TextModel(clip.tower("text"), tokenizer, 6).save(tmp_path / "texts.keras")
    printed = run(
        *("search_images.py", "photos", "--encoder", "clip.keras", "--text-model", "texts.keras"),
        *("--text", "a red bar", "a bar", "--neighbors", "3", "--output", "out"),
        cwd=tmp_path,
    )
    assert "'size': 20" in printed  # that of the encoder
    index = evaluate.SearchIndex.load(tmp_path / "out" / "index.npz")
    files = json.loads((tmp_path / "out" / "files.json").read_text())["files"]
    cosines, ids = index.query(vector, 3)
    found = printed[printed.index("Nearest to 'a red bar'") :].splitlines()[3:6]
    assert found == [
        f"| {files[one]} | {cosine:.3f} |" for one, cosine in zip(ids[0], cosines[0], strict=True)
    ]
    assert (tmp_path / "out" / "text_2.png").exists()


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "few").mkdir()
    for given, message in (
        ((), "a folder of images is needed"),
        (("few",), "has 0 images"),
        (("few", "--text", "a bar"), "--text needs --text-model"),
        (("few", "--encoder", "none.keras"), "there is no file none.keras"),
    ):
        process = start("search_images.py", *given, cwd=tmp_path)
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == 2 and message in printed
