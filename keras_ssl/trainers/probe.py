"""Online probe: a linear model of labels that measures the representation during training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.distribute.replicas import skip_overflow_everywhere
from keras_ssl.layers import SyncBatchNormalization
from keras_ssl.trainers._class_labels import mean_over_replicas
from keras_ssl.trainers._probe_tasks import TASKS, Classification
from keras_ssl.trainers.engine.gradients import differentiate


@keras.saving.register_keras_serializable(package="keras_ssl")
class OnlineProbe(keras.layers.Layer):
    """Linear model of labels on the representation, trained alongside it without affecting it.

    The features are standardised by batch statistics and go through one dense layer. No gradient
    flows into the features, and the probe has its own optimizer, so the encoder is the same with
    and without a probe. The accuracy estimates during training what a linear probe would measure
    afterwards. Report the latter: `keras_ssl.evaluate.linear_probe`.

    Not every example needs a label. The probe learns from the labelled ones and is measured on
    them; the features of all count in the statistics of the batch. Rows of sample weight 0, such as
    padded nodes of graphs and nodes outside of the split, count nowhere.

    | `task` | labels | missing | loss | metric |
    |---|---|---|---|---|
    | `"classification"` | 0 to `classes - 1` | -1 | cross-entropy | `probe_accuracy` |
    | `"multi_label"` | 0 or 1 for each class | -1 | binary cross-entropy | `probe_accuracy` |
    | `"regression"` | `classes` numbers | NaN | squared error | `probe_r2` |

    A label of any other value is an error. Labels that are strings must be numbered first, by
    `np.unique(y, return_inverse=True)` or `keras.layers.StringLookup(num_oov_indices=0)`.

    Args:
        classes: number of classes, or of the numbers that a regression predicts.
        optimizer: Keras optimizer of the probe, or its name. `None` means `Adam(1e-3)`.
        by_position: whether there is a label per position of an example, such as per node of a
            graph: features of shape `(batch, positions, features)`, labels `(batch, positions)`.
        task: `"classification"`, `"multi_label"` or `"regression"`.
        class_weight: weights of the classes in the loss of a classification, a dictionary or one
            number per class. Metrics are not weighted. `None` weighs all examples alike.
        metrics: names of metrics, or Keras metrics of labels and logits. For a classification the
            names are `"accuracy"`, `"balanced_accuracy"` (the mean accuracy of the classes that
            occur), and `"top_5_accuracy"` or any other number. In a multi-label task, metrics get
            the labels of all classes one below the other. `None` means that of the table.
        **kwargs: `name`, `dtype` of the layer.

    Call arguments:
        features: tensor of rank 2 or more. All axes after the first are flattened; with
            `by_position`, all axes before the last.
        training: whether to standardise by the statistics of this batch.
        sample_weight: optional weights of the rows; those of weight 0 enter no statistics.

    Input shape:
        `(batch, ...)`, numeric.

    Output shape:
        `(batch, classes)`: logits, or the predicted numbers. With `by_position`,
        `(batch * positions, classes)`.

    Raises:
        TypeError: if `classes` is not an integer.
        ValueError: if `classes` is less than 2 in a classification, or another argument is not
            one of those above.

    Example:

    >>> import keras, keras_ssl
    >>> probe = keras_ssl.trainers.OnlineProbe(classes=10, metrics=["accuracy", "top_5_accuracy"])
    >>> probe(keras.ops.ones((4, 16))).shape
    TensorShape([4, 10])
    """

    def __init__(
        self,
        classes: int,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        by_position: bool = False,
        task: str = "classification",
        class_weight: Mapping[int, float] | Sequence[float] | None = None,
        metrics: Sequence[str | keras.metrics.Metric] | None = None,
        **kwargs: Any,
    ):
        checks.training_backend()
        super().__init__(**kwargs)
        if task not in TASKS:
            raise ValueError(f"`task` must be one of {list(TASKS)}. Received: task={task!r}")
        self.task = task
        self.classes = checks.integer("classes", classes, minimum=TASKS[task].minimum_units)
        self.by_position = bool(by_position)
        self._task = TASKS[task](self.classes, class_weight)
        self.optimizer = keras.optimizers.get("adam" if optimizer is None else optimizer)
        self.standardize = SyncBatchNormalization(center=False, scale=False)
        self.logits = keras.layers.Dense(classes, dtype="float32")
        self.loss_tracker = keras.metrics.Mean(name="probe_loss")
        self._metric_arguments = list(self._task.default_metrics if metrics is None else metrics)
        self.label_metrics = [self._make_metric(one) for one in self._metric_arguments]
        self.accuracy = self.label_metrics[0] if self.label_metrics else None

    def _make_metric(self, metric: Any) -> keras.metrics.Metric:
        if isinstance(metric, keras.metrics.Metric):
            return metric
        made = self._task.metric(metric) if isinstance(metric, str) else None
        if made is None:
            raise ValueError(
                f"`metrics` must hold Keras metrics, or names such as {self._task.metric_names} "
                f"for task={self.task!r}. Received: {metric!r}"
            )
        return made

    @property
    def label_classes(self) -> int | None:
        """How many classes labels may be of; `None` if labels are not classes."""
        return self.classes if isinstance(self._task, Classification) else None

    def build(self, input_shape: tuple) -> None:
        """Create the weights of the classifier and the state of its optimizer."""
        flat = (None, input_shape[-1] if self.by_position else math.prod(input_shape[1:]))
        self.standardize.build(flat)
        self.logits.build(flat)
        self.optimizer.build(self.trainable_variables)

    def call(self, features: Any, training: bool = False, sample_weight: Any = None) -> Any:
        """Return the logits of the classes."""
        width = features.shape[-1] if self.by_position else math.prod(features.shape[1:])
        features = ops.reshape(features, (-1, width))
        is_row = None
        if sample_weight is not None:  # padding has weight 0, and enters no statistics
            is_row = ops.not_equal(ops.reshape(sample_weight, (-1,)), 0)
            count = distribute.all_reduce_sum(ops.sum(ops.cast(is_row, "float32")))
            is_row = ops.logical_or(is_row, ops.equal(count, 0))  # all, if none has a weight
        return self.logits(self.standardize(features, training=training, mask=is_row))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return `(batch, classes)`, with `by_position` `(batch * positions, classes)`."""
        rows = input_shape[:-1] if self.by_position else input_shape[:1]
        return (None if None in rows else math.prod(rows), self.classes)

    def check_labels(self, y: Any) -> None:
        """Raise a `ValueError` unless `y` is a batch of labels for the task."""
        shapes = [("batch",)]
        if self.by_position:  # for a single graph, the nodes are the first axis
            shapes.append(("batch", "positions"))
        expected = ", ".join(shapes[-1]) + (
            "" if isinstance(self._task, Classification) else f", {self.classes}"
        )
        expected = f"{self._task.expected} of shape ({expected})"
        if y is None:
            raise ValueError(
                f"`probe` needs labels: expected data of `(x, y)` with {expected}. "
                "Received: data without `y`"
            )
        if not hasattr(y, "shape") or not self._task.fits(y, shapes):
            hint, shape = "", tuple(getattr(y, "shape", ()))
            if "string" in str(getattr(y, "dtype", "")):
                hint = " Number strings by `np.unique(y, return_inverse=True)`."
            elif isinstance(self._task, Classification) and shape[1:] == (self.classes,):
                hint = " Of one-hot labels, pass `np.argmax(y, axis=-1)`."
            elif isinstance(self._task, Classification) and len(shape) == 1:
                hint = " Cast them: `y.astype('int32')`."
            raise ValueError(
                f"`probe` needs {expected}.{hint} "
                f"Received: {keras.tree.map_structure(lambda v: (v.shape, v.dtype), y)}"
            )

    def learn(self, features: Any, y: Any, sample_weight: Any = None) -> None:
        """Take one gradient step on `features`, without gradient to `features`.

        Args:
            features: the representation of a batch.
            y: its labels.
            sample_weight: optional weights of the rows, 0 for those to leave out.
        """
        features = ops.stop_gradient(features)
        targets, weights, fault = self._read(y, sample_weight)

        def compute() -> tuple[Any, tuple]:
            outputs = self(features, training=True, sample_weight=sample_weight)
            values, of_class = self._task.loss(targets, outputs)
            # labels out of range make the loss NaN, but no weights
            loss = mean_over_replicas(values, weights * of_class) + fault
            return self.optimizer.scale_loss(loss), (outputs, values, of_class)

        (outputs, values, of_class), gradients = differentiate(compute, self.trainable_variables)
        self.optimizer.apply(
            skip_overflow_everywhere(self.optimizer, gradients), self.trainable_variables
        )
        self.loss_tracker.update_state(values + fault, sample_weight=weights * of_class)
        self._measure(targets, outputs, weights)

    def evaluate(self, features: Any, y: Any, sample_weight: Any = None) -> None:
        """Record loss and metrics without learning; arguments as those of `learn`."""
        targets, weights, fault = self._read(y, sample_weight)
        outputs = self(features, training=False)
        values, of_class = self._task.loss(targets, outputs)
        self.loss_tracker.update_state(values + fault, sample_weight=weights * of_class)
        self._measure(targets, outputs, weights)

    def _read(self, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        targets, weights, fault = self._task.read(y)
        if sample_weight is not None:
            sample_weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1,))
            weights = weights * ops.reshape(sample_weight, (-1,) + (1,) * (len(weights.shape) - 1))
        return targets, weights, fault

    def _measure(self, targets: Any, outputs: Any, weights: Any) -> None:
        for metric in self.label_metrics:
            labels, predictions, of_rows = self._task.for_metrics(targets, outputs, weights)
            metric.update_state(labels, predictions, sample_weight=of_rows)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        metrics = [
            one if isinstance(one, str) else keras.saving.serialize_keras_object(one)
            for one in self._metric_arguments
        ]
        return {
            **super().get_config(),
            "classes": self.classes,
            "by_position": self.by_position,
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "task": self.task,
            "class_weight": self._task.class_weight,
            "metrics": metrics,
        }

    @classmethod
    def from_config(cls, config: dict) -> "OnlineProbe":
        """Return the probe that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config))
