"""Checks of parts and data that trainers share, run before the first step."""

from typing import Any

import keras

from keras_ssl.trainers.engine.assertions import assert_batch_size, too_small
from keras_ssl.trainers.engine.pipelines import remainder_of


def describe(x: Any) -> str:
    """Describe the dtypes and shapes of a structure of tensors, for messages."""
    return str(
        keras.tree.map_structure(
            lambda v: f"{keras.backend.standardize_dtype(v.dtype)}{tuple(v.shape)}", x
        )
    )


def check_type(name: str, part: Any, kind: type) -> None:
    """Raise a `TypeError` unless the argument `name` of a trainer is an instance of `kind`."""
    if not isinstance(part, kind):
        raise TypeError(
            f"`{name}` must be a Keras {kind.__name__}. Received: {part} of type {type(part)}"
        )


def check_trained_teacher(teacher: Any, encoder: keras.layers.Layer) -> None:
    """Raise unless a frozen `teacher` has weights, none of them those of the student."""
    check_type("teacher", teacher, keras.layers.Layer)
    if not teacher.built or not teacher.weights:
        raise ValueError(
            "`teacher` must be a trained model, and this one has no weights yet: build it and load "
            f"its weights first. Received: {teacher}"
        )
    shared = {id(weight) for weight in teacher.weights} & {id(weight) for weight in encoder.weights}
    if shared:
        raise ValueError(
            "`teacher`, which is frozen, must not share weights with the student, `encoder`. "
            f"Received: {len(shared)} shared weights"
        )


def check_features(features: Any) -> None:
    """Raise a `ValueError` unless an encoder returns one vector per example."""
    if not hasattr(features, "shape"):
        raise ValueError(
            "`encoder` must return one tensor of shape (batch, features). To use one of several "
            "outputs, wrap it: `keras.Model(encoder.input, encoder.output[...])`. "
            f"Received: {describe(features)}"
        )
    if len(features.shape) != 2:
        raise ValueError(
            "`encoder` must return features of shape (batch, features); end it with pooling or "
            f"flattening. Received: features of shape {tuple(features.shape)}"
        )


def check_prediction(prediction: Any, target: Any) -> None:
    """Raise a `ValueError` unless a predictor returns vectors as wide as those it predicts."""
    if len(prediction.shape) != len(target.shape) or prediction.shape[-1] != target.shape[-1]:
        raise ValueError(
            "`predictor` must return vectors as wide as those of `projector`, which it predicts. "
            f"Received: predictions of shape {tuple(prediction.shape)} and projections of shape "
            f"{tuple(target.shape)}"
        )


def check_views(views: Any, count: int) -> None:
    """Raise a `ValueError` unless `views` are `count` views of the same structure.

    Args:
        views: what the augmentation or the data gave. A view is any structure of tensors.
        count: how many views the method compares.
    """
    if not isinstance(views, (tuple, list)):
        raise ValueError(
            f"Expected a tuple of {count} views of every example. Pass `augment=` to the trainer, "
            "or let the data hold ready views: `((view_1, view_2), y)`, or `((view_1, view_2),)` "
            f"without labels. Received: {_one_thing(views)}"
        )
    if len(views) != count:
        raise ValueError(
            f"Expected {count} views of every example. "
            f"Received: {len(views)} views, {describe(views)}"
        )
    _check_same_structure(views)


def check_one_view(views: Any, encoder: keras.layers.Layer) -> None:
    """Raise a `ValueError` if there are several views, for methods that see each example once."""
    takes_several = len(getattr(encoder, "inputs", None) or ()) > 1
    if isinstance(views, (tuple, list)) and not takes_several:
        raise ValueError(
            "Expected one batch of input, and an `augment` that returns one, such as "
            f"`keras_ssl.augment.RandomResizedCrop`. Received: {describe(views)}"
        )


def check_same_shape(views: Any) -> None:
    """Raise a `ValueError` unless views, which the method stacks, have the same shapes."""
    shapes = [[tuple(leaf.shape[1:]) for leaf in keras.tree.flatten(view)] for view in views]
    if any(one != shapes[0] for one in shapes):
        raise ValueError(f"Expected views of one shape. Received: {describe(views)}")


def check_crops(views: Any, global_count: int, input_shape: Any = None) -> None:
    """Raise a `ValueError` unless `views` are global views, then local ones that are no larger.

    Args:
        views: what the augmentation or the data gave.
        global_count: how many of the views are global. They must have one shape.
        input_shape: the shape of one tensor that the encoder takes, if it is known.
    """
    if not isinstance(views, (tuple, list)):
        raise ValueError(
            f"Expected a tuple of views of every example, {global_count} global ones and any "
            "number of local ones. Pass `augment=` to the trainer, such as "
            "`keras_ssl.augment.MultiCropViews(...)` for images, or let the data hold ready "
            f"views. Received: {_one_thing(views)}"
        )
    if len(views) < max(2, global_count):
        raise ValueError(
            f"Expected at least {max(2, global_count)} views of every example, the first "
            f"{global_count} of them global. Received: {len(views)} views, {describe(views)}"
        )
    _check_same_structure(views)
    sizes = [[tuple(leaf.shape[1:]) for leaf in keras.tree.flatten(view)] for view in views]
    if any(one != sizes[0] for one in sizes[1:global_count]):
        raise ValueError(
            f"Expected {global_count} global views of one shape. Received: {describe(views)}"
        )
    for of_view in sizes[1:]:
        for largest, shape in zip(sizes[0], of_view, strict=True):
            if len(shape) != len(largest) or shape[-1:] != largest[-1:]:
                raise ValueError(
                    "Expected views of one number of channels or features. "
                    f"Received: {describe(views)}"
                )
            pairs = zip(largest, shape, strict=True)
            if any(None not in pair and pair[1] > pair[0] for pair in pairs):
                raise ValueError(
                    "Local views, which show a small part of an example, must be no larger than "
                    f"the {global_count} global ones before them. Received: {describe(views)}"
                )
    if isinstance(input_shape, tuple) and len(sizes[0]) == 1:
        _check_takes(input_shape, sizes, views)


def _check_takes(input_shape: tuple, sizes: list, views: Any) -> None:
    for (shape,) in sizes:
        if len(shape) + 1 != len(input_shape):
            continue
        wanted = zip(input_shape[1:-1], shape[:-1], strict=True)
        if any(None not in pair and pair[0] != pair[1] for pair in wanted):
            free = (*[None] * (len(shape) - 1), shape[-1])
            raise ValueError(
                f"`encoder` must take views of all sizes: build it for inputs of {free}. "
                f"Received: an encoder for {tuple(input_shape[1:])} and views {describe(views)}"
            )


def _check_same_structure(views: Any) -> None:
    paths = [[path for path, _ in keras.tree.flatten_with_path(view)] for view in views]
    if any(one != paths[0] for one in paths):
        raise ValueError(f"Expected views of one structure. Received: {describe(views)}")


def _one_thing(views: Any) -> str:
    is_tensor = hasattr(views, "shape")
    return f"{'one tensor' if is_tensor else type(views).__name__}, {describe(views)}"


def check_batch_size(x: Any, minimum: int, replicas: int = 1) -> None:
    """Raise a `ValueError` if the batch holds fewer examples than the method needs.

    A size that is not known when the step is traced is checked in the step.

    Args:
        x: tensor or `keras.KerasTensor` with the batch axis first: one replica's share.
        minimum: the smallest batch, over all replicas, that the method can learn from.
        replicas: how many replicas share the batch.
    """
    size = x.shape[0]
    if size is not None and size * replicas < minimum:
        raise ValueError(f"{too_small(minimum)} Received: a batch of {size * replicas}")
    if size is None:
        assert_batch_size(x, minimum)


def check_remainder(x: Any, batch_size: int | None, minimum: int) -> None:
    """Raise a `ValueError` if the last batch would be too small to learn from.

    Args:
        x: what `fit` got: arrays, or a `tf.data.Dataset`, whose last batch is known if it batches a
            known number of examples. Anything else is passed over, as the step checks it.
        batch_size: examples per batch of arrays; `None` is Keras' 32.
        minimum: the smallest batch that the method can learn from.
    """
    remainder = remainder_of(x)
    if remainder is not None and 0 < remainder < minimum:
        raise ValueError(
            f"Expected at least {minimum} examples in a batch: the method compares each with the "
            "others. Use `dataset.batch(n, drop_remainder=True)` or another batch size. Received: "
            f"a dataset whose last batch holds {remainder}"
        )
    leaves = keras.tree.flatten(x)
    if not leaves or not all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves):
        return
    remainder = leaves[0].shape[0] % (batch_size or 32)
    if 0 < remainder < minimum:
        raise ValueError(
            f"The last batch would hold fewer than {minimum} examples, and the method compares "
            "each with the others. Leave some out or choose another batch size "
            "(`validation_batch_size` is that of validation). "
            f"Received: {leaves[0].shape[0]} examples and batch_size={batch_size or 32}"
        )
