"""Gradient descent with an adaptive gain per weight."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.optimizers._gradients import dense_gradient


@keras.saving.register_keras_serializable(package="keras_ssl")
class AdaptiveGain(keras.optimizers.Optimizer):
    """Gradient descent with a gain per weight, which the gradient's sign adapts.

    With g the gradient, g' the one before, a the gain of the weight, which starts at 1, γ the
    learning rate and m the momentum:

        a ← min(a + 0.05, a_max)  if g g' > 0
            max(0.95 a, a_min)    if g g' < 0
            a                     otherwise
        v ← m v + γ a g
        w ← w - v

    A gain grows slowly while the gradient keeps its sign and falls by a fraction when it changes:
    if signs are random, gains hover around 1. Unlike Rprop, steps stay proportional to the
    gradient. Signs mean something if batches are large or the whole data.

    t-SNE's optimizer has the constants 0.2 and 0.8, and compares the gradient with the velocity.

    Args:
        learning_rate: γ, float, schedule or callable.
        momentum: m, float in [0, 1). The velocity includes the learning rate, as in
            `keras.optimizers.SGD`.
        increase: what is added to a gain, float of at least 0.
        decrease: what a gain is multiplied by, float in (0, 1).
        gain_bounds: (a_min, a_max), floats above 0 between which 1 lies.
        weight_decay: float of at least 0, or `None`: Keras' decoupled weight decay.
        name: optional name of the optimizer.
        **kwargs: further arguments of `keras.optimizers.Optimizer`: clipping, averaged weights,
            gradient accumulation, loss scaling.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if an argument has the wrong type.

    Example:

    >>> import keras
    >>> from keras_ssl import optimizers
    >>> optimizer = optimizers.AdaptiveGain(0.1)
    >>> w = keras.Variable([[1.0, 1.0]])
    >>> for gradient in ([2.0, 2.0], [2.0, -2.0]):
    ...     optimizer.apply([keras.ops.convert_to_tensor([gradient])], [w])
    >>> [round(float(gain), 3) for gain in optimizer.gains[0][0]]
    [1.05, 0.95]
    >>> [round(float(one), 3) for one in w[0]]  # 1 - 0.2 - 0.21 and 1 - 0.2 + 0.19
    [0.59, 0.99]

    Reference:
        - [Jacobs, Increased rates of convergence through learning rate
          adaptation](https://doi.org/10.1016/0893-6080(88)90003-2)
        - [van der Maaten & Hinton, Visualizing Data using
          t-SNE](https://www.jmlr.org/papers/v9/vandermaaten08a.html)
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        increase: float = 0.05,
        decrease: float = 0.95,
        gain_bounds: tuple[float, float] = (0.1, 10.0),
        weight_decay: float | None = None,
        name: str | None = "adaptive_gain",
        **kwargs: Any,
    ):
        if weight_decay is not None:
            checks.number("weight_decay", weight_decay, minimum=0)
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.momentum = checks.below_one("momentum", momentum)
        self.increase = checks.number("increase", increase, minimum=0)
        self.decrease = checks.below_one("decrease", decrease, positive=True)
        self.gain_bounds = checks.interval("gain_bounds", gain_bounds, positive=True)
        if not self.gain_bounds[0] <= 1 <= self.gain_bounds[1]:
            raise ValueError(
                "`gain_bounds` must be two numbers between which 1 lies, where gains start. "
                f"Received: gain_bounds={gain_bounds}"
            )

    def build(self, variables: list[Any]) -> None:
        """Create a gain, the last sign and, with momentum, a velocity for each weight."""
        if self.built:
            return
        super().build(variables)
        self.gains, self.signs = self.add_optimizer_variables(
            variables, ["gain", "sign"], ["ones", "zeros"]
        )
        self.velocities = []
        if self.momentum > 0:
            self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable, its gains, signs and velocities."""
        index = self._get_variable_index(variable)
        gain, last = self.gains[index], self.signs[index]
        gradient = dense_gradient(gradient, variable)
        sign = ops.sign(gradient)
        agreement = sign * ops.convert_to_tensor(last)
        old = ops.convert_to_tensor(gain)
        new = ops.where(agreement > 0, old + self.increase, old * self.decrease)
        new = ops.clip(ops.where(agreement == 0, old, new), *self.gain_bounds)
        self.assign(gain, new)
        self.assign(last, sign)
        step = ops.cast(learning_rate, variable.dtype) * new * gradient
        if self.velocities:
            velocity = self.velocities[index]
            step = self.momentum * ops.convert_to_tensor(velocity) + step
            self.assign(velocity, step)
        self.assign_sub(variable, step)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "increase": self.increase,
            "decrease": self.decrease,
            "gain_bounds": list(self.gain_bounds),
        }
