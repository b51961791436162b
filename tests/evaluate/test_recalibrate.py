"""Moving statistics recomputed from data, against NumPy in float64 and training mode."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_ssl import data, evaluate, graphs, layers, networks

NORMALIZATIONS = [keras.layers.BatchNormalization, layers.SyncBatchNormalization]


def images(rng, n=50):
    scale, shift = rng.uniform(0.1, 5, size=3), rng.normal(size=3) * 10
    return (rng.normal(size=(n, 6, 6, 3)) * scale + shift).astype("float32")


def statistics(layer):
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("form", ["arrays", "dataset", "labelled"])
def test_statistics_are_those_of_the_data(normalization, form, rng):
    x = images(rng)
    encoder = keras.Sequential([keras.Input((6, 6, 3)), normalization(momentum=0.999)])
    data = {
        "arrays": lambda: x,
        "dataset": lambda: tf.data.Dataset.from_tensor_slices(x).batch(16),
        "labelled": lambda: (x, np.zeros(50)),
    }[form]()
    assert evaluate.recalibrate(encoder, data, batch_size=16) is encoder
    mean, variance = statistics(encoder.layers[0])
    rows = x.reshape(-1, 3).astype("float64")
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, rows.var(0), rtol=1e-5)


def block(normalization):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.Sequential(
                [keras.layers.Conv2D(4, 3), normalization(), keras.layers.Dropout(0.5)]
            ),
            keras.layers.ReLU(),
            keras.layers.Conv2D(5, 2),
            normalization(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_one_batch_gives_inference_the_features_of_training(normalization, rng):
    x = images(rng)
    encoder = block(normalization)
    encoder.layers[0].layers[2].rate = 0.0
    expected = ops.convert_to_numpy(encoder(x, training=True))  # moves its statistics a little
    for layer in encoder._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(np.full(layer.moving_mean.shape, 7.0))
            layer.moving_variance.assign(np.full(layer.moving_mean.shape, 1e-3))
    assert not np.allclose(encoder(x, training=False), expected, atol=1.0)
    evaluate.recalibrate(encoder, x)
    np.testing.assert_allclose(encoder(x, training=False), expected, rtol=1e-4, atol=1e-4)


def test_deeper_statistics_are_averages_over_batches(rng):
    x = images(rng, 48)
    encoder = block(keras.layers.BatchNormalization)
    first, second = encoder.layers[0], encoder.layers[3]
    inputs = [
        ops.convert_to_numpy(encoder.layers[2](ops.relu(_normalized(first, part))))
        for part in np.split(x, 3)
    ]
    evaluate.recalibrate(encoder, x, batch_size=16)
    rows = np.concatenate(inputs).reshape(-1, 5).astype("float64")
    mean, variance = statistics(second)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(variance, rows.var(0), rtol=1e-4)


def _normalized(first, part):
    """The first block with the statistics of a batch, in NumPy."""
    h = ops.convert_to_numpy(first.layers[0](part))
    return (h - h.mean((0, 1, 2))) / np.sqrt(h.var((0, 1, 2)) + 1e-3)


def test_nothing_else_changes(rng):
    """Frozen layers, other weights, seeds of dropout, and layers that are not called."""
    encoder = block(layers.SyncBatchNormalization)
    encoder.layers[3].trainable = False
    moving = encoder.layers[0].layers[1]
    before = {v.path: v.numpy() for v in encoder.variables}
    evaluate.recalibrate(encoder, images(rng), batch_size=16)
    changed = {v.path for v in encoder.variables if not np.array_equal(before[v.path], v.numpy())}
    assert changed == {moving.moving_mean.path, moving.moving_variance.path}
    assert "call" not in vars(moving)


def test_mask_and_shared_layers(rng):
    class Masked(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm = keras.layers.BatchNormalization()

        def call(self, x):
            mask = ops.any(x != 0, axis=-1)
            return self.norm(x, mask=mask) + self.norm(x + 1.0, mask=mask)

        def build(self, input_shape):
            self.norm.build(input_shape)

    x = rng.normal(size=(20, 5, 3)).astype("float32")
    x[:, 3:] = 0
    encoder = evaluate.recalibrate(Masked(), x, batch_size=8)
    rows = np.concatenate([x[:, :3].reshape(-1, 3), x[:, :3].reshape(-1, 3) + 1]).astype("float64")
    mean, variance = statistics(encoder.norm)
    np.testing.assert_allclose(mean, rows.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, rows.var(0), rtol=1e-4)


def test_package_networks_and_channels_first_axis(rng):
    encoder = networks.resnet18(input_shape=(16, 16, 1), width=4)
    x = (rng.uniform(size=(24, 16, 16, 1)) * 255).astype("uint8")
    expected = ops.convert_to_numpy(encoder(x.astype("float32"), training=True))
    evaluate.recalibrate(encoder, x)
    found = ops.convert_to_numpy(encoder(x.astype("float32"), training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)
    norm = keras.layers.BatchNormalization(axis=1)
    norm.build((None, 3, 4))
    x = rng.normal(2, 3, size=(30, 3, 4)).astype("float32")
    evaluate.recalibrate(norm, x, batch_size=7)
    np.testing.assert_allclose(norm.moving_mean.numpy(), x.mean((0, 2)), rtol=1e-4)


@pytest.mark.parametrize(
    ("encoder", "x", "error", "message"),
    [
        (evaluate.raw_pixels, np.ones((4, 3)), TypeError, "must be a keras.Model"),
        (keras.layers.Dense(3), np.ones((4, 3)), ValueError, "batch normalization"),
        (keras.layers.BatchNormalization(), np.ones((0, 3)), ValueError, "at least one"),
        (keras.layers.BatchNormalization(), np.full((4, 3), np.nan), ValueError, "finite"),
    ],
)
def test_wrong_arguments(encoder, x, error, message):
    with pytest.raises(error, match=message):
        evaluate.recalibrate(encoder, x.astype("float32"))


def lagging():
    """An encoder of data far from zero, whose moving mean is 0."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.BatchNormalization(momentum=0.999),
            keras.layers.Dense(16, use_bias=False),
        ]
    )


@pytest.mark.few(2)
@pytest.mark.parametrize("measure", ["knn", "linear_probe", "report", "features", "fine_tune"])
def test_every_measure_of_an_encoder_says_that_statistics_lag(measure, rng):
    y = np.arange(40) % 2
    x = (50 + rng.normal(size=(40, 8))).astype("float32")
    x[:, 0] += 4 * y
    data, encoder = (x, y), lagging()

    def run():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            {
                "knn": lambda: evaluate.knn_accuracy(encoder, data, data, k=5),
                "linear_probe": lambda: evaluate.linear_probe(encoder, data, data),
                "report": lambda: evaluate.representation_report(
                    encoder, data, data, k=5, labels_per_class=None, verbose=0
                ),
                "features": lambda: evaluate.extract_features(encoder, x),
                "fine_tune": lambda: evaluate.fine_tune(encoder, data, data, epochs=1),
            }[measure]()
        return [str(one.message) for one in caught if "lag behind" in str(one.message)]

    (found,) = run()
    assert found.startswith("`encoder`: the moving statistics of batch normalization lag behind")
    evaluate.recalibrate(encoder, x)
    assert not run()


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_under_a_strategy(normalization, two_replicas, rng):
    x = images(rng)
    with two_replicas.scope():
        encoder = keras.Sequential([keras.Input((6, 6, 3)), normalization()])
    evaluate.recalibrate(encoder, x, batch_size=16)
    rows = x.reshape(-1, 3).astype("float64")
    for variable, expected in zip(
        (encoder.layers[0].moving_mean, encoder.layers[0].moving_variance),
        (rows.mean(0), rows.var(0)),
        strict=True,
    ):
        for copy in two_replicas.experimental_local_results(variable.value):
            np.testing.assert_allclose(copy.numpy(), expected, rtol=1e-5)


def test_padding_of_graphs_does_not_count(rng):
    def graph(nodes):
        a = np.triu(rng.random((nodes, nodes)) < 0.4, 1)
        return graphs.Graph(a=(a + a.T).astype("float32"), x=rng.normal(size=(nodes, 5)), y=0)

    some = [graph(nodes) for nodes in (4, 9, 6, 7)]
    results = []
    for settings in ({}, {"static_shapes": True}):
        keras.utils.set_random_seed(0)
        encoder = networks.gin((6, 4), seed=0)
        evaluate.recalibrate(encoder, data.disjoint_batches(some, 2, adjacency="edges", **settings))
        results.append(encoder.get_weights())
    assert not all(np.all(np.isin(weight, (0, 1))) for weight in results[0][-2:])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.full
def test_data_sorted_by_class_or_all_equal_do_not_look_like_lag(rng):
    # in a batch of one class, features of a good encoder are nearly equal
    y = np.repeat(np.arange(4), 64)
    centres = 20 * np.eye(4)
    x = (centres[y] + 0.05 * rng.normal(size=(256, 4))).astype("float32")
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    evaluate.recalibrate(encoder, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate.extract_features(encoder, x, batch_size=64)
        assert evaluate.knn_accuracy(encoder, (x, y), (x, y), k=5, batch_size=64) == 1
        evaluate.fine_tune(encoder, (x, y), (x, y), epochs=1, batch_size=64)
        evaluate.extract_features(encoder, np.zeros((16, 4), "float32"))
