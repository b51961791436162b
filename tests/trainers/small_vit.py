"""A small vision transformer for images of several sizes: an encoder over tokens."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class PatchTokens(keras.layers.Layer):
    """Patches of an image as tokens; a learned grid of positions is resized to theirs."""

    def __init__(self, patch_size, width, largest, **kwargs):
        super().__init__(**kwargs)
        self.patch_size, self.width, self.largest = patch_size, width, largest
        self.embed = keras.layers.Conv2D(width, patch_size, strides=patch_size)

    def build(self, input_shape):
        self.embed.build(input_shape)
        side = self.largest // self.patch_size
        self.positions = self.add_weight(
            shape=(1, side, side, self.width), initializer="random_normal", name="positions"
        )

    def call(self, images):
        x = self.embed(images)
        batch, rows, columns, _ = ops.shape(x)
        positions = self.positions
        if (rows, columns) != tuple(positions.shape[1:3]):
            positions = ops.image.resize(positions, (rows, columns))
        return ops.reshape(x + ops.cast(positions, x.dtype), (batch, -1, self.width))

    def compute_output_spec(self, images):
        return keras.KerasTensor((images.shape[0], None, self.width), dtype=self.compute_dtype)

    def get_config(self):
        arguments = {name: getattr(self, name) for name in ("patch_size", "width", "largest")}
        return {**super().get_config(), **arguments}


def small_vit(patch_size, width, depth, heads, largest):
    """Make the encoder: pre-norm blocks and the mean of the tokens."""
    inputs = keras.Input((None, None, 1))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = PatchTokens(patch_size, width, largest)(x)
    for _ in range(depth):
        h = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.MultiHeadAttention(heads, width // heads)(h, h)
        h = keras.layers.Dense(2 * width, "gelu")(keras.layers.LayerNormalization()(x))
        x = x + keras.layers.Dense(width)(h)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(x))
    return keras.Model(inputs, x)
