import numpy as np
import pytest

from keras_ssl import evaluate
from keras_ssl.visualize import plot_comparison

VALUES = {
    "ours": {"k-NN": [0.8, 0.9, 0.85], "NMI": [0.5, 0.6, 0.4]},
    "others": {"k-NN": [0.7]},
}


def test_draws_means_seeds_and_intervals(tmp_path):
    comparison = evaluate.Comparison(VALUES, confidence=0.9)
    figure = plot_comparison(comparison, title="Encoders", path=tmp_path / "out" / "table.png")
    nearest, nmi = figure.axes
    assert (nearest.get_xlabel(), nmi.get_xlabel()) == ("k-NN", "NMI")
    assert [one.get_text() for one in nearest.get_yticklabels()] == ["ours", "others"]
    interval, seeds, mean, other = (line.get_xydata() for line in nearest.lines)
    cell = comparison.intervals()["ours"]["k-NN"]
    np.testing.assert_allclose(interval, [[cell["low"], 0], [cell["high"], 0]])
    np.testing.assert_allclose(seeds, [[0.8, 0], [0.9, 0], [0.85, 0]])
    np.testing.assert_allclose(mean, [[0.85, 0]])
    np.testing.assert_allclose(other, [[0.7, 1]])  # one seed has no interval
    assert len(nmi.lines) == 3
    assert nearest.get_ylim()[0] > nearest.get_ylim()[1]  # the first at the top
    assert figure.get_suptitle() == "Encoders"
    assert (tmp_path / "out" / "table.png").stat().st_size > 5_000


def test_many_measures_have_panels_of_their_own():
    values = {"ours": {f"measure {i}": [float(i)] for i in range(4)}}
    figure = plot_comparison(evaluate.Comparison(values))
    assert [one.get_xlabel() for one in figure.axes] == list(values["ours"])


def test_bad_input():
    with pytest.raises(TypeError, match=r"what `evaluate\.compare` returns"):
        plot_comparison(VALUES)
    with pytest.raises(ValueError, match="at least one measure"):
        plot_comparison(evaluate.Comparison({}))
