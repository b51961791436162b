import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, evaluate, trainers
from keras_ssl.callbacks import KNNCallback
from keras_ssl.layers import ProjectionHead
from keras_ssl.visualize import plot_history
from tests.evaluate.fashion import convolutional_encoder, fashion


def classifier(encoder):
    model = keras.Sequential([encoder, keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def test_every_keras_callback_after_it_sees_the_accuracy(tmp_path):
    train, test = fashion("train[:200]"), fashion("test[:100]")
    model = classifier(convolutional_encoder())
    history = model.fit(
        *train,
        epochs=3,
        verbose=0,
        callbacks=[
            KNNCallback(train, test, k=5),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.EarlyStopping(monitor="knn_accuracy", mode="max", min_delta=1.0),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "{epoch}-{knn_accuracy:.4f}.keras", monitor="knn_accuracy", mode="max"
            ),
        ],
    )
    # no accuracy can exceed the first by 1, so the run stops early
    values = history.history["knn_accuracy"]
    assert len(values) == 2  # Keras never stops after the first epoch
    assert values[-1] == evaluate.knn_accuracy(model, train, test, k=5)
    with (tmp_path / "log.csv").open() as file:
        assert [float(row["knn_accuracy"]) for row in csv.DictReader(file)] == values
    assert (tmp_path / f"1-{values[0]:.4f}.keras").exists()


def test_tensorboard_sees_it(tmp_path):
    pytest.importorskip("tensorboard")
    data = fashion("train[:50]")
    classifier(convolutional_encoder()).fit(
        *data,
        verbose=0,
        callbacks=[KNNCallback(data, data, k=5), keras.callbacks.TensorBoard(tmp_path)],
    )
    events = next((tmp_path / "train").glob("events*"))
    tags = [
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    ]
    assert "epoch_knn_accuracy" in tags


def test_progress_bar_shows_it(capsys):
    train, test = fashion("train[:100]"), fashion("test[:50]")
    callback = KNNCallback(train, test, k=5)
    classifier(convolutional_encoder()).fit(*train, verbose=2, callbacks=[callback])
    assert "knn_accuracy: 0." in capsys.readouterr().out


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("every", "epochs", "measured"),
    [(1, 3, [1, 2, 3]), (2, 5, [1, 2, 4, 5]), (10, 4, [1, 4]), (3, 3, [1, 3])],
)
def test_every(monkeypatch, tmp_path, every, epochs, measured):
    """Every epoch has a value: that of its own or of the previous measurement."""
    data = fashion("train[:50]")
    values = iter(np.arange(1, 10) / 10)
    monkeypatch.setattr(KNNCallback, "measure", lambda *_: {"knn_accuracy": next(values)})
    history = classifier(convolutional_encoder()).fit(
        *data,
        epochs=epochs,
        verbose=0,
        callbacks=[
            KNNCallback(data, data, k=5, every=every),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    )
    expected = [sum(m <= epoch for m in measured) / 10 for epoch in range(1, epochs + 1)]
    assert history.history["knn_accuracy"] == pytest.approx(expected)
    with (tmp_path / "log.csv").open() as file:
        logged = [float(row["knn_accuracy"]) for row in csv.DictReader(file)]
    assert logged == pytest.approx(expected)
    curve = plot_history(history, {"k-NN": ["knn_accuracy"]}).axes[0].lines[0]
    np.testing.assert_array_equal(curve.get_xdata(), range(1, epochs + 1))


def test_a_second_fit_measures_its_first_epoch(monkeypatch):
    data = fashion("train[:50]")
    values = iter([0.1, 0.2, 0.3])
    monkeypatch.setattr(KNNCallback, "measure", lambda *_: {"knn_accuracy": next(values)})
    callback = KNNCallback(data, data, k=5, every=10)
    model = classifier(convolutional_encoder())
    model.fit(*data, epochs=1, verbose=0, callbacks=[callback])
    history = model.fit(*data, epochs=5, initial_epoch=1, verbose=0, callbacks=[callback])
    assert history.history["knn_accuracy"] == [0.2, 0.2, 0.2, 0.3]


def simclr(seed=0):
    return trainers.SimCLR(
        encoder=convolutional_encoder(seed),
        projector=ProjectionHead((16, 8)),
        augment=augment.SimCLRViews(28, seed=seed),
    )


@pytest.mark.full
def test_encoder_of_a_trainer():
    train, test = fashion("train[:200]"), fashion("test[:100]")
    trainer = simclr()
    trainer.compile(optimizer="adam")
    datasets = [tf.data.Dataset.from_tensor_slices(pair).batch(50) for pair in (train, test)]
    history = trainer.fit(
        train[0], batch_size=50, epochs=2, verbose=0, callbacks=[KNNCallback(*datasets)]
    )
    expected = evaluate.knn_accuracy(trainer.encoder, train, test)
    assert history.history["knn_accuracy"][-1] == expected


@pytest.mark.full
def test_under_a_strategy(two_replicas):
    train, test = fashion("train[:200]"), fashion("test[:100]")
    with two_replicas.scope():
        trainer = simclr()
        trainer.compile(optimizer="adam")
    callback = KNNCallback(train, test)
    history = trainer.fit(train[0], batch_size=50, verbose=0, callbacks=[callback])
    expected = evaluate.knn_accuracy(trainer.encoder, train, test)
    assert history.history["knn_accuracy"] == [expected]


def test_model_without_encoder_is_measured_by_its_own_output():
    data = fashion("train[:50]")
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(*data, verbose=0, callbacks=[KNNCallback(data, data, k=5)])
    expected = evaluate.knn_accuracy(model, data, data, k=5)
    assert history.history["knn_accuracy"] == [expected]


@pytest.mark.full
def test_measuring_does_not_change_training():
    x, y = fashion("train[:100]")
    weights = []
    for callbacks in ([], [KNNCallback((x, y), (x, y))]):
        encoder = convolutional_encoder()
        classifier(encoder).fit(x, y, epochs=2, verbose=0, callbacks=callbacks, shuffle=False)
        weights.append(encoder.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


X, Y = fashion("train[:30]")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ValueError, "`k` must be a positive integer"),
        ({"temperature": 0}, ValueError, "`temperature` must be"),
        ({"every": 0}, ValueError, "`every` must be a positive integer"),
        ({"train": X}, ValueError, "`train` must carry labels"),
        ({"test": (X, Y * 1.0)}, TypeError, "`test` must be integers"),
        (
            {"train": tf.data.Dataset.from_tensor_slices((X, Y))},
            ValueError,
            "`train` must be batched",
        ),
    ],
)
def test_wrong_arguments_are_found_at_construction(arguments, error, message):
    with pytest.raises(error, match=message):
        KNNCallback(**{"train": (X, Y), "test": (X, Y), **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 31}, "`k` must not exceed.*k=31 and 30"),
        ({"train": (X, Y * 0)}, "at least two classes"),
        ({"test": (np.zeros((5, 28, 28, 3)), Y[:5])}, "encoder"),
        ({"test": tf.data.Dataset.from_tensor_slices((X, Y)).batch(9).take(0)}, "`test` must hold"),
    ],
)
def test_data_that_does_not_fit_is_found_before_the_first_step(arguments, message):
    encoder = convolutional_encoder()
    before = encoder.get_weights()
    callback = KNNCallback(**{"train": (X, Y), "test": (X, Y), **arguments})
    with pytest.raises(ValueError, match=message):
        classifier(encoder).fit(X, Y, verbose=0, callbacks=[callback])
    for weight, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.parametrize("kind", ["missing", "strings"])
def test_labels_that_are_missing_or_strings(kind):
    (x, y), (test_x, test_y) = fashion("train[:60]"), fashion("test[:40]")
    if kind == "missing":
        y, test_y = np.where(np.arange(60) < 25, -1, y)[:, None], np.where(test_y == 3, -1, test_y)
    else:
        y, test_y = y.astype(str), test_y.astype(str)
    train, test = (x, y), (test_x, test_y)
    model = classifier(convolutional_encoder())
    callback = KNNCallback(train, test, k=5, batch_size=20)  # the first batch has no label
    history = model.fit(x, np.zeros(60, int), verbose=0, callbacks=[callback])
    assert history.history["knn_accuracy"] == [evaluate.knn_accuracy(model, train, test, k=5)]
