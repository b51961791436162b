"""Tell nodes from padding."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_ssl")
class NodeMask(keras.layers.Layer):
    """Attach a mask to features of nodes: in a batch, graphs are padded to one number of nodes.

    The features stay what they are. The mask travels on, as Keras masks do, to whatever takes one:
    poolings leave padding out, batch normalisation its statistics.

    Args:
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, mask]`.

    Input shape:
        `x` is `(batch, nodes, features)`, `mask` is `(batch, nodes)`: `True` where a row is a node.

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
        return keras.ops.multiply(inputs[0], 1)  # a tensor of its own, to hold the mask

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask that came as an input."""
        return keras.ops.cast(inputs[1], "bool")

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])
