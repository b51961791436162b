"""Tiny denoisers for tests."""

import keras
import numpy as np

from tests.trainers.small import images


def dense_denoiser(dim, width=32, depth=2, classes=None):
    """A perceptron of the noisy vector, the time and, with classes, the label."""
    inputs = {"x": keras.Input((dim,), name="x"), "time": keras.Input((), name="time")}
    time = keras.layers.Reshape((1,))(keras.layers.Rescaling(1 / 1000)(inputs["time"]))
    parts = [inputs["x"], time]
    if classes:
        inputs["label"] = keras.Input((), dtype="int32", name="label")
        parts.append(keras.layers.Embedding(classes + 1, 8, name="labels")(inputs["label"]))
    h = keras.layers.Concatenate()(parts)
    for number in range(depth):
        h = keras.layers.Dense(width, "silu", name=f"hidden_{number + 1}")(h)
    return keras.Model(inputs, keras.layers.Dense(dim, name="last")(h))


def image_denoiser(size=8, token_dim=None, condition_channels=0):
    """Two convolutions, with the mean token added and a condition image concatenated."""
    x = keras.Input((size, size, 1), name="x")
    inputs = {"x": x, "time": keras.Input((), name="time")}
    time = keras.layers.Reshape((1, 1, 1))(keras.layers.Rescaling(1 / 1000)(inputs["time"]))
    if condition_channels:
        inputs["image"] = keras.Input((size, size, condition_channels), name="image")
        x = keras.layers.Concatenate()([x, inputs["image"]])
    h = keras.layers.Add()([keras.layers.Conv2D(8, 3, padding="same")(x), time])
    if token_dim:
        inputs["tokens"] = keras.Input((None, token_dim), name="tokens")
        mean = keras.layers.GlobalAveragePooling1D()(inputs["tokens"])
        h = keras.layers.Add()([h, keras.layers.Reshape((1, 1, 8))(keras.layers.Dense(8)(mean))])
    h = keras.layers.Activation("silu", name="middle")(h)
    return keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same", name="last")(h))


def small_images(size=8):
    """Return the images at 8x8, as floats from 0 to 255, `(256, 8, 8, 1)`."""
    cut = images()[0][:, 2:26, 2:26].astype("float32")
    factor = 24 // size
    return cut.reshape(256, size, factor, size, factor, 1).mean(axis=(2, 4))


def small_vectors():
    """Return the same images flat, `(256, 64)`."""
    return np.ascontiguousarray(small_images().reshape(256, 64))
