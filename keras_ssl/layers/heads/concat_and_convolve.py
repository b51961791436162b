"""The critic of Deep InfoMax that scores a pair by a perceptron of both features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.layers.heads.projection_head import ProjectionHead, checked_widths


@keras.saving.register_keras_serializable(package="keras_ssl")
class ConcatAndConvolve(keras.layers.Layer):
    """Critic of local and global features: a perceptron of the two, joined at every place.

    A critic tells whether a local feature u and a global feature v come from one example. Here
    the score is that of a perceptron of [u, v],

        T(u, v) = w · relu(W_2 relu(W_1 [u, v] + b_1) + b_2) + b

    as 1x1 convolutions of a map to which v is added at every place compute it: "concat-and-
    convolve" of the paper. With a single place it is the paper's discriminator of a whole map.

    As every critic it returns two factors whose products are its scores: here the scores
    themselves of this replica's places with the global features of all replicas, and rows
    of the identity.

    W_1 [u, v] is computed as W_u u + W_v v, once for each feature. Still there is an activation
    for each pair and place: memory and time grow with batch² · places · units. Take
    `EncodeAndDotProduct` for large batches.

    Args:
        widths: sequence of positive integers: units of the hidden layers.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        local_features: float tensor, a feature for each place.
        global_features: float tensor, a feature for each example.

    Input shape:
        `(batch, places, channels)` and `(batch, features)`.

    Output shape:
        `(batch, places, all)` and `(batch, all)`, with `all` the batch of all replicas.

    Raises:
        ValueError: if `widths` is empty or holds anything but positive integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import ConcatAndConvolve
    >>> scores, identity = ConcatAndConvolve((32, 32))(np.ones((4, 49, 8)), np.ones((4, 16)))
    >>> scores.shape, identity.shape
    (TensorShape([4, 49, 4]), TensorShape([4, 4]))

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670), appendix A
    """

    def __init__(self, widths: tuple[int, ...] = (512, 512), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.widths = checked_widths(widths)
        self.head = ProjectionHead(
            (*self.widths[1:], 1), normalization=False, dtype=self.dtype_policy, name="head"
        )
        first = {"units": self.widths[0], "dtype": self.dtype_policy}
        self.of_local = keras.layers.Dense(**first, name="of_local")
        self.of_global = keras.layers.Dense(**first, use_bias=False, name="of_global")

    def build(self, local_features_shape: Any, global_features_shape: Any) -> None:
        """Make the dense layers."""
        self.of_local.build(local_features_shape)
        self.of_global.build(global_features_shape)
        self.head.build((*local_features_shape[:-1], None, self.widths[0]))

    def call(self, local_features: Any, global_features: Any, training: bool | None = None) -> Any:
        # TensorFlow's exchange between CPUs does not take bfloat16; the dense layer casts back
        wide = keras.backend.result_type(global_features.dtype, "float32")
        candidates = distribute.all_gather(ops.cast(global_features, wide))
        joined = self.of_local(local_features)[:, :, None, :] + self.of_global(candidates)
        scores = ops.squeeze(self.head(ops.relu(joined)), axis=-1)
        count = ops.shape(global_features)[0]
        own = ops.arange(count, dtype="int32") + distribute.replica_index() * count
        identity = ops.arange(ops.shape(candidates)[0], dtype="int32") == own[:, None]
        return scores, ops.cast(identity, scores.dtype)

    def compute_output_shape(self, local_features_shape: Any, global_features_shape: Any) -> Any:
        batch = global_features_shape[0]
        total = None if batch is None else batch * distribute.replica_count()
        return (*local_features_shape[:-1], total), (batch, total)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "widths": list(self.widths)}
