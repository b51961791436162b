"""Masks of padded nodes."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_ssl")
class NodeMask(keras.layers.Layer):
    """Attach a mask to node features, for batches of graphs padded to the same number of nodes.

    The features do not change. The mask is passed on, as Keras masks are, to layers that use one:
    pooling leaves padding out, and batch normalization leaves it out of its statistics.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, mask]`.

    Input shape:
        `x` is `(batch, nodes, features)`, `mask` is `(batch, nodes)`: `True` for nodes, `False`
        for padding.

    Output shape:
        That of `x`.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers.graph import NodeMask
    >>> x = np.array([[[1.0], [3.0], [0.0]]])
    >>> nodes = NodeMask()([x, np.array([[True, True, False]])])
    >>> float(keras.layers.GlobalAveragePooling1D()(nodes)[0, 0])
    2.0
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    def get_config(self) -> dict:
        return super().get_config()

    def call(self, inputs: Any) -> Any:
        return keras.ops.multiply(inputs[0], 1)  # the mask is set on a new tensor

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask that was given as an input."""
        return keras.ops.cast(inputs[1], "bool")

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])
