"""Masks of padded nodes."""

from typing import Any

import keras

from keras_ssl._keras_internals import mask_of


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
        self.built = True  # without weights, and called only where there is a mask

    def get_config(self) -> dict:
        return super().get_config()

    def call(self, inputs: Any) -> Any:
        return keras.ops.multiply(inputs[0], 1)  # the mask is set on a new tensor

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask that was given as an input."""
        return keras.ops.cast(inputs[1], "bool")

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return tuple(input_shape[0])


def with_mask(x: Any, mask: Any, layer: keras.layers.Layer) -> Any:
    """Return features with a mask, `None` for no mask, in the dtype in which `layer` takes them.

    Keras would cast them to that dtype when it calls the layer, and lose the mask.
    """
    if mask is None:
        return x
    if isinstance(layer, keras.Sequential):
        # its layers pass a mask on, of which Keras knows nothing and warns
        layer.supports_masking = True
    return NodeMask(dtype=layer.dtype_policy, name="node_mask")([x, mask])


def without_mask(x: Any) -> Any:
    """Return features without their mask, by which Keras' losses would divide."""
    return keras.ops.multiply(x, 1)


def keep_mask(x: Any, layer: keras.layers.Layer) -> Any:
    """Return features in the dtype in which `layer` takes them, with the mask that they have."""
    if not hasattr(x, "dtype") or mask_of(x) is None:  # also of a pair of sources and targets
        return x
    dtype = keras.backend.standardize_dtype(x.dtype)
    is_cast = keras.backend.is_float_dtype(dtype) and dtype != layer.input_dtype
    return with_mask(x, mask_of(x), layer) if is_cast else x
