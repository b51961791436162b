"""What `fit` and `evaluate` of a trainer check of their data before the first step."""

from typing import TYPE_CHECKING, Any

import keras

from keras_ssl.augment._value_range import warn_of_values
from keras_ssl.trainers.checks import check_remainder
from keras_ssl.trainers.engine._hooks import are_arrays
from keras_ssl.trainers.engine.first_batch import first_inputs
from keras_ssl.trainers.engine.label_values import check_label_values, label_errors

if TYPE_CHECKING:
    from keras_ssl.trainers.base import SelfSupervisedModel


def check_weights(trainer: "SelfSupervisedModel", y: Any, **weights: Any) -> None:
    """Raise a `ValueError` for weights of examples, by name, that would have no effect."""
    given = [name for name, value in weights.items() if value is not None]
    if given and not trainer.uses_sample_weight:
        raise ValueError(
            f"{type(trainer).__name__} does not use weights of examples. Expected data of `x` or "
            f"`(x, y)`. Received: `sample_weight` or `class_weight` ({', '.join(given)})"
        )
    if given and y is None:
        raise ValueError(
            f"The weights of {type(trainer).__name__} are those of its labels: expected data of "
            f"`(x, y, sample_weight)`. Received: {', '.join(given)} without `y`"
        )


def check_weight_arguments(
    trainer: "SelfSupervisedModel", x: Any, y: Any, arguments: dict[str, Any]
) -> None:
    """Raise a `ValueError` for weights among the arguments of `fit` that would have no effect."""
    weights = {name: arguments.get(name) for name in ("sample_weight", "class_weight")}
    # a dataset holds its labels
    check_weights(trainer, y if y is not None or are_arrays(x) else x, **weights)


def check_labels(trainer: "SelfSupervisedModel", x: Any, y: Any = None, name: str = "y") -> Any:
    """Check the values of class labels; return `x`, whose batches may be checked when read."""
    classes = trainer.label_classes()
    if classes is None:
        return x
    if name == "validation_data" and isinstance(x, (tuple, list)):
        y = keras.utils.unpack_x_y_sample_weight(tuple(x))[1]
    return check_label_values(x, y, classes, name)


def look_at_values(trainer: "SelfSupervisedModel", data: Any, name: str) -> None:
    """Check the values of arrays or of a first batch, and warn of them for `augment`.

    The warning says that images do not fit the range that the augmentation expects.
    """
    if not trainer._looks_at_values:
        return
    with label_errors():  # reading a batch checks its labels
        x = first_inputs(data)
    if x is None:
        return
    try:
        trainer.check_values(x)
    except ValueError as error:
        raise error if name == "x" else ValueError(f"In `{name}`: {error}") from error
    if trainer.augment is not None:
        warn_of_values(trainer.augment, trainer.to_encode(x), name)


def check_validation_data(
    trainer: "SelfSupervisedModel", data: Any, batch_size: int | None, steps: int | None
) -> None:
    """Raise an error if the losses cannot be computed of validation data."""
    inputs = inputs_of(data)
    try:
        trainer.check_data(inputs)
        if trainer.distribute_strategy.num_replicas_in_sync == 1 and steps is None:
            check_remainder(inputs, batch_size, trainer.minimum_batch)
    except (TypeError, ValueError) as error:
        raise type(error)(f"In `validation_data`: {error}") from error


def inputs_of(data: Any) -> Any:
    """Return `x` of `validation_data`, which is a tuple of arrays or a dataset."""
    if isinstance(data, (tuple, list)):
        return keras.utils.unpack_x_y_sample_weight(tuple(data))[0]
    return data
