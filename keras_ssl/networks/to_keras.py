"""Encoders in Keras' own layers, whose files need no `import keras_ssl`."""

import keras

from keras_ssl._copying import functional_class
from keras_ssl._keras_internals import all_layers
from keras_ssl.layers import PredictionHead, ProjectionHead, SyncBatchNormalization
from keras_ssl.networks.vision import VisionTransformer


def to_keras(model: keras.Model) -> keras.Model:
    """Convert a functional or sequential model into one of Keras' own layers, with equal outputs.

    The file of an encoder with layers of this package is only loaded after `import keras_ssl`. The
    converted model needs Keras alone. These layers are replaced, everywhere in the model:

    - `layers.SyncBatchNormalization` by `keras.layers.BatchNormalization`, which on several
      replicas normalizes by the statistics of each,
    - `layers.ProjectionHead` and `layers.PredictionHead` by a `keras.Sequential` of their steps.

    All other layers are made from their config. The weights are copied, the names are those of the
    model. The model itself is not changed; the new one is not compiled.

    Args:
        model: a built functional or sequential `keras.Model`, such as `trainer.encoder`.

    Returns:
        `keras.Model` with the same inputs, outputs and weights.

    Raises:
        TypeError: if `model` is not a functional or sequential model; of a trainer, pass the
            encoder.
        ValueError: if `model` is not built, or has a layer of this package to which no layers of
            Keras are equal, such as those on graphs. `model.export` writes these without Python
            code.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> encoder = networks.small_resnet((28, 28, 1), width=4)
    >>> plain = networks.to_keras(encoder)
    >>> type(plain.get_layer("stem_norm")).__name__
    'BatchNormalization'
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1))
    >>> bool(np.allclose(plain(images), encoder(images), atol=1e-5))
    True
    """
    if isinstance(model, VisionTransformer):
        raise TypeError(
            "No layers of Keras are equal to those of a `VisionTransformer`. Use `model.export`, "
            "which writes a model without Python code, or `convert.to_hugging_face`. "
            f"Received: {model!r}"
        )
    if not isinstance(model, (keras.Sequential, functional_class())):
        raise TypeError(
            "`model` must be a functional or sequential keras.Model, such as `trainer.encoder`. "
            f"Received: {model!r} of type {type(model).__name__}"
        )
    if not model.built:
        raise ValueError(
            "`model` must be built, so that it has weights to copy. Call it on a batch first. "
            f"Received: {model!r}"
        )
    pairs = []

    def convert(layer: keras.layers.Layer) -> keras.layers.Layer:
        new = _converted(layer)
        pairs.append((layer, new))
        return new

    plain = keras.models.clone_model(model, clone_function=convert, recursive=True)
    if not plain.built:
        plain.build(model.input_shape)
    left = [one for one in all_layers(plain) if type(one).__module__.startswith("keras_ssl")]
    if left:
        names = sorted({type(one).__name__ for one in left})
        raise ValueError(
            "No layers of Keras are equal to some of this package in `model`. Use `model.export`, "
            f"which writes a model without Python code. Received: a model with {names}"
        )
    for old, new in pairs:
        new.set_weights(old.get_weights())
    for new in all_layers(plain):
        if hasattr(new, "finalize_state"):  # `Normalization` computes with what it derives
            new.finalize_state()
    return plain


def _converted(layer: keras.layers.Layer) -> keras.layers.Layer:
    """The same layer without weights, of Keras' own kind if it is of this package."""
    if isinstance(layer, SyncBatchNormalization):
        return keras.layers.BatchNormalization.from_config(layer.get_config())
    if isinstance(layer, PredictionHead):
        return _sequence(layer.head, layer.name)
    if isinstance(layer, ProjectionHead):
        return _sequence(layer, layer.name)
    return type(layer).from_config(layer.get_config())


def _sequence(head: ProjectionHead, name: str) -> keras.Sequential:
    """The steps of a head one after the other."""
    steps = [_converted(step) for step in head.steps]
    if head.l2_normalize:
        steps.append(keras.layers.UnitNormalization(dtype=head.dtype_policy, name="l2_normalize"))
    return keras.Sequential(steps, name=name)
