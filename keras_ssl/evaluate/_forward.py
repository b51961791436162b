"""Encoders as functions from batches to feature vectors."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl._tensorflow import is_sparse_tensor
from keras_ssl.evaluate._batches import Batches
from keras_ssl.evaluate._compiled import compiled_with
from keras_ssl.ops.pixels import pixels_as_floats

if keras.backend.backend() != "jax":
    import tensorflow as tf


class Forward:
    """A function from batches to float32 feature vectors that traces its encoder only once.

    A callback that evaluates the same encoder again and again keeps one and passes it as `encoder`.

    Args:
        encoder: a Keras layer, or a function of a batch.
        prepare: function that maps a batch to what a layer gets; `None` changes nothing.
    """

    def __init__(
        self, encoder: keras.layers.Layer | Callable, prepare: Callable[[Any], Any] | None = None
    ):
        checks.training_backend()
        self.encoder = self._encoder = encoder
        self._prepare = prepare
        self.shape: tuple | None = None  # of one example's features, before they were flattened
        self.may_lag = False  # whether to warn of moving statistics that lag behind
        self._is_layer = isinstance(encoder, keras.layers.Layer)
        # a plain function may leave TensorFlow, so it is not traced
        self._eager = not self._is_layer or getattr(encoder, "run_eagerly", False)
        self._graphs = {}
        self._with_jax = None
        if keras.backend.backend() == "jax" and not self._eager:
            self._with_jax = compiled_with(encoder, self._features)

    def __call__(self, x: Any) -> Any:
        """Return the features of a batch."""
        x = keras.tree.map_structure(_as_tensor, x)
        if self._eager:
            return self._features(x)
        if self._with_jax is not None:
            if not self._encoder.built:  # a compiled function makes no variables
                self._features(x)
            return self._with_jax(x)
        specs = keras.tree.map_structure(_any_batch_size, x)
        key = str(specs)
        if key not in self._graphs:
            self._graphs[key] = tf.function(self._features, input_signature=[specs])
        return self._graphs[key](x)

    def _features(self, x: Any) -> Any:
        if self._is_layer:
            x = x if self._prepare is None else self._prepare(x)
            features = self._encoder(as_input(x), training=False)
        else:
            features = self._encoder(x)
        vectors = as_vectors(features)
        self.shape = tuple(features.shape[1:])
        return vectors


def _as_tensor(x: Any) -> Any:
    if not is_sparse_tensor(x):
        return ops.convert_to_tensor(x)
    if keras.backend.backend() == "jax":
        raise ValueError(
            "Encoders take no sparse tensors on the JAX backend. Pass dense features and an edge "
            'list, as `data.single_graph(graph, adjacency="edges")` does, or set '
            "KERAS_BACKEND=tensorflow before Keras is imported. "
            f"Received: a tf.SparseTensor of shape {tuple(x.shape)}"
        )
    return x


def _any_batch_size(x: Any) -> Any:
    spec = tf.SparseTensorSpec if is_sparse_tensor(x) else tf.TensorSpec
    return spec([None, *x.shape[1:]], x.dtype)


def as_input(x: Any) -> Any:
    """Convert arrays to tensors, those of images to float32 without rescaling."""
    return pixels_as_floats(keras.tree.map_structure(_as_tensor, x))


def ensure_built(encoder: Any, batches: Batches) -> None:
    """Build a Keras encoder with the first batch if it is not built."""
    if isinstance(encoder, keras.layers.Layer) and not encoder.built:
        encoder(as_input(batches.first()[0]), training=False)


def forward_function(encoder: keras.layers.Layer | Callable) -> Forward:
    """Return `encoder` as a `Forward`; raise a `TypeError` if it is not callable."""
    if isinstance(encoder, Forward):
        return encoder
    if not callable(encoder) or isinstance(encoder, type):
        raise TypeError(
            "`encoder` must be a keras.Model, a Keras layer or a function of a batch. "
            f"Received: {encoder!r}"
        )
    forward = Forward(encoder)
    forward.may_lag = isinstance(encoder, keras.layers.Layer)
    return forward


def as_vectors(features: Any) -> Any:
    """Flatten a tensor to float32 vectors, one per example; raise if it is not one tensor."""
    if isinstance(features, (dict, list, tuple)):
        raise TypeError(
            "`encoder` must return one tensor of features; wrap it in a keras.Model that returns "
            f"one of its outputs. Received: a {type(features).__name__} of {len(features)}"
        )
    features = ops.cast(features, "float32")
    if len(features.shape) == 0:
        raise ValueError("`encoder` must return shape (batch, features). Received: a scalar")
    return ops.reshape(features, (ops.shape(features)[0], -1))


def check_features(features: Any, name: str, dtype: str = "float32") -> np.ndarray:
    """Return features as a finite, non-empty matrix, or raise a `ValueError`."""
    features = np.asarray(features, dtype=dtype)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"`{name}` must have shape (examples, dimensions) and hold at least one example. "
            f"Received: shape {features.shape}"
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"`{name}` must be finite. Received: NaN or infinity in "
            f"{int((~np.isfinite(features)).any(axis=1).sum())} of {len(features)} rows"
        )
    return features
