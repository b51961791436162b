"""Training a classifier end to end from a learned encoder."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.evaluate.batches import Batches, as_batches
from keras_ssl.evaluate.clone import clone_encoder
from keras_ssl.evaluate.subset import take_balanced


def fine_tune(
    encoder: keras.layers.Layer,
    train: Any,
    test: Any,
    classes: int | None = None,
    labels_per_class: int | None = None,
    epochs: int = 10,
    optimizer: keras.optimizers.Optimizer | None = None,
    batch_size: int = 256,
    seed: int = 0,
    callbacks: list[keras.callbacks.Callback] | None = None,
    verbose: int = 0,
) -> tuple[keras.Model, float]:
    """Train a copy of the encoder and a linear classifier on it together, and test them.

    The classifier starts from zero weights, the encoder from what it has learned; every weight of
    the copy is trained. The encoder passed in is not changed. There is no augmentation but what
    `train` brings along (`tf.data`'s `map`).

    Args:
        encoder: a `keras.Model` or Keras layer with a config it can be rebuilt from.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Labels are integers from 0 to `classes - 1`.
        test: labelled data in the same form.
        classes: how many classes there are. `None` means the largest label plus 1, which takes one
            more pass over a `train` that is not arrays.
        labels_per_class: train on this many random examples of every class. `None` takes all.
        epochs: passes over the training data.
        optimizer: a Keras optimizer; it is used up by this training. `None` means `Adam(1e-3)`.
        batch_size: examples a batch where the data is arrays, and with `labels_per_class`.
        seed: of the subset and, through `keras.utils.set_random_seed`, of training.
        callbacks: Keras callbacks for `fit`.
        verbose: as in `keras.Model.fit`.

    Returns:
        `(model, accuracy)`: a `keras.Model` from images to logits, and the share of test examples
        that it classifies right, from 0 to 1.

    Raises:
        TypeError: if `encoder` is not a Keras model or layer, or labels are not integers.
        ValueError: if data is empty, endless, not batched or without labels, labels lie outside
            `0..classes - 1`, a class has fewer than `labels_per_class` examples, or `encoder`
            cannot be rebuilt.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "relu")])
    >>> x, y = np.array([[-1.0, 0.0], [1.0, 0.0]] * 20), np.array([0, 1] * 20)
    >>> model, accuracy = evaluate.fine_tune(encoder, (x, y), (x, y), epochs=20)
    >>> accuracy, model(x).shape
    (1.0, TensorShape([40, 2]))

    Reference:
        [Chen et al., 2020](https://arxiv.org/abs/2002.05709), section 4.2 and appendix B.8
    """
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"`epochs` must be a positive integer. Received: {epochs}")
    batches = as_batches(train, "train", batch_size, labelled=True)
    test_batches = as_batches(test, "test", batch_size, labelled=True)
    keras.utils.set_random_seed(seed)
    if labels_per_class is not None:
        train = take_balanced(batches, labels_per_class, seed)
        batches = as_batches(train, "train", batch_size, labelled=True)
    classes = _check_classes(batches, test_batches, classes)

    if isinstance(encoder, keras.layers.Layer) and not encoder.built:
        encoder(batches.first()[0])
    backbone = clone_encoder(encoder)
    # one by one: a Sequential does not hand `trainable` on to layers that were frozen singly
    for layer in backbone._flatten_layers():
        layer.trainable = True
    model = keras.Sequential(
        [
            backbone,
            keras.layers.Flatten(),
            # logits stay float32 under mixed precision
            keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32"),
        ],
        name="fine_tuned",
    )
    model(batches.first()[0])
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3) if optimizer is None else optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    model.fit(
        **_fit_arguments(train, batch_size), epochs=epochs, callbacks=callbacks, verbose=verbose
    )
    results = model.evaluate(**_fit_arguments(test, batch_size), verbose=0, return_dict=True)
    return model, float(results["accuracy"])


def _check_classes(train: Batches, test: Batches, classes: int | None) -> int:
    if classes is None:
        # a negative label is told of below
        classes = 1 + max(int(np.abs(labels).max()) for _, labels in train)
        if classes < 2:
            raise ValueError("`train` must hold at least two classes. Received: only class 0")
    elif isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise ValueError(f"`classes` must be an integer of at least 2. Received: {classes}")
    for batches in (train, test):
        labels = batches.first()[1]
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(
                f"The labels in `{batches.name}` must lie in 0..{classes - 1}. "
                f"Received: labels from {labels.min()} to {labels.max()}"
            )
    return classes


def _fit_arguments(data: Any, batch_size: int) -> dict[str, Any]:
    if isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)):
        return {"x": data}
    return {"x": data[0], "y": data[1], "batch_size": batch_size}
