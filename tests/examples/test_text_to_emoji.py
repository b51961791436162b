"""The example that draws emoji from texts, on squares and bars of a few colors."""

import json

import keras
import numpy as np
import pytest

from keras_ssl import text, trainers
from tests.examples.drawings import write_drawings
from tests.examples.run import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="trainers need the TensorFlow backend"
    ),
]

TINY = (
    *("--judge", "third", "--style", "second", "--names-held-out", "3", "--size", "16"),
    *("--batch-size", "8", "--judge-widths", "8", "--judge-epochs", "1", "--length", "8"),
    *("--text", "8", "1", "2", "--clip-widths", "8", "--clip-epochs", "1"),
    *("--autoencoder-widths", "8", "--latent-channels", "2", "--autoencoder-epochs", "1"),
    *("--widths", "8", "--epochs", "1", "--steps", "2", "--samples", "2", "--shown", "3"),
)


@pytest.mark.parametrize("options", [(), pytest.param(("--tokens",), marks=pytest.mark.full)])
def test_draws_names_held_out_and_prompts(tmp_path, options):
    write_drawings(tmp_path / "drawings")
    printed = run("text_to_emoji.py", "drawings", *TINY, *options, "--output", "out", cwd=tmp_path)
    # 23 drawings by two vendors of twelve names, without three names
    assert any(
        f"{{'to learn from': {count}, 'names': 9, 'held out': 3}}" in printed for count in (17, 18)
    )
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    assert report["vendors"] == ["first", "second"] and len(report["names held out"]) == 3
    assert [row["drawings"] for row in report["drawings"]] == [
        "real, by second",
        "real, by the autoencoder",
        "samples, guidance 1",
        "samples, guidance 4",
        "samples for another text",
        "to learn from, of the nearest text",
    ]
    for row in report["drawings"]:
        rank, count = map(float, row["median rank"].split(" of "))
        assert 1 <= rank <= count == 12
    for name in ("curves", "samples"):
        assert np.std(keras.utils.load_img(out / f"{name}.png")) > 5  # not blank
    assert not list(out.glob("backup*"))
    tower = keras.saving.load_model(out / "text_tower.keras")
    assert isinstance(tower, text.TextModel)
    assert tower.predict_texts(["red bar"]).shape == (1, 128)
    assert isinstance(keras.saving.load_model(out / "clip.keras"), trainers.CLIP)
    trainer = keras.saving.load_model(out / "trainer.keras")
    assert isinstance(trainer, trainers.LatentDiffusion)

    prompt = ("--prompt", "a blue square", "--style", "first", "--shown", "3", "--steps", "2")
    printed = run("text_to_emoji.py", *prompt, "--output", "out", cwd=tmp_path)
    assert "3 drawings of 'a blue square'" in printed
    assert (out / "prompt.png").exists()
