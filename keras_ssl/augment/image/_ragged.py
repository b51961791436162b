"""Batches of images of several sizes, as TensorFlow's ragged tensors."""

from typing import Any

import keras
from keras import ops


def is_ragged(x: Any) -> bool:
    """Whether a batch is a `tf.RaggedTensor`."""
    return type(x).__name__ == "RaggedTensor"


def transform_ragged(layer: Any, images: Any, training: bool, seed: Any) -> Any:
    """Transform a ragged batch image by image, with the random numbers of a dense batch.

    Args:
        layer: layer with `uniforms_per_image`, `parameters`, `apply` and `at_inference` that
            returns images of one size.
        images: `tf.RaggedTensor` of shape `(batch, None, None, channels)`.
        training: whether to augment.
        seed: generator to draw from, by default the layer's own.
    """
    import tensorflow as tf

    signature = keras.tree.map_structure(
        lambda shape: tf.TensorSpec(_one_size(layer, shape), "float32"),
        _as_shapes(layer.compute_output_shape(tuple(images.shape))),
    )
    rows = images.nrows(out_type="int32")
    uniforms = layer.uniform((rows, layer.uniforms_per_image if training else 0), seed)

    def transform_one(image_and_uniforms: tuple) -> Any:
        image, uniforms = image_and_uniforms
        image = (image.to_tensor() if is_ragged(image) else image)[None]
        if training:
            shape = tuple(ops.shape(image)[1:])
            views = layer.apply(image, layer.parameters(uniforms[None], shape))
        else:
            views = layer.at_inference(image)
        return keras.tree.map_structure(lambda view: view[0], views)

    return tf.map_fn(transform_one, (images, uniforms), fn_output_signature=signature)


def _as_shapes(shape: tuple) -> Any:
    """Shapes as leaves of a structure: `tf.TensorShape`s, which trees do not take apart."""
    import tensorflow as tf

    if isinstance(shape[0], tuple | list):
        return tuple(tf.TensorShape(one) for one in shape)
    return tf.TensorShape(shape)


def _one_size(layer: Any, shape: Any) -> Any:
    """The shape of one image behind a layer; raise if it depends on the image."""
    if not shape[1:].is_fully_defined():
        raise ValueError(
            f"Layer '{layer.name}' takes images of several sizes (a ragged batch) if it returns "
            "images of one size: let it begin with a `RandomResizedCrop` or "
            f"`keras.layers.Resizing`. Received: views of shape {tuple(shape)}"
        )
    return shape[1:]
