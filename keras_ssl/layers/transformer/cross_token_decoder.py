"""Decoder of masked tokens that reads known tokens and leaves them as they are."""

from typing import Any

import keras

from keras_ssl.layers.transformer._cross_block import CrossBlock
from keras_ssl.layers.transformer.blocks import make_norm, normalize
from keras_ssl.layers.transformer.token_decoder import TokenDecoder


@keras.saving.register_keras_serializable(package="keras_ssl")
class CrossTokenDecoder(TokenDecoder):
    """Transformer of cross-attention that predicts tokens of a grid from other tokens of it.

    Like `keras_ssl.layers.TokenDecoder`, but mask tokens attend to the known tokens alone, not to
    each other, and the known tokens stay what they are. So the cost of a block is proportional to
    the number of places to predict, and a prediction does not depend on what else is predicted. It
    is the predictor of CAPI.

    Known tokens are projected to `width`, get the positions of their places and are normalised. A
    learned mask token with the position of a place goes through the blocks

        z ← z + Attention(Norm(z), known);  z ← z + FeedForward(Norm(z))

    and is normalised. The paper turns queries and keys by rotary positions instead of adding
    positions.

    Args:
        width: number of features of a token inside.
        depth: number of blocks.
        num_heads: number of heads of the attention.
        output_dim: number of features of the outputs, which are then projected; `width` by
            default, without a projection.
        epsilon: small number added to variances.
        seed: integer seed of the initial mask token.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens that are known. There may be more of them than `indices`: those before the
            places of a grid, such as a class token, come first and get no position.
        indices: int32, the place of each token in the grid, in the order of rows. `None` if there
            is a token for every place.
        targets: int32, the places to predict.
        grid: `(rows, columns)`.
        training: has no effect.

    Input shape:
        `(batch, extra + tokens, features)`, `(batch, tokens)` and `(batch, targets)`.

    Output shape:
        `(batch, targets, width)`, or `output_dim` features.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive, `num_heads` is no divisor of `width`, there are
            fewer tokens than indices, or there are no targets.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> decoder = layers.CrossTokenDecoder(width=32, depth=1, num_heads=2)
    >>> indices, targets = np.array([[0, 3]]), np.array([[1, 2]])
    >>> decoder(np.ones((1, 2, 64), "float32"), indices, targets, grid=(2, 2)).shape
    TensorShape([1, 2, 32])

    Reference:
        - [Darcet et al., Cluster and Predict Latent Patches for Improved Masked Image
          Modeling](https://arxiv.org/abs/2502.08769)
    """

    def __init__(
        self,
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        output_dim: int | None = None,
        epsilon: float = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(width, depth, num_heads, output_dim, epsilon=epsilon, seed=seed, **kwargs)
        self.known_norm = make_norm(
            "layer", epsilon=epsilon, name="known_norm", dtype=self.dtype_policy
        )

    def _make_block(self, number: int) -> keras.layers.Layer:
        return CrossBlock(
            self.num_heads,
            self.width // self.num_heads,
            4 * self.width,
            "gelu",
            self.epsilon,
            dropout_rate=0.0,
            attention_dropout_rate=0.0,
            name=f"block_{number + 1}",
            dtype=self.dtype_policy,
        )

    def build(
        self, inputs_shape: tuple, indices_shape: tuple | None = None, targets_shape: Any = None
    ) -> None:
        self.known_norm.build((inputs_shape[0], None, self.width))
        super().build(inputs_shape, indices_shape, targets_shape)

    def _build_block(self, block: keras.layers.Layer, tokens: tuple) -> None:
        block.build(tokens, tokens)

    def _run_blocks(self, x: Any, first: int, training: bool | None) -> Any:
        if first >= 0:
            raise ValueError(
                "`targets` must be the places to predict: this decoder returns no known tokens. "
                "Received: targets=None"
            )
        known, z = normalize(self.known_norm, x[:, :first], training), x[:, first:]
        for block in self.blocks:
            z = block(z, known, training=training)
        return z

    def get_config(self) -> dict:
        config = super().get_config()
        del config["drop_path_rate"], config["remat"]
        return config
