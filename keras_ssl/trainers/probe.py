"""Online probe: a linear classifier that measures the representation during training."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.distribute.replicas import skip_overflow_everywhere
from keras_ssl.layers import SyncBatchNormalization
from keras_ssl.trainers.engine.gradients import differentiate


@keras.saving.register_keras_serializable(package="keras_ssl")
class OnlineProbe(keras.layers.Layer):
    """Linear classifier on the representation, trained alongside it without affecting it.

    The features are standardised by batch statistics and go through one dense layer. No gradient
    flows into the features, and the probe has its own optimizer, so the encoder is the same with
    and without a probe. The accuracy estimates during training what a linear probe would measure
    afterwards. Report the latter: `keras_ssl.evaluate.linear_probe`.

    Args:
        classes: number of classes. Labels are integers from 0 to `classes - 1`.
        optimizer: Keras optimizer of the probe, or its name. `None` means `Adam(1e-3)`.
        by_position: whether there is a label per position of an example, such as per node of a
            graph: features of shape `(batch, positions, features)`, labels `(batch, positions)`.
        **kwargs: `name`, `dtype` of the layer.

    Call arguments:
        features: tensor of rank 2 or more. All axes after the first are flattened; with
            `by_position`, all axes before the last.
        training: whether to standardise by the statistics of this batch.

    Input shape:
        `(batch, ...)`, numeric.

    Output shape:
        `(batch, classes)`, logits. With `by_position`, `(batch * positions, classes)`.

    Raises:
        TypeError: if `classes` is not an integer.
        ValueError: if `classes` is less than 2.

    Example:

    >>> import keras, keras_ssl
    >>> probe = keras_ssl.trainers.OnlineProbe(classes=10)
    >>> probe(keras.ops.ones((4, 16))).shape
    TensorShape([4, 10])
    """

    def __init__(
        self,
        classes: int,
        optimizer: keras.optimizers.Optimizer | str | None = None,
        by_position: bool = False,
        **kwargs: Any,
    ):
        checks.tensorflow_backend()
        super().__init__(**kwargs)
        self.classes = checks.integer("classes", classes, minimum=2)
        self.by_position = bool(by_position)
        self.optimizer = keras.optimizers.get("adam" if optimizer is None else optimizer)
        self.standardize = SyncBatchNormalization(center=False, scale=False)
        self.logits = keras.layers.Dense(classes, dtype="float32")
        self.loss_tracker = keras.metrics.Mean(name="probe_loss")
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="probe_accuracy")

    def build(self, input_shape: tuple) -> None:
        """Create the weights of the classifier and the state of its optimizer."""
        flat = (None, input_shape[-1] if self.by_position else math.prod(input_shape[1:]))
        self.standardize.build(flat)
        self.logits.build(flat)
        self.optimizer.build(self.trainable_variables)

    def call(self, features: Any, training: bool = False) -> Any:
        """Return the logits of the classes."""
        width = features.shape[-1] if self.by_position else math.prod(features.shape[1:])
        features = ops.reshape(features, (-1, width))
        return self.logits(self.standardize(features, training=training))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return `(batch, classes)`, with `by_position` `(batch * positions, classes)`."""
        rows = input_shape[:-1] if self.by_position else input_shape[:1]
        return (None if None in rows else math.prod(rows), self.classes)

    def check_labels(self, y: Any) -> None:
        """Raise a `ValueError` unless `y` is a batch of integer labels."""
        if y is None:
            raise ValueError(
                "`probe` needs labels: expected data of `(x, y)` with integer labels. "
                "Received: data without `y`"
            )
        # for a single graph, the nodes are the first axis
        ranks = (1, 2) if self.by_position else (1,)
        if not hasattr(y, "shape") or len(y.shape) not in ranks or "int" not in str(y.dtype):
            raise ValueError(
                f"`probe` needs integer labels of shape (batch{', positions' * self.by_position}). "
                f"Received: {keras.tree.map_structure(lambda v: (v.shape, v.dtype), y)}"
            )

    def learn(self, features: Any, y: Any) -> None:
        """Take one gradient step on `features`, without gradient to `features`."""
        features, y = ops.stop_gradient(features), ops.reshape(y, (-1,))

        def compute() -> tuple[Any, tuple]:
            logits = self(features, training=True)
            loss = self._cross_entropy(y, logits)
            scaled = self.optimizer.scale_loss(loss / distribute.replica_count())
            return scaled, (logits, loss)

        (logits, loss), gradients = differentiate(compute, self.trainable_variables)
        self.optimizer.apply(
            skip_overflow_everywhere(self.optimizer, gradients), self.trainable_variables
        )
        self._record(y, logits, loss)

    def evaluate(self, features: Any, y: Any) -> None:
        """Record loss and accuracy without learning."""
        logits, y = self(features, training=False), ops.reshape(y, (-1,))
        self._record(y, logits, self._cross_entropy(y, logits))

    def _cross_entropy(self, y: Any, logits: Any) -> Any:
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))

    def _record(self, y: Any, logits: Any, loss: Any) -> None:
        self.loss_tracker.update_state(loss, sample_weight=ops.shape(y)[0])
        self.accuracy.update_state(y, logits)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "classes": self.classes,
            "by_position": self.by_position,
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
        }

    @classmethod
    def from_config(cls, config: dict) -> "OnlineProbe":
        """Return the probe that `config` describes."""
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        return cls(**{**config, "optimizer": optimizer})
