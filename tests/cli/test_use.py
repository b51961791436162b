"""`keras-ssl evaluate`, `embed` and `search` on a run."""

import json

import keras
import numpy as np
import pytest

from tests.cli.conftest import write_images


def test_evaluate(run_of_simclr, pictures, command):
    _, folder = run_of_simclr
    status, printed, _ = command("evaluate", folder, "--data", pictures, "--neighbors", 3)
    assert status == 0
    results = json.loads((folder / "evaluation.json").read_text())
    assert list(results) == ["encoder", "random encoder", "raw pixels"]
    # light images are told from dark ones by any features
    assert results["encoder"]["linear_probe"] == 1.0
    assert results["raw pixels"]["dimensions"] == 16 * 16 * 3
    assert "| raw pixels" in printed
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "raw pixels" in page and "light/" in page


@pytest.mark.slow
def test_evaluate_on_another_folder(run_of_simclr, pictures, command, tmp_path):
    test = write_images(tmp_path / "test", 6)
    options = ("evaluate", run_of_simclr[1], "--data", pictures, "--test-data", test)
    assert command(*options, "--neighbors", 3)[0] == 0


def test_embed(run_of_simclr, pictures, command, tmp_path):
    _, folder = run_of_simclr
    out = tmp_path / "features.npz"
    assert command("embed", folder, "--data", pictures, "--out", out)[0] == 0
    arrays = np.load(out)
    assert arrays["files"].tolist() == sorted(
        path.relative_to(pictures).as_posix() for path in pictures.rglob("*.jpg")
    )
    assert arrays["labels"].tolist() == [0] * 12 + [1] * 12
    from keras_ssl import data

    images = data.image_folder(pictures, 16).images()
    encoder = keras.saving.load_model(folder / "encoder.keras")
    np.testing.assert_allclose(arrays["features"], encoder.predict(images, verbose=0), atol=1e-5)
    assert "light/03.jpg" in (tmp_path / "features.html").read_text(encoding="utf-8")
    status, _, said = command("embed", folder, "--data", pictures, "--out", out)
    assert status == 2 and "nothing is overwritten" in said


def test_search(run_of_simclr, pictures, command, tmp_path):
    query, out = pictures / "light" / "03.jpg", tmp_path / "found.png"
    options = ("--data", pictures, "--query", query, "--count", 3, "--out", out)
    status, printed, _ = command("search", run_of_simclr[1], *options)
    assert status == 0
    assert printed.splitlines()[1] == "  1.000  light/03.jpg"
    assert out.stat().st_size > 0


@pytest.mark.parametrize("name", ["evaluate", "embed", "search"])
def test_a_folder_without_a_finished_run(name, pictures, command, tmp_path):
    options = {"embed": ("--out", tmp_path / "x.npz"), "search": ("--query", "x.jpg")}.get(name, ())
    status, _, said = command(name, tmp_path, "--data", pictures, *options)
    assert status == 2 and "is no folder of a run" in said
    (tmp_path / "config.json").write_text('{"finished": false}')
    status, _, said = command(name, tmp_path, "--data", pictures, *options)
    assert status == 2 and "has not finished" in said


def test_unknown_options(run_of_simclr, command):
    status, _, said = command("evaluate", run_of_simclr[1], "--data", "x", "--neighbours", 3)
    assert status == 2 and "no option --neighbours. Did you mean --neighbors?" in said
