import keras
import numpy as np
import pytest

from keras_ssl.visualize import plot_history


def lines(axes):
    return {line.get_label(): np.stack(line.get_data(), -1) for line in axes.lines}


def test_panels_and_values():
    history = {
        "loss": [3.0, 2.0],
        "val_loss": [3.5, 2.5],
        "probe_accuracy": [0.25, 0.5],
        "learning_rate": [0.1, 0.1],
    }
    loss, accuracy, rate = plot_history(history).axes
    np.testing.assert_allclose(lines(rate)["learning rate"], [[1, 0.1], [2, 0.1]])
    assert rate.get_ylabel() == "learning rate"
    assert lines(loss).keys() == {"loss", "val loss"}
    np.testing.assert_allclose(lines(loss)["val loss"], [[1, 3.5], [2, 2.5]])
    np.testing.assert_allclose(lines(accuracy)["probe accuracy"], [[1, 25], [2, 50]])
    assert [line.get_linestyle() for line in loss.lines] == ["-", "--"]
    assert loss.lines[0].get_color() == loss.lines[1].get_color()
    assert (loss.get_xlabel(), loss.get_ylabel()) == ("epoch", "loss")
    assert accuracy.get_ylabel() == "accuracy (%)"


def test_rank_spread_rate_and_others_have_panels_of_their_own():
    history = {
        "loss": [3.0, 2.0],
        "probe_accuracy": [0.25, 0.5],
        "effective_rank": [20.0, 30.0],
        "feature_std": [0.9, 0.8],
        "projection_spread": [0.5, 0.6],
        "learning_rate": [0.1, 0.05],
        "class": [2.0, 1.5],
    }
    axes = {one.get_ylabel(): one for one in plot_history(history).axes}
    titles = ["loss", "accuracy (%)", "effective rank", "spread", "learning rate", "other"]
    assert list(axes) == titles
    assert set(lines(axes["spread"])) == {"feature std", "projection spread"}
    np.testing.assert_allclose(lines(axes["effective rank"])["effective rank"], [[1, 20], [2, 30]])
    # no two panels lie on one another
    boxes = [one.get_position() for one in axes.values()]
    assert len({(round(box.x0, 2), round(box.y0, 2)) for box in boxes}) == 6


def test_history_of_a_real_fit():
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", "mse", metrics=["accuracy"])
    x, y = np.ones((8, 3)), np.ones((8, 2))
    first = model.fit(x, y, epochs=2, verbose=0)
    second = model.fit(x, y, epochs=3, initial_epoch=2, validation_data=(x, y), verbose=0)
    loss, accuracy = plot_history([first, second]).axes
    recorded = first.history["loss"] + second.history["loss"]
    np.testing.assert_allclose(lines(loss)["loss"], np.stack([[1, 2, 3], recorded], -1))
    np.testing.assert_allclose(lines(loss)["val loss"], [[3, second.history["val_loss"][0]]])
    assert set(lines(accuracy)) == {"accuracy", "val accuracy"}
    np.testing.assert_allclose(lines(plot_history(second).axes[0])["loss"][0, 0], 3)


def test_fits_that_start_at_the_first_epoch_are_joined():
    (axes,) = plot_history([{"loss": [3, 2]}, {"loss": [1]}]).axes
    np.testing.assert_allclose(lines(axes)["loss"], [[1, 3], [2, 2], [3, 1]])


def test_validation_at_every_third_epoch():
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    x, y = np.ones((8, 3)), np.ones((8, 2))
    history = model.fit(
        x, y, epochs=6, validation_data=(x, y), validation_freq=3, batch_size=8, verbose=0
    )
    (axes,) = plot_history(history).axes
    validated = np.stack([[3, 6], history.history["val_loss"]], -1)
    np.testing.assert_allclose(lines(axes)["val loss"], validated)


def test_own_panels():
    history = {"nt_xent": [2.0], "effective_rank": [30.0]}
    figure = plot_history(history, {"loss": ["nt_xent"], "effective rank": ["effective_rank"]})
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "effective rank"]


def test_png(tmp_path):
    path = tmp_path / "history.png"
    plot_history({"loss": [2, 1]}, title="run", path=path)
    picture = keras.utils.img_to_array(keras.utils.load_img(path))
    assert picture.shape[0] > 300 and picture.std() > 5


@pytest.mark.parametrize(
    ("history", "panels"),
    [
        ({}, None),
        ([], None),
        ({"loss": []}, None),
        ({"loss": [1]}, {"a": ["b"]}),
    ],
)
def test_nothing_to_plot(history, panels):
    with pytest.raises(ValueError, match=r"`history`.*Received"):
        plot_history(history, panels)


@pytest.mark.parametrize("history", [3, "loss", [1.0, 2.0]])
def test_wrong_type(history):
    with pytest.raises(TypeError, match=r"`history` must be.*Received"):
        plot_history(history)


def test_the_fit_of_a_regression_has_a_panel():
    figure = plot_history({"loss": [2.0, 1.0], "probe_r2": [-0.5, 0.5]})
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "R²"]
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [-0.5, 0.5])
