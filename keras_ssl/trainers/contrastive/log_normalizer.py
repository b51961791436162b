"""How large scores are on average: estimated once, at the start of training."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute


class LogNormalizer(keras.layers.Layer):
    """The logarithm of the mean of exp(score) over the first batch it is trained on.

    Once estimated it stays, and is saved. Until then each batch gets its own. The mean is over
    the scores of all replicas, and no gradient flows through it.

    Call arguments:
        scores: floating-point tensor of any shape.
        training: whether to keep the estimate.

    Output shape:
        A scalar.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.trainers.contrastive.log_normalizer import LogNormalizer
    >>> normalizer = LogNormalizer()
    >>> round(float(normalizer(np.log([[1.0, 3.0]]), training=True)), 3)  # log 2
    0.693
    >>> round(float(normalizer(np.zeros((1, 2)), training=True)), 3)
    0.693
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape: Any) -> None:
        """Make room for the estimate."""
        # all replicas assign the same: no second exchange
        settings = {"trainable": False, "aggregation": "only_first_replica"}
        self.estimate = self.add_weight(name="estimate", initializer="zeros", **settings)
        self.is_known = self.add_weight(
            name="is_known", dtype="int32", initializer="zeros", **settings
        )

    def call(self, scores: Any, training: bool | None = None) -> Any:
        count = ops.cast(ops.size(scores), "float32")
        of_replica = ops.logsumexp(ops.stop_gradient(scores)) - ops.log(count)
        of_all = ops.logsumexp(distribute.all_gather(of_replica[None]))
        of_all = of_all - ops.log(float(distribute.replica_count()))
        estimate = ops.where(ops.cast(self.is_known, "bool"), self.estimate, of_all)
        if training:
            self.estimate.assign(estimate)
            self.is_known.assign(1)
        return estimate

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return ()
