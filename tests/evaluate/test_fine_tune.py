import random
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import evaluate, networks, optimizers
from keras_ssl.evaluate._batches import ShuffledArrays
from keras_ssl.layers import SyncBatchNormalization
from tests.evaluate.fashion import convolutional_encoder, fashion


def test_learns_without_changing_the_encoder(tmp_path):
    train, test = fashion("train[:1500]"), fashion("test[:500]")
    encoder = convolutional_encoder()
    encoder.layers[1].trainable = False
    before = encoder.get_weights()
    model, accuracy = evaluate.fine_tune(
        encoder,
        train,
        test,
        epochs=15,
        batch_size=50,
        optimizer=keras.optimizers.Adam(5e-3),
        unfreeze=True,
    )
    assert accuracy > 0.4  # chance is 0.1
    for weight, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert not encoder.layers[1].trainable

    logits = model.predict(test[0], verbose=0)
    assert logits.shape == (500, 10)
    assert accuracy == pytest.approx(np.mean(np.argmax(logits, axis=1) == test[1]))
    # the copy was trained, not only the head
    tuned = model.layers[0].get_weights()
    assert not np.allclose(tuned[0], before[0])

    model.save(tmp_path / "tuned.keras")
    loaded = keras.saving.load_model(tmp_path / "tuned.keras")
    np.testing.assert_allclose(loaded.predict(test[0], verbose=0), logits, rtol=1e-5, atol=1e-5)


def test_few_labels_train_on_so_many_examples():
    seen = []

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    dataset = tf.data.Dataset.from_tensor_slices(fashion("train[:500]")).batch(100)
    evaluate.fine_tune(
        convolutional_encoder(),
        dataset,
        fashion("test[:100]"),
        labels_per_class=4,
        epochs=1,
        batch_size=10,
        callbacks=[Count()],
    )
    assert len(seen) == 4  # 10 classes of 4 examples in batches of 10


def test_feature_maps_and_layers_that_are_not_built():
    train = tf.data.Dataset.from_tensor_slices(fashion("train[:100]")).batch(50)
    train = train.map(lambda x, y: (tf.cast(x, tf.float32) / 255, y))
    model, _ = evaluate.fine_tune(keras.layers.Conv2D(2, 5, strides=5), train, train, epochs=1)
    assert model.layers[-1].kernel.shape == (2 * 5 * 5, 10)


class WithoutConfig(keras.layers.Layer):
    def __init__(self, dense, **kwargs):
        super().__init__(**kwargs)
        self.dense = dense

    def call(self, x):
        return self.dense(x)


@pytest.mark.filterwarnings("ignore:.*`build..`")
def test_encoder_without_a_config():
    encoder = WithoutConfig(keras.layers.Dense(3))
    model, _ = evaluate.fine_tune(encoder, (X, Y), (X, Y), epochs=1)
    assert model.layers[0].dense is not encoder.dense
    assert model.layers[0].dense.kernel.shape == (4, 3)


def test_uint8_images_and_an_encoder_that_is_not_built():
    train, test = fashion("train[:100]"), fashion("test[:50]")
    model, accuracy = evaluate.fine_tune(keras.layers.Conv2D(2, 5, strides=5), train, test)
    predicted = np.argmax(model.predict(test[0], verbose=0), axis=1)
    assert accuracy == pytest.approx(np.mean(predicted == test[1]))


def draws():
    """One number from each generator that `keras.utils.set_random_seed` seeds."""
    return [
        float(draw(()))
        for draw in (
            lambda shape: random.random(),
            np.random.random,
            tf.random.uniform,
            keras.random.uniform,
        )
    ]


@pytest.mark.full
@pytest.mark.parametrize("labels_per_class", [None, 5])
def test_seed_determines_the_result_and_the_random_state_of_the_caller_is_kept(labels_per_class):
    (x, y), test = fashion("train[:200]"), fashion("test[:100]")
    encoder = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(8, "relu"),
        ]
    )
    results = []
    for state, seed in ((7, 3), (8, 3), (7, 4)):
        keras.utils.set_random_seed(state)
        expected = draws()
        keras.utils.set_random_seed(state)
        model, accuracy = evaluate.fine_tune(
            encoder,
            (x / 255, y),
            test,
            labels_per_class=labels_per_class,
            epochs=2,
            batch_size=25,
            seed=seed,
        )
        assert draws() == expected
        results.append((*model.get_weights(), accuracy))
    first, again, other = results
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.allclose(first[0], other[0])


def test_every_epoch_sees_every_example_once_in_another_order():
    batches = ShuffledArrays({"x": np.arange(10), "y": np.arange(10)}, batch_size=4, seed=0)
    epochs = []
    for _ in range(2):
        read = [batches[i] for i in range(len(batches))]
        assert [len(batch["x"]) for batch in read] == [4, 4, 2]
        epochs.append(np.concatenate([batch["x"] for batch in read]))
        np.testing.assert_array_equal(epochs[-1], np.concatenate([batch["y"] for batch in read]))
        np.testing.assert_array_equal(np.sort(epochs[-1]), np.arange(10))
        batches.on_epoch_end()
    assert not np.array_equal(*epochs)


@pytest.mark.parametrize("name", ["train", "test"])
@pytest.mark.parametrize("label", [-2, 2])
def test_labels_out_of_range_in_a_later_batch(name, label):
    class Trained(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise AssertionError("training began")

    bad = tf.data.Dataset.from_tensor_slices((X, np.append(Y[:-1], label))).batch(2)
    data = {"train": (X, Y), "test": (X, Y), name: bad}
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=rf"in `{name}` must lie in 0\.\.1. Received: labels from"):
        evaluate.fine_tune(encoder, classes=2, callbacks=[Trained()], **data)


def test_mixed_precision_has_float32_logits():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="mixed_bfloat16")])
    x, y = np.ones((8, 4), "float32"), np.arange(8) % 2
    model, _ = evaluate.fine_tune(encoder, (x, y), (x, y), epochs=1)
    assert model(x).dtype == "float32"


X, Y = np.ones((8, 4), "float32"), np.arange(8) % 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": evaluate.raw_pixels}, TypeError, "must be a keras.Model or a Keras layer"),
        ({"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        ({"classes": 1}, ValueError, "`classes` must be an integer of at least 2"),
        ({"classes": 2, "test": (X, Y + 5)}, ValueError, r"in `test` must lie in 0\.\.1"),
        ({"train": (X, Y - 2)}, ValueError, r"in `train` must lie in 0"),
        ({"train": (X, Y - 1)}, ValueError, "at least two classes"),
        ({"train": (X, Y * 0 - 1)}, ValueError, "`train` must hold examples with a label"),
        ({"train": (X, np.array(["a", "b"] * 4))}, TypeError, "np.unique"),
        ({"train": (X, Y * 0)}, ValueError, "at least two classes"),
        ({"train": X}, ValueError, "`train` must carry labels"),
        ({"train": (X, Y * 1.0)}, TypeError, "`train` must be integers"),
        ({"labels_per_class": 9}, ValueError, "`labels_per_class` must not exceed"),
        ({"layer_decay": 1.5}, ValueError, "`layer_decay`"),
        ({"layer_decay": "0.5"}, TypeError, "`layer_decay`"),
        ({"layer_decay": 0.5}, ValueError, "`blocks` must hold the layers of `encoder`"),
        ({"exclude_from_weight_decay": "no such"}, ValueError, "matches none"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(error, match=message):
        evaluate.fine_tune(**{"encoder": encoder, "train": (X, Y), "test": (X, Y), **arguments})


def normalized_encoder():
    """Dense layers with batch normalisation, of which the first block and the last are frozen."""
    encoder = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.Sequential([keras.layers.Dense(6), keras.layers.BatchNormalization()]),
            keras.layers.Dense(5),
            SyncBatchNormalization(),
            keras.layers.Dense(3),
        ]
    )
    encoder.layers[0].trainable = encoder.layers[3].trainable = False
    return encoder


@pytest.mark.parametrize("unfreeze", [False, True])
def test_frozen_layers_and_their_statistics_stay(unfreeze, rng):
    x, y = rng.normal(3, 2, size=(40, 4)).astype("float32"), np.arange(40) % 2
    encoder = normalized_encoder()
    flags = [layer.trainable for layer in encoder._flatten_layers()]
    model, _ = evaluate.fine_tune(encoder, (x, y), (x, y), epochs=3, unfreeze=unfreeze)
    tuned = model.layers[0]
    frozen, learned = (0, 3), (1, 2)
    for number in (*frozen, *learned):
        pairs = zip(
            encoder.layers[number].get_weights(), tuned.layers[number].get_weights(), strict=True
        )
        for old, new in pairs:
            assert np.array_equal(old, new) == (number in frozen and not unfreeze)
    assert [layer.trainable for layer in encoder._flatten_layers()] == flags
    assert unfreeze == all(layer.trainable for layer in tuned._flatten_layers())


@pytest.mark.full
def test_frozen_encoder_is_not_changed_and_warns(rng):
    """The teacher of a trainer, whose weights are frozen one by one."""
    x, y = rng.normal(3, 2, size=(40, 4)).astype("float32"), np.arange(40) % 2
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])
    encoder.add(keras.layers.BatchNormalization())
    for weight in encoder.weights:
        weight.trainable = False
    with pytest.warns(UserWarning, match="unfreeze=True"):
        model, _ = evaluate.fine_tune(encoder, (x, y), (x, y), epochs=2)
    for old, new in zip(encoder.get_weights(), model.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model, _ = evaluate.fine_tune(encoder, (x, y), (x, y), epochs=2, unfreeze=True)
    for old, new in zip(encoder.get_weights(), model.layers[0].get_weights(), strict=True):
        assert not np.array_equal(old, new)


class OneBatch(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.x, self.y


@pytest.mark.parametrize("form", ["arrays", "tf.data", "PyDataset"])
def test_examples_without_a_label_are_left_out(form, rng):
    """One step of SGD equals that on the labelled examples alone, and so does the accuracy."""
    x, y = rng.normal(size=(30, 4)).astype("float32"), (np.arange(30) % 3)[:, None]
    y[rng.random(30) < 0.4] = -1
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu")])
    data = {
        "arrays": lambda: (x, y),
        "tf.data": lambda: tf.data.Dataset.from_tensor_slices((x, y)).batch(30),
        "PyDataset": lambda: OneBatch(x, y),
    }[form]()
    known = y[:, 0] >= 0
    results = []
    for each in (data, (x[known], y[known])):
        model, accuracy = evaluate.fine_tune(
            encoder, each, each, epochs=1, optimizer=keras.optimizers.SGD(0.5), batch_size=30
        )
        results.append([accuracy, *model.get_weights()])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def transformer():
    return networks.vit(
        (8, 2, 2), (28, 28, 1), 14, pooling="mean", class_token=False, include_rescaling=False
    )


@pytest.mark.full
@pytest.mark.parametrize("given", ["number", "mapping"])
def test_steps_shrink_with_depth_from_the_classifier(given):
    """One step of SGD: that of each block is the plain step times the factor of MAE's formula."""
    x, y = np.random.default_rng(0).normal(size=(16, 28, 28, 1)), np.arange(16) % 2
    encoder = transformer()
    decay = 0.5 if given == "number" else optimizers.layer_wise_decay(encoder, 0.5)
    steps = []
    for one in (None, decay):
        # the classifier starts at 0, so that the encoder has a gradient from the second step on
        starts = []

        class Start(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                starts.append([w.numpy() for w in self.model.trainable_variables])  # noqa: B023

        model, _ = evaluate.fine_tune(
            encoder,
            (x, y),
            (x, y),
            epochs=2,
            optimizer=keras.optimizers.SGD(0.1),
            layer_decay=one,
            callbacks=[Start()],
        )
        paths = [v.path for v in model.trainable_variables]
        steps.append([after - before for before, after in zip(*starts, strict=True)])
    for path, plain, scaled in zip(paths, *steps, strict=True):
        depth = 3
        if "vision_transformer" in path:
            block = re.search(r"block_(\d)", path)
            depth = int(block[1]) if block else 3 * ("/norm/" in path)
        np.testing.assert_allclose(scaled, 0.5 ** (3 - depth) * plain, rtol=1e-3, atol=1e-7)
    assert any(np.abs(one).max() > 1e-4 for one in steps[0][:2])


@pytest.mark.full
def test_weight_decay_spares_biases_and_norms_and_the_model_is_saved(tmp_path):
    x, y = np.zeros((8, 28, 28, 1), "float32"), np.arange(8) % 2
    encoder = transformer()
    optimizer = keras.optimizers.SGD(1e-9, weight_decay=1e8)  # each step decays by a tenth
    model, _ = evaluate.fine_tune(
        encoder,
        (x, y),
        (x, y),
        epochs=1,
        optimizer=optimizer,
        layer_decay=0.5,
        exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
    )
    before = {v.path: v.numpy() for v in encoder.trainable_variables}
    for variable in model.layers[0].trainable_variables:
        factor = 1.0
        if variable.name.endswith("kernel"):
            block = re.search(r"block_(\d)", variable.path)
            factor = 1 - 0.1 * 0.5 ** (3 - (int(block[1]) if block else 0))
        expected = factor * before[variable.path]
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4, atol=1e-6)
    model.save(tmp_path / "tuned.keras")
    loaded = keras.saving.load_model(tmp_path / "tuned.keras")
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    loaded.fit(x, y, verbose=0)
