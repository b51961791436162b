"""Attention layers of Keras, from and to which `MultiHeadAttention` is converted."""

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    from keras_ssl.layers.attention.multi_head_attention import MultiHeadAttention

# the projections, in this order
PARTS = ("query", "key", "value", "output")


def read_keras_layer(layer: Any) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    """Return the arguments and the projections of a layer that computes what Keras' does.

    Args:
        layer: a built `keras.layers.MultiHeadAttention` or `keras.layers.GroupQueryAttention` on
            sequences.
    """
    _check_keras_layer(layer)
    arrays = [_matrix(layer, name) for name in PARTS]
    is_grouped = isinstance(layer, keras.layers.GroupQueryAttention)
    config = layer.get_config()
    arguments = {
        "num_heads": config["num_query_heads" if is_grouped else "num_heads"],
        "key_dim": config["head_dim" if is_grouped else "key_dim"],
        "value_dim": None if is_grouped else config["value_dim"],
        "num_key_value_heads": config["num_key_value_heads"] if is_grouped else None,
        "output_dim": arrays[3][0].shape[1],
        "dropout_rate": config["dropout"],
        "use_bias": config["use_bias"],
        "dtype": layer.dtype_policy,
    }
    return arguments, arrays


def keras_layer_like(layer: "MultiHeadAttention", **kwargs: Any) -> keras.layers.Layer:
    """Return Keras' own layer that computes the same, with a copy of the weights.

    Args:
        layer: the layer to copy.
        **kwargs: further arguments of the new layer.
    """
    extras = {
        name: getattr(layer, name)
        for name in ("query_key_norm", "rotary", "position_bias")
        if getattr(layer, name) is not None
    }
    if not layer.built or extras:
        raise ValueError(
            "Keras' own layer has neither normalised queries and keys nor positions, and only "
            f"a built layer has weights. Received: built={layer.built}, {extras}"
        )
    (heads, head_width), (groups, _), (_, value_width) = layer._heads
    arrays = layer.get_projections()
    # where only some projections have biases, those that Keras adds to the others are 0
    use_bias = layer.use_bias or layer.use_output_bias
    shared = {"dropout": layer.dropout_rate, "use_bias": use_bias, "seed": layer.seed}
    shared |= {"dtype": layer.dtype_policy, **kwargs}
    width = arrays[0][0].shape[0]
    if groups == heads:
        made = keras.layers.MultiHeadAttention(
            heads, head_width, value_width, output_shape=layer.output_dim, **shared
        )
    elif value_width == head_width and arrays[3][0].shape[1] == width:
        made = keras.layers.GroupQueryAttention(head_width, heads, groups, **shared)
    else:
        raise ValueError(
            "`keras.layers.GroupQueryAttention` has values as wide as keys and an output as "
            f"wide as its query. Received: value_dim={value_width}, key_dim={head_width}, "
            f"output_dim={layer.output_dim}"
        )
    shapes = [(None, None, kernel.shape[0]) for kernel, _ in arrays[:3]]
    made.build(shapes[0], shapes[2], shapes[1])
    for name, (kernel, bias) in zip(PARTS, arrays, strict=True):
        dense = getattr(made, f"_{name}_dense")
        dense.kernel.assign(np.reshape(kernel, dense.kernel.shape))
        if bias is not None:
            dense.bias.assign(np.reshape(bias, dense.bias.shape))
    return made


def _check_keras_layer(layer: Any) -> None:
    """Raise a `ValueError` unless this is an attention layer of Keras that can be copied."""
    kinds = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)
    if not isinstance(layer, kinds) or not layer.built:
        raise ValueError(
            "`layer` must be a built `keras.layers.MultiHeadAttention` or "
            f"`keras.layers.GroupQueryAttention`. Received: {layer}"
        )
    config = layer.get_config()
    for name in ("use_gate", "sliding_window"):
        if config.get(name):
            raise ValueError(f"`layer` must not have `{name}`. Received: {config[name]}")
    if len(layer._query_dense.kernel.shape) != 3 or len(layer._output_dense.kernel.shape) != 3:
        raise ValueError(f"`layer` must work on sequences. Received: {layer}")


def _matrix(layer: keras.layers.Layer, name: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return kernel and bias of a projection of Keras' layer, as a matrix and a vector."""
    dense = getattr(layer, f"_{name}_dense")
    kernel = ops.convert_to_numpy(dense.kernel)
    rows = math.prod(kernel.shape[:2]) if name == "output" else kernel.shape[0]
    bias = None if dense.bias is None else ops.convert_to_numpy(dense.bias).ravel()
    return kernel.reshape(rows, -1), bias
