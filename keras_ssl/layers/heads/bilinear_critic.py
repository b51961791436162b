"""The critic of Deep Graph Infomax: a bilinear form."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ssl")
class BilinearCritic(keras.layers.Layer):
    """Critic of local and global features: one bilinear form.

    A critic tells whether a local feature h and a global feature s come from one example. Here
    the score is T(h, s) = hᵀ W s, the logit of the probability that they do.

    It returns the two factors h and W s of its scores, as `layers.EncodeAndDotProduct` does: W s
    is computed once an example, not once a pair.

    Args:
        kernel_initializer: initializer of W.
        kernel_regularizer: regularizer of W.
        kernel_constraint: constraint of W.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        local_features: float tensor, a feature for each place or node.
        global_features: float tensor, a feature for each example.

    Input shape:
        `(..., channels)` and `(..., features)`.

    Output shape:
        Both `(..., channels)`, with the leading axes of the inputs.

    Raises:
        ValueError: if a number of features is not fixed.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import BilinearCritic
    >>> nodes, graphs = np.ones((4, 10, 8)), np.ones((4, 16))
    >>> local, of_whole = BilinearCritic()(nodes, graphs)
    >>> local.shape, of_whole.shape
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
        """Make W."""
        widths = (local_features_shape[-1], global_features_shape[-1])
        if None in widths:
            raise ValueError(
                "The numbers of local and global features must be fixed. Received: shapes "
                f"{tuple(local_features_shape)} and {tuple(global_features_shape)}"
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
