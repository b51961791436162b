"""Layers that were quantized after they were built, in files of models that build them anew.

Keras writes the quantization of a layer into that layer's config. A layer that another one makes
in its constructor or in `build`, such as a dense layer of a projector, has no config in the file.
"""

from typing import Any

import keras

from keras_ssl._keras_internals import all_layers


def read_quantization(layer: keras.layers.Layer) -> list[dict[str, Any] | None]:
    """Return the quantization of each layer within that can be quantized; `None` if none is."""
    found = [_read(one) for one in _quantizable(layer)]
    return found if any(found) else []


def quantize_again(layer: keras.layers.Layer, saved: list[dict[str, Any] | None]) -> None:
    """Quantize the layers that `read_quantization` found quantized and that are not yet."""
    if not saved:
        return
    for one, quantization in zip(_quantizable(layer), saved, strict=True):
        if quantization is None or _read(one) is not None:
            continue
        config = keras.saving.deserialize_keras_object(quantization["config"])
        one.quantize(quantization["mode"], config=config)


def _quantizable(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    base = keras.layers.Layer.quantize
    return [
        one
        for one in all_layers(layer)
        if not isinstance(one, keras.Model) and type(one).quantize is not base and one.built
    ]


def _read(layer: keras.layers.Layer) -> dict[str, Any] | None:
    mode = getattr(layer.dtype_policy, "quantization_mode", None)
    if mode is None:
        return None
    config = getattr(layer, "quantization_config", None)
    return {"mode": mode, "config": keras.saving.serialize_keras_object(config)}
