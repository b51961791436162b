"""End-to-end training of a classifier from a pretrained encoder."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl._copying import copy_layer
from keras_ssl._keras_internals import all_layers
from keras_ssl._tensorflow import is_dataset
from keras_ssl.data._mapped_batches import MappedBatches
from keras_ssl.evaluate._batch_statistics import looks_collapsed, warn_of_lag
from keras_ssl.evaluate._batches import Batches, ShuffledArrays, as_batches
from keras_ssl.evaluate._forward import Forward, as_input, ensure_built
from keras_ssl.evaluate._labels import integer_labels
from keras_ssl.evaluate._subset import take_balanced
from keras_ssl.evaluate.random_encoder import seeded
from keras_ssl.optimizers import layer_wise_decay
from keras_ssl.optimizers.parameter_groups import ParameterGroups


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
    unfreeze: bool = False,
    layer_decay: float | Mapping[str, float] | None = None,
    exclude_from_weight_decay: Sequence[str] | str = (),
) -> tuple[keras.Model, float]:
    """Train a copy of the encoder together with a linear classifier, and test them.

    The classifier starts from zero weights, the encoder from its learned weights. Layers whose
    `trainable` flag is off stay as they are, the moving statistics of batch normalisation included;
    all others are trained. The encoder passed in is not changed. There is no augmentation except
    what `train` applies (such as `tf.data`'s `map`). All labels are read and checked before
    training.

    Args:
        encoder: a `keras.Model` or Keras layer.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Labels are integers from 0 to `classes - 1`; examples with the
            label -1, which means no label, are left out.
        test: labelled data in the same form.
        classes: number of classes. `None` means the largest label of `train` plus 1.
        labels_per_class: train on this many random examples of every class. `None` means all.
        epochs: passes over the training data.
        optimizer: a Keras optimizer, which cannot be used again. `None` means `Adam(1e-3)`.
        batch_size: examples per batch if the data is arrays or `labels_per_class` is given.
        seed: seed of the subset, of the order of arrays, and of layers without a seed of their own
            (dropout). The caller's random state is neither used nor changed. A `tf.data.Dataset`
            is read in its own order: its `shuffle` has its own seed.
        callbacks: Keras callbacks for `fit`.
        verbose: as in `keras.Model.fit`.
        unfreeze: whether to train all layers, those that are frozen in `encoder` too. The teacher
            of a trainer, whose weights are all frozen, needs it.
        layer_decay: factor of the learning rate from each block of the encoder to the block before
            it, as `optimizers.layer_wise_decay` computes them from `encoder.blocks`; or what that
            function returned for other blocks. The classifier has the full rate. `None` means that
            all layers have it. A model that is saved and loaded does not know the factors.
        exclude_from_weight_decay: regular expressions of the paths of variables that the optimizer
            does not decay, such as `optimizers.NO_WEIGHT_DECAY`. Paths begin with `encoder/` or
            `classifier/`.

    Returns:
        `(model, accuracy)`: a `keras.Model` from inputs to logits, and its accuracy on `test`, from
        0 to 1.

    Raises:
        TypeError: if `encoder` is not a Keras model or layer, or labels are not integers.
        ValueError: if data is empty, infinite, not batched or without labels, labels are neither -1
            nor in `0..classes - 1`, a class has fewer than `labels_per_class` examples, or
            `layer_decay` is a number out of range or the encoder has no `blocks`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "relu")])
    >>> x, y = np.array([[-1.0, 0.0], [1.0, 0.0]] * 20), np.array([0, 1] * 20)
    >>> model, accuracy = evaluate.fine_tune(encoder, (x, y), (x, y), epochs=20)
    >>> accuracy, model(x).shape
    (1.0, TensorShape([40, 2]))

    A vision transformer as in MAE, of which early blocks learn more slowly:

    >>> from keras_ssl import networks, optimizers
    >>> encoder = networks.vit((8, 2, 2), input_shape=(8, 8, 3), patch_size=4)
    >>> images = np.random.default_rng(0).uniform(0, 255, (40, 8, 8, 3)).astype("uint8")
    >>> model, accuracy = evaluate.fine_tune(
    ...     encoder,
    ...     (images, y),
    ...     (images, y),
    ...     epochs=1,
    ...     optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.05),
    ...     layer_decay=0.75,
    ...     exclude_from_weight_decay=optimizers.NO_WEIGHT_DECAY,
    ... )

    Reference:
        - [Chen et al., 2020](https://arxiv.org/abs/2002.05709), section 4.2 and appendix B.8
        - [He et al., 2021](https://arxiv.org/abs/2111.06377), appendix A.1, for layer-wise decay
    """
    checks.integer("epochs", epochs, minimum=1)
    checks.integer("classes", classes, minimum=2, optional=True)
    if layer_decay is not None and not isinstance(layer_decay, Mapping):
        checks.positive("layer_decay", layer_decay, maximum=1)
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(f"`encoder` must be a keras.Model or a Keras layer. Received: {encoder!r}")
    batches = as_batches(train, "train", batch_size, labelled=integer_labels)
    test_batches = as_batches(test, "test", batch_size, labelled=integer_labels)
    if labels_per_class is not None:
        train = take_balanced(batches, labels_per_class, seed)
        batches = as_batches(train, "train", batch_size, labelled=integer_labels)
    classes = _check_classes(batches, test_batches, classes)
    ensure_built(encoder, batches)
    with seeded(seed):
        kind = keras.Sequential if layer_decay is None else _FineTuned
        model = kind(_classifier(copy_layer(encoder), classes, unfreeze), name="fine_tuned")
        model(as_input(batches.first()[0]))
        model.compile(
            optimizer=keras.optimizers.Adam(1e-3) if optimizer is None else optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            ),
            weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        )
        _group_variables(model, layer_decay, exclude_from_weight_decay)
        model.fit(
            _labelled(train, batch_size, seed), epochs=epochs, callbacks=callbacks, verbose=verbose
        )
    backbone = Forward(model.layers[0])
    if looks_collapsed(ops.convert_to_numpy(backbone(test_batches.first()[0]))):
        features = [ops.convert_to_numpy(backbone(x)) for x, _ in test_batches]
        warn_of_lag(backbone, test_batches, np.concatenate(features))
    results = model.evaluate(_labelled(test, batch_size, seed), verbose=0, return_dict=True)
    return model, float(results["accuracy"])


@keras.saving.register_keras_serializable(package="keras_ssl")
class _FineTuned(keras.Sequential):
    """Layers whose variables learn at different rates."""

    groups = ParameterGroups()  # of a loaded model: the rates are not saved

    def train_step(self, *arguments: Any) -> Any:
        """Take one step on a batch, as `keras.Model`: on JAX, a function of the state too."""
        if len(arguments) == 1:
            with self.groups.applied(self.optimizer, self.trainable_variables):
                return super().train_step(*arguments)
        logs, (weights, *others) = super().train_step(*arguments)
        before = arguments[0][0]
        return logs, (self.groups.scaled(self.trainable_variables, before, weights), *others)


def _group_variables(model: keras.Model, layer_decay: Any, excluded: Sequence[str] | str) -> None:
    """Give the variables of a compiled model their learning rates and weight decay."""
    backbone, variables = model.layers[0], model.trainable_variables
    if layer_decay is not None and not isinstance(layer_decay, Mapping):
        layer_decay = layer_wise_decay(backbone, layer_decay)
    groups = ParameterGroups(layer_decay, excluded)
    groups.name({"encoder": backbone, "classifier": model.layers[-1]}, variables)
    groups.prepare(model.optimizer, variables)
    if isinstance(model, _FineTuned):
        model.groups = groups


def _classifier(
    backbone: keras.layers.Layer, classes: int, unfreeze: bool
) -> list[keras.layers.Layer]:
    """Return the layers of an encoder and a linear classifier on it."""
    if unfreeze:
        # One by one: setting `trainable` of a Sequential leaves layers that were frozen alone
        # frozen. Off and on again, which passes the flag on to weights that were frozen alone.
        for layer in all_layers(backbone):
            layer.trainable = False
            layer.trainable = True
    elif not backbone.trainable_weights:
        warnings.warn(
            "No weight of `encoder` is trainable, so only the classifier on it learns. Pass "
            "`unfreeze=True` to train all of it.",
            stacklevel=3,
        )
        backbone.trainable = False  # statistics of batch normalisation stay as well
    # float32 logits under mixed precision too
    logits = keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32")
    return [backbone, keras.layers.Flatten(), logits]


def _labelled(data: Any, batch_size: int, seed: int) -> Any:
    """Return data as Keras reads it, in which examples without a label have weight 0."""
    if is_dataset(data):
        return data.map(lambda *batch: _weighted(*keras.utils.unpack_x_y_sample_weight(batch)))
    if isinstance(data, keras.utils.PyDataset):
        return MappedBatches(data, _weighted_arrays)
    x, y = data[:2]
    y = integer_labels(y, "train")
    if (y < 0).any():
        x, y = keras.tree.map_structure(lambda array: np.asarray(array)[y >= 0], (x, y))
    return ShuffledArrays((x, y), batch_size, seed)


def _weighted_arrays(batch: Any) -> tuple:
    x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
    y = integer_labels(y, "train")
    return x, np.maximum(y, 0), (y >= 0).astype("float32")


def _weighted(x: Any, y: Any, _: Any = None) -> tuple:
    import tensorflow as tf

    y = tf.reshape(tf.cast(y, tf.int64), [-1])
    return x, tf.maximum(y, 0), tf.cast(y >= 0, tf.float32)


def _check_classes(train: Batches, test: Batches, classes: int | None) -> int:
    for batches in (train, test):
        # -1 means no label
        labels = np.unique(np.concatenate([np.unique(labels) for _, labels in batches]))
        labels = labels[labels != -1]
        if not len(labels):
            raise ValueError(
                f"`{batches.name}` must hold examples with a label. Received: only labels of -1"
            )
        smallest, largest = int(labels[0]), int(labels[-1])
        if classes is None:
            if 0 <= smallest == largest:
                raise ValueError(
                    f"`train` must hold at least two classes. Received: only class {largest}"
                )
            classes = max(largest, 1) + 1
        if smallest < 0 or largest >= classes:
            raise ValueError(
                f"The labels in `{batches.name}` must lie in 0..{classes - 1}. "
                f"Received: labels from {smallest} to {largest}; only -1 means no label"
            )
    return classes
