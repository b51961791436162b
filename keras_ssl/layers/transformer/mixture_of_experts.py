"""Feed-forward networks of which each token uses a mixture, or only a few."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer._gelu import get_activation, serialize_activation
from keras_ssl.ops import at_least_float32


@keras.saving.register_keras_serializable(package="keras_ssl")
class MixtureOfExperts(keras.layers.Layer):
    """Feed-forward part of a transformer that is a mixture of experts, weighted for each token.

    Experts are feed-forward networks of one hidden layer; a router R gives each a probability:

        p = softmax(R x),    y = Σ_e w_e(x) E_e(x),    E_e(x) = activation(x W_e + b_e) V_e + c_e

    - `top_k=None`: a dense mixture, w = p. All experts are computed for all tokens.
    - `top_k=k`: only the k most probable experts of a token. Their weights are p, scaled to the sum
      1 if k > 1. An expert takes at most `ceil(capacity_factor * k * tokens / num_experts)` tokens
      of an example, so that shapes are fixed: first choices before second ones, and earlier tokens
      before later ones. A choice beyond that counts 0: of such a token the residual connection of
      the block remains. In training the layer adds the loss

          load_balance * num_experts * Σ_e f_e P_e

      with f_e the share of choices that fall on expert e and P_e its mean probability, over the
      batch. It is least, `load_balance`, if all experts are used equally.

    It is a part of the blocks of this package:

        layers.TransformerEncoderBlock(4, 64, feed_forward=layers.MixtureOfExperts(8, 64, top_k=2))

    Args:
        num_experts: number of experts, at least 2.
        hidden_dim: width of an expert's hidden layer.
        activation: activation function of the hidden layer, as of `FeedForward`.
        top_k: experts of a token, or `None` for all.
        capacity_factor: how many times the tokens of an even load an expert takes. With
            `num_experts / top_k` no choice is ever left out.
        load_balance: weight of the loss; 0 for none.
        use_bias: whether experts have biases.
        kernel_initializer: initializer of the kernels. Each expert uses a copy.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`. The router's softmax
            is computed in float32 whatever the policy.

    Call arguments:
        inputs: tokens.
        mask: booleans `(batch, ...)`, `False` for padding, which no expert takes and which does not
            count in the loss.
        training: whether to add the loss.

    Input shape:
        `(batch, ..., width)`; `(batch, width)` counts as the tokens of one example.

    Output shape:
        That of the input.

    Raises:
        TypeError: if a number has the wrong type.
        ValueError: if a number is out of range, `top_k` above `num_experts`, or the width unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> experts = layers.MixtureOfExperts(num_experts=4, hidden_dim=32, top_k=2)
    >>> experts(np.ones((2, 10, 16), "float32"), training=True).shape
    TensorShape([2, 10, 16])
    >>> len(experts.losses)
    1

    Reference:
        - [Jacobs et al., Adaptive Mixtures of Local
          Experts](https://www.cs.toronto.edu/~fritz/absps/jjnh91.pdf): the dense mixture
        - [Shazeer et al., Outrageously Large Neural Networks](https://arxiv.org/abs/1701.06538)
        - [Lepikhin et al., GShard](https://arxiv.org/abs/2006.16668): capacity
        - [Fedus et al., Switch Transformers](https://arxiv.org/abs/2101.03961), equations 4 to 6
    """

    def __init__(
        self,
        num_experts: int,
        hidden_dim: int,
        activation: Any = "gelu",
        *,
        top_k: int | None = None,
        capacity_factor: float = 1.25,
        load_balance: float = 0.01,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_experts = checks.integer("num_experts", num_experts, minimum=2)
        self.hidden_dim = checks.integer("hidden_dim", hidden_dim, minimum=1)
        self.activation = get_activation(activation)
        self.top_k = checks.integer("top_k", top_k, minimum=1, optional=True)
        if self.top_k is not None and self.top_k > self.num_experts:
            raise ValueError(
                f"`top_k` must be at most `num_experts`. Received: top_k={top_k}, "
                f"num_experts={num_experts}"
            )
        self.capacity_factor = checks.positive("capacity_factor", capacity_factor)
        self.load_balance = checks.number("load_balance", load_balance, minimum=0)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple) -> None:
        width = input_shape[-1]
        if len(input_shape) < 2 or width is None:
            raise ValueError(
                "`inputs` must have shape (batch, ..., width) with a known width. "
                f"Received: shape {tuple(input_shape)}"
            )
        self.router = keras.layers.Dense(
            self.num_experts,
            use_bias=False,
            kernel_initializer=initializer_copy(self.kernel_initializer, 1),
            dtype=self.dtype_policy,
            name="router",
        )
        self.router.build((None, width))
        count, shapes = self.num_experts, ((width, self.hidden_dim), (self.hidden_dim, width))
        self.hidden_kernel, self.output_kernel = (
            self.add_weight(
                name=name,
                shape=(count, *shape),
                initializer=self._initializer_of_experts(shape, 2 + part * count),
            )
            for part, (name, shape) in enumerate(
                zip(("hidden_kernel", "output_kernel"), shapes, strict=True)
            )
        )
        self.hidden_bias = self.output_bias = None
        if self.use_bias:
            self.hidden_bias = self.add_weight(
                name="hidden_bias", shape=(count, self.hidden_dim), initializer="zeros"
            )
            self.output_bias = self.add_weight(
                name="output_bias", shape=(count, width), initializer="zeros"
            )

    def _initializer_of_experts(self, shape: tuple, first: int) -> Any:
        def initialize(_: tuple, dtype: Any = None) -> Any:
            # each as if it were alone, since its scale depends on its shape
            numbers = range(first, first + self.num_experts)
            copies = [initializer_copy(self.kernel_initializer, number) for number in numbers]
            return ops.stack([one(shape, dtype) for one in copies])

        return initialize

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        shape = ops.shape(inputs)
        groups = 1 if len(shape) == 2 else shape[0]
        x = ops.reshape(inputs, (groups, -1, shape[-1]))
        probabilities = ops.softmax(at_least_float32(self.router(x)), axis=-1)
        if mask is not None:
            mask = ops.cast(ops.reshape(mask, (groups, -1)), probabilities.dtype)
        if self.top_k is None:
            y = self._mix_all(x, probabilities)
        else:
            y = self._mix_chosen(x, probabilities, mask, training)
        return ops.reshape(y, shape)

    def _mix_all(self, x: Any, probabilities: Any) -> Any:
        h = ops.einsum("gtd,edh->gteh", x, self.hidden_kernel)
        if self.hidden_bias is not None:
            h = h + self.hidden_bias
        weights = ops.cast(probabilities, x.dtype)
        h = self.activation(h) * weights[..., None]
        y = ops.einsum("gteh,ehd->gtd", h, self.output_kernel)
        return y if self.output_bias is None else y + ops.matmul(weights, self.output_bias)

    def _mix_chosen(self, x: Any, probabilities: Any, mask: Any, training: bool | None) -> Any:
        weights, experts = ops.top_k(probabilities, self.top_k)
        if self.top_k > 1:
            weights = weights / ops.sum(weights, axis=-1, keepdims=True)
        chosen = ops.one_hot(experts, self.num_experts, dtype=probabilities.dtype)
        if mask is not None:
            chosen = chosen * mask[..., None, None]
        if training and self.load_balance:
            self.add_loss(self._imbalance(probabilities, chosen, mask))
        # a slot of an expert for each choice; those beyond the capacity have none
        slots = self._places(chosen)[..., None] == ops.arange(self._capacity(x), dtype="int32")
        slots = ops.cast(slots, probabilities.dtype)
        sent = ops.cast(ops.einsum("gtke,gtkc->gtec", chosen, slots), x.dtype)
        returned = ops.einsum("gtke,gtkc->gtec", chosen * weights[..., None], slots)
        h = ops.einsum("gecd,edh->gech", ops.einsum("gtec,gtd->gecd", sent, x), self.hidden_kernel)
        if self.hidden_bias is not None:
            h = h + self.hidden_bias[:, None]
        y = ops.einsum("gech,ehd->gecd", self.activation(h), self.output_kernel)
        if self.output_bias is not None:
            y = y + self.output_bias[:, None]
        return ops.einsum("gtec,gecd->gtd", ops.cast(returned, x.dtype), y)

    def _places(self, chosen: Any) -> Any:
        """Return how many choices of the same expert come before each, int32 `(g, tokens, k)`."""
        groups, tokens = ops.shape(chosen)[:2]
        # all first choices, then all second ones
        in_order = ops.transpose(ops.cast(chosen, "int32"), (0, 2, 1, 3))
        flat = ops.reshape(in_order, (groups, -1, self.num_experts))
        before = ops.reshape(
            ops.cumsum(flat, axis=1) - flat, (groups, self.top_k, tokens, self.num_experts)
        )
        return ops.transpose(ops.sum(before * in_order, axis=-1), (0, 2, 1))

    def _capacity(self, x: Any) -> Any:
        """Return the tokens that an expert takes: a number where that of the tokens is known."""
        factor = self.capacity_factor * self.top_k / self.num_experts
        tokens = ops.shape(x)[1]
        if isinstance(tokens, int):
            # rounding must not make 2.0000000000000004 to 3
            return max(1, math.ceil(factor * tokens - 1e-6))
        capacity = ops.ceil(factor * ops.cast(tokens, "float32") - 1e-4)
        return ops.maximum(ops.cast(capacity, "int32"), 1)

    def _imbalance(self, probabilities: Any, chosen: Any, mask: Any) -> Any:
        """Return the weighted loss that is least if all experts are used equally."""
        if mask is None:
            mask = ops.ones_like(probabilities[..., 0])
        count = ops.maximum(ops.sum(mask), 1)
        shares = ops.sum(chosen, axis=(0, 1, 2)) / (count * self.top_k)
        means = ops.sum(probabilities * mask[..., None], axis=(0, 1)) / count
        return self.load_balance * self.num_experts * ops.sum(shares * means)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "hidden_dim": self.hidden_dim,
            "activation": serialize_activation(self.activation),
            "top_k": self.top_k,
            "capacity_factor": self.capacity_factor,
            "load_balance": self.load_balance,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
