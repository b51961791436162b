"""Moving statistics that lag behind: features that look collapsed in inference mode only."""

import warnings

import keras
import numpy as np
import pytest

from keras_ssl import evaluate, layers, trainers
from keras_ssl.callbacks import CollapseMonitor, KNNCallback

RANDOM = np.random.default_rng(0)
Y = np.arange(64) % 2
# far from zero: without the right mean, all features point in one direction
X = (50 + RANDOM.normal(size=(64, 8)) + 4 * Y[:, None] * np.eye(8)[0]).astype("float32")


def encoder(momentum=0.999, normalization=keras.layers.BatchNormalization):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8,)),
            normalization(momentum=momentum),
            keras.layers.Dense(16, use_bias=False),
        ]
    )


def trainer(model=None, method=trainers.SimCLR, **arguments):
    made = method(
        encoder() if model is None else model,
        layers.ProjectionHead((8, 4), normalization=False),
        **arguments,
    )
    made.compile(keras.optimizers.SGD(1e-3))
    return made


def fit(made, callbacks=(), **arguments):
    views = (X, X[:, ::-1].copy())
    return made.fit(
        views, batch_size=32, epochs=2, verbose=0, callbacks=list(callbacks), **arguments
    )


def messages(function):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [str(one.message) for one in caught if "statistics" in str(one.message)]


def knn():
    return KNNCallback((X[:32], Y[:32]), (X[32:], Y[32:]), k=5)


@pytest.mark.parametrize(
    "normalization", [keras.layers.BatchNormalization, layers.SyncBatchNormalization]
)
def test_monitor_tells_lag_from_collapse(normalization):
    made = trainer(encoder(normalization=normalization))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(made, [CollapseMonitor(X)])
    (found,) = [str(one.message) for one in caught if "CollapseMonitor" in str(one.message)]
    assert "moving statistics of batch normalization lag behind" in found
    assert "recalibrate" in found
    assert "collapse" not in found.replace("CollapseMonitor", "")
    h = evaluate.extract_features(made.encoder, X)[0]
    evaluate.recalibrate(made.encoder, X)
    assert evaluate.feature_std(h).mean() < 0.05
    assert evaluate.feature_std(evaluate.extract_features(made.encoder, X)[0]).mean() > 0.5
    assert not messages(lambda: fit(made, [CollapseMonitor(X)]))


def test_monitor_still_finds_a_collapse_behind_batch_normalization():
    made = trainer()
    made.build((None, 8))

    class Collapse(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            kernel = np.zeros((8, 16))
            kernel[:, 0] = 1e-9
            made.encoder.layers[1].kernel.assign(kernel)

    # the mean gives a direction to all examples
    made.encoder.layers[0].beta.assign(np.ones(8))
    made.encoder.layers[0].gamma.assign(np.full(8, 1e-6))
    with pytest.warns(UserWarning, match="complete collapse of the representation"):
        fit(made, [Collapse(), CollapseMonitor(X)])


def test_knn_says_what_the_accuracy_would_be():
    made = trainer()
    made.compile(keras.optimizers.SGD(0.0))
    (found,) = messages(lambda: fit(made, [knn()]))
    assert found.startswith("KNNCallback: after epoch 1, the moving statistics")
    h = [np.asarray(made.encoder(x, training=True)) for x in (X[:32], X[32:])]
    expected = evaluate.knn_accuracy(evaluate.raw_pixels, (h[0], Y[:32]), (h[1], Y[32:]), k=5)
    assert found.endswith(f" and {expected:.3f}.")
    evaluate.recalibrate(made.encoder, X)
    assert not messages(lambda: fit(made, [knn()]))


def test_validation_says_it_too():
    made = trainer()
    views = (X[:32], X[:32, ::-1].copy())
    (found,) = messages(lambda: fit(made, validation_data=(views,)))
    assert found.startswith("Validation after epoch 1: the moving statistics")
    evaluate.recalibrate(made.encoder, X)
    assert not messages(lambda: fit(made, validation_data=(views,)))
    assert not messages(lambda: fit(trainer(), validation_data=None))


def test_knn_of_sorted_data_is_not_called_lagging():
    y = np.repeat(np.arange(8), 64)
    x = (20 * np.eye(8)[y] + 0.05 * RANDOM.normal(size=(512, 8))).astype("float32")
    made = trainer(evaluate.recalibrate(encoder(), x))
    callback = KNNCallback((x, y), (x, y), k=5, batch_size=64)
    assert not messages(lambda: fit(made, [callback]))


def test_a_list_of_validation_data_is_read_as_a_tuple():
    views = (X[:32], X[:32, ::-1].copy())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(trainer(), validation_data=[views, Y[:32]])
    texts = [str(one.message) for one in caught]
    assert any("lag behind" in text for text in texts)
    assert not any("structure of `inputs`" in text for text in texts)


def test_validation_says_what_helps_a_projector():
    head = [keras.layers.BatchNormalization(momentum=0.999), keras.layers.Dense(4)]
    made = trainers.SimCLR(keras.layers.Dense(16), keras.Sequential(head))
    made.compile(keras.optimizers.SGD(1e-3))
    views = (X[:32], X[:32, ::-1].copy())
    (found,) = messages(lambda: fit(made, validation_data=(views,)))
    assert "feature_std of the projection" in found
    assert "recalibrate" not in found


def test_nothing_is_computed_once_the_start_is_forgotten():
    made = trainer(encoder(momentum=0.1))
    views = (X[:32], X[:32, ::-1].copy())
    assert not messages(lambda: fit(made, validation_data=(views,)))


def test_the_comparison_changes_nothing():
    results = []
    for callbacks in ([], [CollapseMonitor(X), knn()]):
        made = trainer()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            views = (X[:32], X[:32, ::-1].copy())
            validation = {"validation_data": (views,)} if callbacks else {}
            fit(made, callbacks, shuffle=False, **validation)
        results.append(made.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_on_replicas(two_replicas):
    with two_replicas.scope():
        made = trainer()
    (found,) = messages(lambda: fit(made, [knn()]))
    assert "lag behind" in found


def test_knn_of_the_teacher():
    made = trainer(
        encoder(momentum=0.5), trainers.BYOL, predictor=layers.PredictionHead(8), momentum=0.999
    )
    made.compile(keras.optimizers.SGD(0.5))
    sets = ((X[:32], Y[:32]), (X[32:], Y[32:]))
    callbacks = [KNNCallback(*sets, k=5), KNNCallback(*sets, k=5, teacher=True)]
    history = fit(made, callbacks).history
    of_teacher = evaluate.knn_accuracy(made.teacher_encoder, *sets, k=5)
    assert history["teacher_knn_accuracy"][-1] == of_teacher
    assert history["knn_accuracy"][-1] == evaluate.knn_accuracy(made.encoder, *sets, k=5)
    kernel = np.zeros((8, 16))
    kernel[5:] = RANDOM.normal(size=(3, 16))  # blind to what tells the classes apart
    made.teacher_encoder.layers[1].kernel.assign(kernel)
    history = fit(made, callbacks, initial_epoch=1).history
    assert history["teacher_knn_accuracy"][-1] < history["knn_accuracy"][-1]


def test_teacher_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`teacher=True` needs.*SimCLR"):
        fit(trainer(), [KNNCallback((X, Y), (X, Y), k=5, teacher=True)])


def test_teacher_of_examples_with_an_index():
    """The teacher gets what is encoded, without what else is in the batch."""

    class Indexed(trainers.BYOL):
        def to_encode(self, x):
            return x["x"] if isinstance(x, dict) else x

    made = trainer(encoder(momentum=0.5), Indexed, predictor=layers.PredictionHead(8))
    indexed = ({"x": X, "index": np.arange(64)}, Y)
    callback = KNNCallback(indexed, indexed, k=5, teacher=True)
    history = fit(made, [callback]).history
    assert "teacher_knn_accuracy" in history
