"""Lookahead, slow weights behind the fast weights of any optimizer."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.optimizers._wrapper import OptimizerWrapper, take_step


@keras.saving.register_keras_serializable(package="keras_ssl")
class Lookahead(OptimizerWrapper):
    """Lookahead: slow weights go a part of the way that an inner optimizer went in k steps.

    The inner optimizer moves the weights w of the model. With φ the slow weights, which start as
    w, k the period and α the slow step size, after every k-th step:

        φ ← φ + α (w - φ)
        w ← φ

    The state of the inner optimizer, such as its velocity, goes on. Between two such steps the
    model has the fast weights: choose numbers of steps that k divides if the slow ones are to
    be evaluated.

    Clipping, weight decay, averaged weights and gradient accumulation are arguments of the inner
    optimizer, and so are the learning rate and the loss scale. Weights that are set after the first
    step are pulled back towards the slow ones: use a new optimizer.

    Args:
        inner_optimizer: Keras optimizer, or its name. `SAM` goes outside: `SAM(Lookahead(...))`.
        sync_period: k, integer of at least 1, counted in steps of the inner optimizer.
        slow_step_size: α, float above 0 and at most 1.
        name: optional name of the optimizer.

    Raises:
        ValueError: if an argument is out of range, or the inner optimizer is a `SAM`.
        TypeError: if an argument has the wrong type.

    Example:

    >>> import keras
    >>> from keras_ssl import optimizers
    >>> optimizer = optimizers.Lookahead(keras.optimizers.SGD(1.0), sync_period=2)
    >>> w = keras.Variable([0.0])
    >>> for _ in range(2):
    ...     optimizer.apply([keras.ops.convert_to_tensor([-1.0])], [w])
    >>> float(w[0])  # halfway from 0 to 2
    1.0

    Reference:
        - [Zhang et al., Lookahead Optimizer: k steps forward, 1 step
          back](https://arxiv.org/abs/1907.08610)
    """

    def __init__(
        self,
        inner_optimizer: Any,
        sync_period: int = 5,
        slow_step_size: float = 0.5,
        name: str | None = "lookahead",
    ):
        if hasattr(inner_optimizer, "apply_with_closure"):
            raise ValueError(
                "`inner_optimizer` must be an optimizer that needs one gradient: use "
                f"`SAM(Lookahead(...))`. Received: inner_optimizer={inner_optimizer}"
            )
        super().__init__(inner_optimizer, name=name)
        self.sync_period = checks.integer("sync_period", sync_period, minimum=1)
        self.slow_step_size = checks.positive("slow_step_size", slow_step_size, maximum=1)

    def build(self, variables: list[Any]) -> None:
        """Create the slow weights."""
        if self.built:
            return
        super().build(variables)
        self.slow_weights = self.add_optimizer_variables(variables, "slow")

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Let the inner optimizer take a step, and draw fast and slow weights together if due."""
        if not self.built:
            self.build(list(trainable_variables))
        pairs = [
            (variable, slot)
            for variable, slot in zip(self._trainable_variables, self.slow_weights, strict=True)
            if slot is not None  # a scale of float8, which its gradient replaces
        ]
        # not in `build`: weights may be loaded between it and the first step
        is_first = self.iterations == 0
        slow = [ops.where(is_first, *map(ops.convert_to_tensor, pair)) for pair in pairs]
        take_step(self.inner_optimizer, grads, trainable_variables or self._trainable_variables)
        # a selection and no condition: steps that only accumulate gradients change nothing then
        is_due = self.iterations % self.sync_period == 0
        for (variable, slot), old in zip(pairs, slow, strict=True):
            fast = ops.convert_to_tensor(variable)
            new = old + self.slow_step_size * (fast - old)
            if variable.constraint is not None:
                new = variable.constraint(new)
            slot.assign(ops.where(is_due, new, old))
            variable.assign(ops.where(is_due, new, fast))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "sync_period": self.sync_period,
            "slow_step_size": self.slow_step_size,
        }
