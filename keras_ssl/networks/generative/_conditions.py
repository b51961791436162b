"""The inputs of networks that denoise, and what time and label become."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers import TimeEmbedding


def denoiser_inputs(
    input_shape: tuple,
    num_classes: int | None,
    token_dim: int | None,
    tokens_mask: bool,
    condition_channels: int,
) -> dict[str, Any]:
    """Return the inputs of a denoiser, one tensor for each that its arguments ask for."""
    num_classes = checks.integer("num_classes", num_classes, minimum=1, optional=True)
    token_dim = checks.integer("token_dim", token_dim, minimum=1, optional=True)
    condition_channels = checks.integer("condition_channels", condition_channels, minimum=0)
    if tokens_mask and token_dim is None:
        raise ValueError("`tokens_mask` needs tokens. Received: tokens_mask=True, token_dim=None")
    inputs = {
        "x": keras.Input(input_shape, name="x"),
        "time": keras.Input((), name="time", dtype="float32"),
    }
    if num_classes is not None:
        inputs["label"] = keras.Input((), name="label", dtype="int32")
    if token_dim is not None:
        inputs["tokens"] = keras.Input((None, token_dim), name="tokens")
    if tokens_mask:
        inputs["tokens_mask"] = keras.Input((None,), name="tokens_mask", dtype="bool")
    if condition_channels:
        shape = (*input_shape[:2], condition_channels)
        inputs["image"] = keras.Input(shape, name="image")
    return inputs


def time_and_label(
    inputs: dict[str, Any], width: int, frequencies: int, num_classes: int | None, stddev: float
) -> Any:
    """Return the activated sum of the embeddings of time and label, `(batch, width)`."""
    features = TimeEmbedding(width, frequencies, name="time_embedding")(inputs["time"])
    if num_classes is not None:
        labels = keras.layers.Embedding(
            num_classes + 1,
            width,
            keras.initializers.RandomNormal(stddev=stddev),
            name="label_embedding",
        )(inputs["label"])
        features = keras.layers.Add(name="time_and_label")([features, labels])
    return keras.layers.Activation("silu", name="time_activation")(features)
