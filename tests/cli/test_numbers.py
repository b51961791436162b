"""Tables and time series on the command line."""

import json

import keras
import numpy as np
import pytest
from sklearn.datasets import load_wine

import keras_ssl

WINE = load_wine()


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table with names of columns and a column of labels in its middle."""
    path = tmp_path_factory.mktemp("table") / "wine.csv"
    names = [*WINE.feature_names[:5], "kind", *WINE.feature_names[5:]]
    kinds = WINE.target_names[WINE.target]
    rows = [[*row[:5], kind, *row[5:]] for row, kind in zip(WINE.data, kinds, strict=True)]
    path.write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]) + "\n")
    return path


@pytest.fixture(scope="session")
def waves(tmp_path_factory):
    """Slow and fast waves in two channels of different scale."""
    rng = np.random.default_rng(0)
    y = np.arange(48) % 2
    phases = rng.uniform(0, 6, (48, 1, 2))
    x = np.sin(np.linspace(0, 6, 20)[:, None] * (1 + 2 * y[:, None, None]) + phases) * [1, 50]
    path = tmp_path_factory.mktemp("series") / "waves.npz"
    np.savez(path, x=x, y=y)
    return path


def test_a_table(table, command, tmp_path):
    run = tmp_path / "run"
    options = ("--label-column", "kind", "--batch-size", 32, "--epochs", 2, "--verbose", 0)
    status, _, said = command(
        "pretrain", "--method", "scarf", "--data", table, *options, "--out", run
    )
    assert (status, said) == (0, "")
    assert json.loads((run / "config.json").read_text())["examples"] == {
        "count": 178,
        "shape": [13],
    }
    preset = keras_ssl.from_preset(run / "preset")
    scaled = np.asarray(preset.preprocessing(WINE.data.astype("float32")))
    expected = (WINE.data - WINE.data.mean(0)) / WINE.data.std(0)
    np.testing.assert_allclose(scaled, expected, rtol=1e-2, atol=1e-3)

    out = tmp_path / "features.npz"
    assert command("embed", run, "--data", table, "--out", out)[0] == 0
    arrays = np.load(out)
    np.testing.assert_allclose(arrays["features"], preset.encoder(scaled), rtol=1e-3, atol=1e-4)
    assert arrays["labels"].tolist() == WINE.target.tolist()  # classes in the order of their names

    assert command("evaluate", run, "--data", table, "--neighbors", 5)[0] == 0
    results = json.loads((run / "evaluation.json").read_text())
    # kinds of wine are told by their scaled columns, hardly by those columns as they are
    assert results["raw pixels"]["knn_accuracy"] > 0.9

    status, _, said = command("search", run, "--data", table, "--query", "x.jpg")
    assert status == 2 and "is of no images" in said


@pytest.mark.slow
def test_a_table_without_labels_can_be_embedded(table, command, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other.csv"
    options = ("--label-column", "kind", "--encoder", "Dense(8, 'relu')", "--no-scale")
    options = (*options, "--epochs", 1, "--verbose", 0, "--out", run)
    assert command("pretrain", "--method", "vime", "--data", table, *options)[0] == 0
    assert not (run / "preprocessing.keras").exists()
    encoder = keras.saving.load_model(run / "trainer.keras", compile=False).encoder
    assert encoder.units == 8
    rows = [",".join(map(str, row)) for row in WINE.data]
    other.write_text("\n".join([",".join(WINE.feature_names), *rows]))
    assert command("embed", run, "--data", other, "--out", tmp_path / "x.npz")[0] == 0
    assert "labels" not in np.load(tmp_path / "x.npz")
    (tmp_path / "narrow.csv").write_text("a,b\n1,2\n3,4\n")
    out = ("--out", tmp_path / "y.npz")
    status, _, said = command("embed", run, "--data", tmp_path / "narrow.csv", *out)
    assert status == 2 and "of examples of shape (13,)" in said and "of shape (2,)" in said


def test_series(waves, command, tmp_path):
    run = tmp_path / "run"
    options = ("--epochs", 1, "--batch-size", 16, "--verbose", 0, "--out", run)
    status, _, said = command("pretrain", "--method", "masked-series", "--data", waves, *options)
    assert (status, said) == (0, "")
    out = tmp_path / "features.npz"
    assert command("embed", run, "--data", waves, "--out", out)[0] == 0
    assert np.load(out)["features"].shape == (48, 128)  # of each series, not of each step
    assert np.load(out)["labels"].tolist() == [0, 1] * 24


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ("a,b\n1,2\n3,red\n", (), "'red' in column 'b', line 3"),
        ("a,b\n1,2\n3,\n", (), "fill what is missing"),
        ("a,b\n1,2\n3\n", (), "line 3 of"),
        ("1,2\n3,4\n", (), "must hold the names of the columns"),
        ("a,a\n3,4\n", (), "all different"),
        ("a,b\n1,inf\n", (), "must hold finite numbers. Received: inf at [0, 1]"),
        ("a,b\n", (), "must hold numbers of shape (rows, columns)"),
        ("", (), "must hold the names"),
        ("a,kind\n1,2\n", ("--label-column", "kinds"), "no column 'kinds'. Did you mean kind?"),
        ("a,b\n1,2\n", (), "at least 2 examples in --data. Received: 1"),
        ("a,b\n1,2\n", ("--image-size", 8), "learns from tables, which have no --image-size"),
    ],
)
def test_what_is_wrong_with_a_table(content, options, complaint, command, tmp_path):
    (tmp_path / "table.csv").write_text(content)
    given = ("--data", tmp_path / "table.csv", "--out", tmp_path / "run")
    status, _, said = command("pretrain", "--method", "scarf", *given, *options)
    assert status == 2
    assert complaint in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arrays", "options", "complaint"),
    [
        ({"x": np.zeros((4, 5))}, (), "shape (series, time, channels). Received: float64 of shape"),
        ({"x": np.full((4, 5, 1), "a")}, (), "must hold numbers"),
        ({"z": np.zeros((4, 5, 1))}, (), "must hold the examples as `x`"),
        (
            {"x": np.zeros((4, 5, 1)), "y": np.zeros(3, int)},
            (),
            "must hold one integer per example",
        ),
        ({"x": np.zeros((4, 5, 1))}, ("--label-column", "a"), "--label-column is of a .csv file"),
    ],
)
def test_what_is_wrong_with_series(arrays, options, complaint, command, tmp_path):
    np.savez(tmp_path / "series.npz", **arrays)
    given = ("--data", tmp_path / "series.npz", "--out", tmp_path / "run")
    status, _, said = command("pretrain", "--method", "masked-series", *given, *options)
    assert status == 2 and complaint in said


@pytest.mark.parametrize("data", ["folder", "series.csv", "none.npy"])
def test_files_that_hold_no_series(data, command, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "series.csv").write_text("a\n1\n")
    given = ("--data", tmp_path / data, "--out", tmp_path / "run")
    status, _, said = command("pretrain", "--method", "masked-series", *given)
    expected = "there is no file" if data == "none.npy" else "must be a .npy or .npz file of them"
    assert status == 2 and expected in said


def test_label_columns_are_of_tables(command, tmp_path):
    given = ("--data", tmp_path, "--out", tmp_path / "run", "--label-column", "a")
    status, _, said = command("pretrain", "--method", "simclr", *given)
    assert status == 2 and "learns from images, which have no --label-column" in said
