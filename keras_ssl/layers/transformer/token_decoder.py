"""Decoder of masked tokens: what stood where an encoder saw nothing."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.attention import SinusoidalPositionalEncoding
from keras_ssl.layers.transformer.blocks import TransformerEncoderBlock, make_norm, normalize


@keras.saving.register_keras_serializable(package="keras_ssl")
class TokenDecoder(keras.layers.Layer):
    """Transformer that predicts tokens of a grid from other tokens of the same grid.

    Known tokens are projected to `width` and get the positions of their places. They are followed
    by a learned mask token, with its position, for each place to predict. After the blocks, the
    outputs of the mask tokens are normalised. This is the decoder of MAE and the predictor of
    I-JEPA, whose trainers add the linear map to the targets. Without places to predict, there is no
    mask token, and the outputs are those of the known tokens, as in the decoder of a tokenizer.

    Args:
        width: number of features of a token inside.
        depth: number of blocks.
        num_heads: number of heads of the attention.
        output_dim: number of features of the outputs, which are then projected; `width` by
            default, without a projection.
        drop_path_rate: rate of stochastic depth in the last block; it increases linearly from 0 in
            the first.
        epsilon: small number added to variances.
        remat: whether each block is computed again in the backward pass instead of being kept, as
            of `layers.TransformerEncoderBlock`.
        seed: integer seed of stochastic depth and of the initial mask token.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens that are known. There may be more of them than `indices`: those before the
            places of a grid, such as a class token, come first and get no position.
        indices: int32, the place of each token in the grid, in the order of rows. `None` if there
            is a token for every place.
        targets: int32, the places to predict. `None` for those of the tokens that are known.
        grid: `(rows, columns)`.
        training: whether to apply stochastic depth.

    Input shape:
        `(batch, extra + tokens, features)`, `(batch, tokens)` and `(batch, targets)`.

    Output shape:
        `(batch, targets, width)`, or `output_dim` features; `(batch, tokens, width)` without
        targets.

    Raises:
        TypeError: if a number is not an integer.
        ValueError: if a number is not positive, `num_heads` is no divisor of `width`, there are
            fewer tokens than indices, or targets are asked for of a decoder built without them.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> decoder = layers.TokenDecoder(width=32, depth=1, num_heads=2)
    >>> indices, targets = np.array([[0, 3]]), np.array([[1, 2]])
    >>> decoder(np.ones((1, 2, 64), "float32"), indices, targets, grid=(2, 2)).shape
    TensorShape([1, 2, 32])

    Reference:
        - [He et al., Masked Autoencoders Are Scalable Vision
          Learners](https://arxiv.org/abs/2111.06377)
        - [Assran et al., Self-Supervised Learning from Images with a Joint-Embedding Predictive
          Architecture](https://arxiv.org/abs/2301.08243)
    """

    def __init__(
        self,
        width: int = 512,
        depth: int = 8,
        num_heads: int = 16,
        output_dim: int | None = None,
        drop_path_rate: float = 0.0,
        epsilon: float = 1e-6,
        remat: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.width = checks.integer("width", width, minimum=1)
        self.depth = checks.integer("depth", depth, minimum=1)
        self.num_heads = checks.integer("num_heads", num_heads, minimum=1)
        self.output_dim = checks.integer("output_dim", output_dim, minimum=1, optional=True)
        if width % num_heads:
            raise ValueError(
                "`num_heads` must be a divisor of `width`. Received: "
                f"num_heads={num_heads}, width={width}"
            )
        self.drop_path_rate = checks.below_one("drop_path_rate", drop_path_rate)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.remat = bool(remat)
        self.seed = checks.integer("seed", seed, optional=True)
        # here and not in `build`, since it may draw a seed
        self._initializer = keras.initializers.TruncatedNormal(stddev=0.02, seed=self.seed)
        like = {"dtype": self.dtype_policy}
        self.enter = keras.layers.Dense(width, name="enter", **like)
        self.blocks = [self._make_block(number) for number in range(self.depth)]
        self.norm = make_norm("layer", epsilon=epsilon, name="norm", **like)
        self.leave = None
        if output_dim is not None:
            self.leave = keras.layers.Dense(output_dim, name="leave", **like)

    def _make_block(self, number: int) -> keras.layers.Layer:
        return TransformerEncoderBlock(
            self.num_heads,
            4 * self.width,
            epsilon=self.epsilon,
            drop_path_rate=self.drop_path_rate * number / max(self.depth - 1, 1),
            remat=self.remat,
            seed=None if self.seed is None else self.seed + 10 * number,
            name=f"block_{number + 1}",
            dtype=self.dtype_policy,
        )

    def build(
        self, inputs_shape: tuple, indices_shape: tuple | None = None, targets_shape: Any = None
    ) -> None:
        tokens = (inputs_shape[0], None, self.width)
        self.mask_token = None
        if targets_shape is not None:
            self.mask_token = self.add_weight(
                name="mask_token",
                shape=(self.width,),
                initializer=self._initializer,
            )
        self.enter.build(tuple(inputs_shape))
        for block in self.blocks:
            self._build_block(block, tokens)
        for layer in (self.norm, self.leave):
            if layer is not None:
                layer.build(tokens)

    def _build_block(self, block: keras.layers.Layer, tokens: tuple) -> None:
        block.build(tokens)

    def call(
        self,
        inputs: Any,
        indices: Any = None,
        targets: Any = None,
        *,
        grid: tuple[int, int],
        training: bool | None = None,
    ) -> Any:
        batch = ops.shape(inputs)[0]
        if indices is None:
            places = ops.arange(grid[0] * grid[1], dtype="int32")
            indices = ops.broadcast_to(places, (batch, grid[0] * grid[1]))
        extra = inputs.shape[1] - indices.shape[1]
        if extra < 0:
            raise ValueError(
                "`inputs` must hold a token for each of `indices`. Received: shapes "
                f"{tuple(inputs.shape)} and {tuple(indices.shape)}"
            )
        x, places, first = self.enter(inputs), indices, extra
        if targets is not None:
            if self.mask_token is None:
                raise ValueError(
                    "`targets` need a mask token, which this decoder lacks, since it was built "
                    f"without them. Received: targets of shape {tuple(targets.shape)}"
                )
            mask_tokens = ops.broadcast_to(
                ops.cast(self.mask_token, x.dtype), (batch, targets.shape[1], self.width)
            )
            x = ops.concatenate([x, mask_tokens], axis=1)
            places = ops.concatenate([indices, targets], axis=1)
            first = -targets.shape[1]
        x = x + self._positions(places, grid, extra, x.dtype)
        x = normalize(self.norm, self._run_blocks(x, first, training), training)
        return x if self.leave is None else self.leave(x)

    def _run_blocks(self, x: Any, first: int, training: bool | None) -> Any:
        """Return what the blocks make of the tokens from `first` on."""
        for block in self.blocks:
            x = block(x, training=training)
        return x[:, first:]

    def _positions(self, places: Any, grid: tuple[int, int], extra: int, dtype: Any) -> Any:
        """Return the positions of places, behind zeros for the extra tokens."""
        encoding = SinusoidalPositionalEncoding(grid, extra_tokens=1, dtype=dtype)
        table = encoding(ops.zeros((1, 1 + grid[0] * grid[1], self.width), dtype))[0]
        places = ops.pad(ops.cast(places, "int32") + 1, ((0, 0), (extra, 0)))
        return ops.take(table, places, axis=0)

    def compute_output_spec(
        self, inputs: Any, indices: Any = None, targets: Any = None, **arguments: Any
    ) -> keras.KerasTensor:
        known = arguments["grid"] if indices is None else indices.shape[1:2]
        tokens = math.prod(known) if targets is None else targets.shape[1]
        shape = (inputs.shape[0], tokens, self.output_dim or self.width)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "width": self.width,
            "depth": self.depth,
            "num_heads": self.num_heads,
            "output_dim": self.output_dim,
            "drop_path_rate": self.drop_path_rate,
            "epsilon": self.epsilon,
            "remat": self.remat,
            "seed": self.seed,
        }
