"""Critics, which score pairs of a local and a global feature."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.layers.heads.projection_head import ProjectionHead, check_widths


@keras.saving.register_keras_serializable(package="keras_ssl")
class BilinearCritic(keras.layers.Layer):
    """Bilinear critic of local and global features, the discriminator of Deep Graph Infomax.

    A critic scores whether a local feature h and a global feature s belong to the same example.
    The score of this one, the logit of that probability, is T(h, s) = hᵀ W s.

    Like every critic it returns two factors, here h and W s, whose products are the scores. A loss
    such as `keras_ssl.losses.JensenShannonMI` forms all pairs, so W s is computed once per example
    and not once per pair.

    Args:
        kernel_initializer: initializer of W.
        kernel_regularizer: regularizer of W.
        kernel_constraint: constraint of W.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        local_features: float tensor, one feature per position or node.
        global_features: float tensor, one feature per example.

    Input shape:
        `(..., channels)` and `(..., features)`.

    Output shape:
        Both `(..., channels)`, with the leading axes of the inputs.

    Raises:
        ValueError: if a number of features is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import BilinearCritic
    >>> nodes, graphs = np.ones((4, 10, 8)), np.ones((4, 16))
    >>> local, projected = BilinearCritic()(nodes, graphs)
    >>> local.shape, projected.shape
    (TensorShape([4, 10, 8]), TensorShape([4, 8]))

    Reference:
        - [Veličković et al., Deep Graph Infomax](https://arxiv.org/abs/1809.10341), equation 5
    """

    def __init__(
        self,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)

    def build(self, local_features_shape: Any, global_features_shape: Any) -> None:
        widths = (local_features_shape[-1], global_features_shape[-1])
        if None in widths:
            raise ValueError(
                "`local_features` and `global_features` must have a known last axis. Received: "
                f"shapes {tuple(local_features_shape)} and {tuple(global_features_shape)}"
            )
        self.kernel = self.add_weight(
            shape=widths,
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )

    def call(self, local_features: Any, global_features: Any) -> Any:
        return local_features, ops.matmul(global_features, ops.transpose(self.kernel))

    def compute_output_shape(self, local_features_shape: Any, global_features_shape: Any) -> Any:
        return local_features_shape, (*global_features_shape[:-1], local_features_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class ConcatAndConvolve(keras.layers.Layer):
    """Critic that applies an MLP to each pair of a local and a global feature.

    It is the "concat-and-convolve" critic of Deep InfoMax. The score of a pair is

        T(u, v) = w · relu(W_2 relu(W_1 [u, v] + b_1) + b_2) + b

    which the paper computes by 1x1 convolutions of a feature map with v concatenated at every
    position. With a single position it is the paper's discriminator of a whole map.

    Like every critic it returns two factors whose products are the scores: here the scores of
    this replica's positions with the global features of all replicas, and rows of the identity.

    W_1 [u, v] is computed as W_u u + W_v v, once per feature, but there is an activation per pair
    and position: memory and time grow with batch² · positions · units. Use `EncodeAndDotProduct`
    for large batches.

    Args:
        widths: sequence of positive integers: units of the hidden layers.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        local_features: float tensor, one feature per position.
        global_features: float tensor, one feature per example.

    Input shape:
        `(batch, positions, channels)` and `(batch, features)`.

    Output shape:
        `(batch, positions, total)` and `(batch, total)`, where `total` is the global batch size.

    Raises:
        TypeError: if a width is not an integer.
        ValueError: if `widths` is not a non-empty sequence of positive integers.

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

    def __init__(self, widths: Sequence[int] = (512, 512), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.widths = check_widths(widths)
        self.head = ProjectionHead(
            (*self.widths[1:], 1), normalization=False, dtype=self.dtype_policy, name="head"
        )
        first = {"units": self.widths[0], "dtype": self.dtype_policy}
        self.of_local = keras.layers.Dense(**first, name="of_local")
        self.of_global = keras.layers.Dense(**first, use_bias=False, name="of_global")

    def build(self, local_features_shape: Any, global_features_shape: Any) -> None:
        self.of_local.build(local_features_shape)
        self.of_global.build(global_features_shape)
        self.head.build((*local_features_shape[:-1], None, self.widths[0]))

    def call(self, local_features: Any, global_features: Any, training: bool | None = None) -> Any:
        # TensorFlow cannot gather bfloat16 between CPUs; the dense layer casts back
        dtype = keras.backend.result_type(global_features.dtype, "float32")
        candidates = distribute.all_gather(ops.cast(global_features, dtype))
        hidden = self.of_local(local_features)[:, :, None, :] + self.of_global(candidates)
        scores = ops.squeeze(self.head(ops.relu(hidden)), axis=-1)
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


@keras.saving.register_keras_serializable(package="keras_ssl")
class EncodeAndDotProduct(keras.layers.Layer):
    """Critic that embeds local and global features and scores a pair by its dot product.

    It is the "encode-and-dot-product" critic of Deep InfoMax, as in the authors' code. The score
    of a pair is T(u, v) = φ(u) · ψ(v), with

        φ(u) = LayerNorm(MLP(u) + A u),   ψ(v) = MLP'(v) + B v

    The MLPs have one hidden layer and act on each position separately, like 1x1 convolutions. The
    shortcuts A and B start as the identity.

    Like every critic it returns the two factors of the scores, of which a loss such as
    `keras_ssl.losses.JensenShannonMI` forms all pairs.

    Args:
        units: positive integer: width of the hidden layers and of both embeddings.
        normalization: normalization after the hidden layers, as in `ProjectionHead`.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        local_features: float tensor, one feature per position.
        global_features: float tensor, one feature per example.
        training: whether batch normalization runs in training mode.

    Input shape:
        `(batch, positions, channels)` and `(batch, features)`.

    Output shape:
        `(batch, positions, units)` and `(batch, units)`.

    Raises:
        TypeError: if `units` is not an integer, or `normalization` is neither a bool nor a layer.
        ValueError: if `units` is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import EncodeAndDotProduct
    >>> local, embedded = EncodeAndDotProduct(32)(np.ones((4, 49, 8)), np.ones((4, 16)))
    >>> local.shape, embedded.shape
    (TensorShape([4, 49, 32]), TensorShape([4, 32]))

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670), appendix A
    """

    def __init__(
        self, units: int = 2048, normalization: bool | keras.layers.Layer = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        widths = (units, units)  # checked by the heads
        settings = {"normalization": normalization, "dtype": self.dtype_policy}
        self.local_head = ProjectionHead(widths, **settings, name="local_head")
        self.global_head = ProjectionHead(widths, **settings, name="global_head")
        identity = {"kernel_initializer": "identity", "dtype": self.dtype_policy}
        self.local_shortcut = keras.layers.Dense(
            units, use_bias=False, **identity, name="local_shortcut"
        )
        self.global_shortcut = keras.layers.Dense(units, **identity, name="global_shortcut")
        self.layer_normalization = keras.layers.LayerNormalization(
            dtype=self.dtype_policy, name="layer_normalization"
        )
        self.units = units

    def build(self, local_features_shape: Any, global_features_shape: Any) -> None:
        self.local_head.build(local_features_shape)
        self.local_shortcut.build(local_features_shape)
        self.global_head.build(global_features_shape)
        self.global_shortcut.build(global_features_shape)
        self.layer_normalization.build((*local_features_shape[:-1], self.units))

    def call(self, local_features: Any, global_features: Any, training: bool | None = None) -> Any:
        local = self.local_head(local_features, training=training)
        local = self.layer_normalization(local + self.local_shortcut(local_features))
        embedded = self.global_head(global_features, training=training)
        return local, embedded + self.global_shortcut(global_features)

    def compute_output_shape(self, local_features_shape: Any, global_features_shape: Any) -> Any:
        return (*local_features_shape[:-1], self.units), (global_features_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        normalization = self.local_head.get_config()["normalization"]
        return {**super().get_config(), "units": self.units, "normalization": normalization}
