"""Copies of an encoder: with its weights, or with fresh ones."""

import keras

from keras_ssl._keras_internals import all_layers
from keras_ssl.evaluate.seeded import seeded


def clone_encoder(encoder: keras.layers.Layer) -> keras.layers.Layer:
    """A copy of an encoder, weights included, that shares no variable with it.

    Raises:
        TypeError: if `encoder` is not a Keras model or layer.
        ValueError: if it cannot be rebuilt from its config.
    """
    clone = _rebuild(encoder)
    clone.set_weights(encoder.get_weights())
    for layer in all_layers(clone):
        # holds tensors made from its weights
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return clone


def random_encoder(encoder: keras.layers.Layer, seed: int = 0) -> keras.layers.Layer:
    """An encoder of the same architecture with fresh weights: what learning has to beat.

    Every weight is drawn anew by its initializer, and batch normalisation starts again from mean 0
    and variance 1. Statistics that `keras.layers.Normalization` was adapted to are kept, for they
    are part of the input's scale and not learned by training. `encoder` is not changed.

    Args:
        encoder: a `keras.Model` or a Keras layer, with a config it can be rebuilt from.
        seed: of the fresh weights. An initializer with a seed of its own keeps to that one.

    Returns:
        An object of the class of `encoder`.

    Raises:
        TypeError: if `encoder` is not a Keras model or layer.
        ValueError: if it cannot be rebuilt from its config.

    Example:

    >>> import keras
    >>> from keras_ssl import evaluate
    >>> encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> fresh = evaluate.random_encoder(encoder, seed=1)
    >>> fresh.count_params() == encoder.count_params()
    True
    """
    with seeded(seed):
        fresh = _rebuild(encoder)
    for layer, source in zip(all_layers(fresh), all_layers(encoder), strict=True):
        if isinstance(layer, keras.layers.Normalization):
            layer.set_weights(source.get_weights())
            layer.finalize_state()
    return fresh


def _rebuild(encoder: keras.layers.Layer) -> keras.layers.Layer:
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(
            "`encoder` must be a keras.Model or a Keras layer: only these can be rebuilt. "
            f"Received: {encoder!r}"
        )
    try:
        if isinstance(encoder, keras.Model):
            clone = keras.models.clone_model(encoder, recursive=True)
        else:
            clone = type(encoder).from_config(encoder.get_config())
        if encoder.built and not clone.built:
            clone.build_from_config(encoder.get_build_config())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            "`encoder` must have a `get_config` that it can be rebuilt from. "
            f"Received: {encoder!r}, which failed with: {error}"
        ) from error
    shapes = [[tuple(weight.shape) for weight in layer.weights] for layer in (encoder, clone)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`encoder` must make all its weights when it is rebuilt from its config and build "
            f"config. Received: {encoder!r} with {len(shapes[0])} weights, rebuilt with "
            f"{len(shapes[1])}"
        )
    return clone
