"""A linear classifier that watches a representation while it is learned."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.distribute.replicas import skip_overflow_everywhere
from keras_ssl.layers import SyncBatchNormalization


@keras.saving.register_keras_serializable(package="keras_ssl")
class OnlineProbe(keras.layers.Layer):
    """A linear classifier on the representation, trained along with it and without touching it.

    The features are standardised by batch statistics and go through one dense layer. Gradients
    stop at the features, and the probe has an optimizer of its own, so training with a probe and
    training without it give the same encoder. Its accuracy tells during training what a linear
    probe would tell after it; it is a signal to watch, not the figure to report.

    Args:
        classes: how many classes the labels have. Labels are integers from 0 to `classes - 1`.
        optimizer: the probe's own Keras optimizer, or its name. `None` means `Adam(1e-3)`.
        by_position: whether labels are those of positions in an example, such as the nodes of its
            graph: features of shape `(batch, positions, features)`, labels `(batch, positions)`.
        **kwargs: `name`, `dtype` of the layer.

    Call arguments:
        features: tensor of rank 2 or more; what follows the batch axis is flattened, or
            `by_position` all axes but the last become one.
        training: whether to standardise by this batch's statistics.

    Input shape:
        `(batch, ...)`, numeric.

    Output shape:
        `(batch, classes)`: logits. By position `(batch * positions, classes)`.

    Raises:
        ValueError: if `classes` is not an integer of at least 2.

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
        """Return `(batch, classes)`, by position `(batch * positions, classes)`."""
        rows = input_shape[:-1] if self.by_position else input_shape[:1]
        return (None if None in rows else math.prod(rows), self.classes)

    def check_labels(self, y: Any) -> None:
        """Raise unless `y` is a batch of integer labels.

        Raises:
            ValueError: if there are no labels, or they are not integers of rank 1.
        """
        if y is None:
            raise ValueError(
                "`probe` needs labels: expected data of `(x, y)` with integer labels. "
                "Received: data without `y`"
            )
        # the nodes of a single graph are its first axis
        ranks = (1, 2) if self.by_position else (1,)
        if not hasattr(y, "shape") or len(y.shape) not in ranks or "int" not in str(y.dtype):
            raise ValueError(
                f"`probe` needs integer labels of shape (batch{', positions' * self.by_position}). "
                f"Received: {keras.tree.map_structure(lambda v: (v.shape, v.dtype), y)}"
            )

    def learn(self, features: Any, y: Any) -> None:
        """Take one gradient step on `features`, which stay as they are."""
        features, y = ops.stop_gradient(features), ops.reshape(y, (-1,))
        with tf.GradientTape() as tape:
            logits = self(features, training=True)
            loss = self._cross_entropy(y, logits)
            scaled = self.optimizer.scale_loss(loss / distribute.replica_count())
        gradients = tape.gradient(scaled, self.trainable_variables)
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
        """Make the probe that `config` describes."""
        return cls(
            **{**config, "optimizer": keras.saving.deserialize_keras_object(config["optimizer"])}
        )
