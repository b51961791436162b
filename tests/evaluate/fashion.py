"""Real images and small encoders for the tests of evaluation and callbacks."""

from functools import cache

import keras
import numpy as np

from keras_ssl.data import load_images


@cache
def fashion(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images of 28x28 and labels, such as `fashion("train[:2000]")`."""
    images = load_images("fashion_mnist_mini", split)
    x, y = next(iter(images.batch(int(images.cardinality()))))
    return x.numpy(), y.numpy()


def convolutional_encoder(seed: int = 0) -> keras.Model:
    """Make an encoder with 32 features, batch normalization and dropout."""
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.8),
            keras.layers.ReLU(),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.GlobalAveragePooling2D(),
        ],
        name="encoder",
    )
