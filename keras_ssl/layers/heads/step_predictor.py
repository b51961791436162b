"""Linear predictions of later positions."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class StepPredictor(keras.layers.Layer):
    """Linear predictions of the targets k positions later, as in CPC.

        p_k[t] = W_k c[t] + b_k        for every t with a target at t + k

    Each k has its own linear map. Positions t run along the axis after the batch: the rows of a
    grid or the steps of a sequence. CPC compares p_k with the targets from position k on.

    Args:
        steps: the values of k: a positive integer K for 1 to K, or a sequence of distinct positive
            integers.
        use_bias: whether to add a bias b_k.
        kernel_initializer: initializer of the matrices W_k. Each uses a copy.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        context: float tensor to predict from.
        target: tensor to predict, of which only the shape is used.

    Input shape:
        `context` is `(batch, positions, ..., width)`, `target` `(batch, positions, ..., dim)`,
        where `...` are any further axes, such as the columns of a grid.

    Output shape:
        A list with `(batch, positions - k, ..., dim)` for each k.

    Raises:
        TypeError: if `steps` is neither an integer nor a sequence of integers.
        ValueError: if a step is not positive or occurs twice, the largest step is not below the
            number of positions, or the shapes of `context` and `target` do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> context, target = np.ones((4, 7, 7, 256)), np.ones((4, 7, 7, 64))
    >>> [tuple(p.shape) for p in layers.StepPredictor((2, 3))(context, target)]
    [(4, 5, 7, 64), (4, 4, 7, 64)]

    Reference:
        - [van den Oord et al., Representation Learning with Contrastive Predictive
          Coding](https://arxiv.org/abs/1807.03748)
    """

    def __init__(
        self,
        steps: int | Sequence[int],
        use_bias: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.steps = _as_steps(steps)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        # here and not in `build`, since each copy may draw a seed
        self._initializers = [self.kernel_initializer.clone() for _ in self.steps]

    def build(self, context_shape: tuple, target_shape: tuple) -> None:
        self._check(context_shape, target_shape)
        self._maps = []
        for step, initializer in zip(self.steps, self._initializers, strict=True):
            linear = keras.layers.Dense(
                target_shape[-1],
                use_bias=self.use_bias,
                kernel_initializer=initializer,
                name=f"step_{step}",
                dtype=self.dtype_policy,
            )
            linear.build(context_shape)
            self._maps.append(linear)

    def call(self, context: Any, target: Any) -> list[Any]:
        self._check(context.shape, target.shape)
        return [
            linear(context[:, :-step]) for step, linear in zip(self.steps, self._maps, strict=True)
        ]

    def _check(self, context_shape: Any, target_shape: Any) -> None:
        context_shape, target_shape = tuple(context_shape), tuple(target_shape)
        if len(context_shape) < 3 or context_shape[1:-1] != target_shape[1:-1]:
            raise ValueError(
                "`context` must have shape (batch, positions, ..., width), and `target` the same "
                "positions. A recurrent context network needs `return_sequences=True`. Received: "
                f"context.shape={context_shape}, target.shape={target_shape}"
            )
        positions = context_shape[1]
        if positions is None or max(self.steps) >= positions:
            raise ValueError(
                "`steps` must be below the number of positions (rows of a grid, steps of a "
                f"sequence). Received: steps={self.steps} and {positions} positions"
            )

    def compute_output_shape(self, context_shape: tuple, target_shape: tuple) -> list[tuple]:
        batch, positions, *others = context_shape[:-1]
        return [(batch, positions - step, *others, target_shape[-1]) for step in self.steps]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "steps": self.steps,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _as_steps(steps: Any) -> tuple[int, ...]:
    """Return the sequence of steps, 1 to K for an integer K."""
    if not isinstance(steps, tuple | list):
        return tuple(range(1, checks.integer("steps", steps, minimum=1) + 1))
    several = tuple(checks.integer(f"steps[{i}]", k, minimum=1) for i, k in enumerate(steps))
    if not several or len(set(several)) < len(several):
        raise ValueError(
            "`steps` must be a positive integer or a sequence of distinct positive integers. "
            f"Received: steps={steps!r}"
        )
    return several
