"""The critic of Deep InfoMax that scores a pair by the dot product of two embeddings."""

from typing import Any

import keras

from keras_ssl.layers.heads.projection_head import ProjectionHead


@keras.saving.register_keras_serializable(package="keras_ssl")
class EncodeAndDotProduct(keras.layers.Layer):
    """Critic of local and global features: embed both, score a pair by the dot product.

    A critic tells whether a local feature u and a global feature v come from one example. Here
    the score is T(u, v) = φ(u) · ψ(v), with

        φ(u) = LayerNorm(MLP(u) + A u),   ψ(v) = MLP'(v) + B v

    The perceptrons have one hidden layer and act on each place alone, as 1x1 convolutions do.
    The shortcuts A, B start as the identity. This is "encode-and-dot-product" as the authors' code
    has it.

    A critic returns the two factors of its scores, and a loss such as
    `keras_ssl.losses.JensenShannonMI` makes all pairs of them.

    Args:
        units: positive integer: width of the hidden layers and of both embeddings.
        normalization: what follows the hidden layers, as in `ProjectionHead`.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        local_features: float tensor, a feature for each place.
        global_features: float tensor, a feature for each example.
        training: whether batch normalisation runs in training mode.

    Input shape:
        `(batch, places, channels)` and `(batch, features)`.

    Output shape:
        `(batch, places, units)` and `(batch, units)`.

    Raises:
        ValueError: if `units` is no positive integer.
        TypeError: if the normalisation is neither a bool nor a Keras layer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import EncodeAndDotProduct
    >>> local, of_whole = EncodeAndDotProduct(32)(np.ones((4, 49, 8)), np.ones((4, 16)))
    >>> local.shape, of_whole.shape
    (TensorShape([4, 49, 32]), TensorShape([4, 32]))

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670), appendix A
    """

    def __init__(
        self,
        units: int = 2048,
        normalization: bool | keras.layers.Layer = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        widths = (units, units)  # checked by the heads
        inner = {"normalization": normalization, "dtype": self.dtype_policy}
        self.local_head = ProjectionHead(widths, **inner, name="local_head")
        self.global_head = ProjectionHead(widths, **inner, name="global_head")
        copies = {"kernel_initializer": "identity", "dtype": self.dtype_policy}
        self.local_shortcut = keras.layers.Dense(
            units, use_bias=False, **copies, name="local_shortcut"
        )
        self.global_shortcut = keras.layers.Dense(units, **copies, name="global_shortcut")
        self.layer_normalization = keras.layers.LayerNormalization(
            dtype=self.dtype_policy, name="layer_normalization"
        )
        self.units = units

    def build(self, local_features_shape: Any, global_features_shape: Any) -> None:
        """Make the perceptrons and shortcuts."""
        for one in (self.local_head, self.local_shortcut):
            one.build(local_features_shape)
        for one in (self.global_head, self.global_shortcut):
            one.build(global_features_shape)
        self.layer_normalization.build((*local_features_shape[:-1], self.units))

    def call(self, local_features: Any, global_features: Any, training: bool | None = None) -> Any:
        local = self.local_head(local_features, training=training)
        local = self.layer_normalization(local + self.local_shortcut(local_features))
        whole = self.global_head(global_features, training=training)
        return local, whole + self.global_shortcut(global_features)

    def compute_output_shape(self, local_features_shape: Any, global_features_shape: Any) -> Any:
        return (*local_features_shape[:-1], self.units), (global_features_shape[0], self.units)

    def get_config(self) -> dict[str, Any]:
        normalization = self.local_head.get_config()["normalization"]
        return {**super().get_config(), "units": self.units, "normalization": normalization}
