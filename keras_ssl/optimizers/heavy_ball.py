"""SGD with the heavy ball's momentum."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops.schedules import is_schedule, serialize
from keras_ssl.optimizers._gradients import dense_gradient


@keras.saving.register_keras_serializable(package="keras_ssl")
class HeavyBall(keras.optimizers.Optimizer):
    """Stochastic heavy ball: SGD whose velocity is free of the learning rate, as in PyTorch.

    With g the gradient, v the velocity, m the momentum, d the dampening and γ the learning rate:

        v ← m v + (1 - d) g    in the first step: v ← g
        w ← w - γ v

    and with `nesterov=True` the last line is `w ← w - γ (g + m v)`. It equals `torch.optim.SGD`.

    The velocity of `keras.optimizers.SGD` includes the learning rate: `v ← m v - γ g`, `w ← w + v`.
    At a constant rate both take the same steps. When the rate falls, Keras' velocity goes on with
    the old, larger rate for about 1 / (1 - m) steps, while here the whole step shrinks at once.
    With d = m the velocity is a mean of the gradients, and the momentum does not change the
    length of the steps.

    The momentum is a variable, so that `callbacks.MomentumScheduler` can change it during training,
    or a schedule, which is read at every step.

    Args:
        learning_rate: γ, float, schedule or callable.
        momentum: m, float in [0, 1), or a schedule of optimizer steps such as
            `optimizers.cosine_momentum(...)`.
        dampening: d, float in [0, 1]. 0 with `nesterov=True`.
        nesterov: whether to apply Nesterov momentum.
        weight_decay: float of at least 0, or `None`: Keras' decoupled weight decay. PyTorch's is
            added to the gradient.
        name: optional name of the optimizer.
        **kwargs: further arguments of `keras.optimizers.Optimizer`: clipping, averaged weights,
            gradient accumulation, loss scaling.

    Raises:
        ValueError: if an argument is out of range, or if Nesterov momentum is dampened or 0.
        TypeError: if an argument has the wrong type.

    Example:

    >>> import keras
    >>> from keras_ssl import optimizers
    >>> optimizer = optimizers.HeavyBall(0.1, momentum=0.5)
    >>> w = keras.Variable([1.0])
    >>> optimizer.apply([keras.ops.convert_to_tensor([2.0])], [w])
    >>> optimizer.learning_rate = 0.01  # of the whole next step, 2 + 0.5 * 2
    >>> optimizer.apply([keras.ops.convert_to_tensor([2.0])], [w])
    >>> round(float(w[0]), 3)
    0.77

    Reference:
        - [Polyak, Some methods of speeding up the convergence of iteration
          methods](https://doi.org/10.1016/0041-5553(64)90137-5)
        - [Sutskever et al., On the importance of initialization and momentum in deep
          learning](https://proceedings.mlr.press/v28/sutskever13.html)
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: Any = 0.9,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        name: str | None = "heavy_ball",
        **kwargs: Any,
    ):
        if weight_decay is not None:
            checks.number("weight_decay", weight_decay, minimum=0)
        momentum = checks.momentum("momentum", momentum)
        dampening = checks.probability("dampening", dampening)
        if nesterov and (dampening > 0 or (not is_schedule(momentum) and momentum == 0)):
            raise ValueError(
                "`nesterov=True` needs a momentum above 0 and no dampening. "
                f"Received: momentum={momentum}, dampening={dampening}"
            )
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.dampening = dampening
        self.nesterov = nesterov
        if not is_schedule(momentum):
            # as the learning rate, so that a compiled step follows a change
            momentum = self.add_variable(
                shape=(),
                initializer=keras.initializers.Constant(momentum),
                aggregation="only_first_replica",
                name="momentum",
            )
        self._momentum = momentum

    @property
    def momentum(self) -> Any:
        """The momentum: a scalar variable, which can be assigned a number, or a schedule."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        if is_schedule(self._momentum):
            raise ValueError(
                "The momentum of this optimizer follows a schedule and cannot be set. "
                f"Received: momentum={value}"
            )
        self._momentum.assign(checks.below_one("momentum", value))

    def build(self, variables: list[Any]) -> None:
        """Create a velocity for each variable."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its velocity."""
        velocity = self.velocities[self._get_variable_index(variable)]
        gradient = dense_gradient(gradient, variable)
        is_constant = not is_schedule(self._momentum)
        momentum = self._momentum if is_constant else self._momentum(self.iterations)
        momentum = ops.cast(momentum, variable.dtype)
        step = gradient
        if self.dampening > 0:
            damped = (1.0 - self.dampening) * gradient
            step = ops.where(self.iterations == 0, gradient, damped)
        step = momentum * ops.convert_to_tensor(velocity) + step
        self.assign(velocity, step)
        if self.nesterov:
            step = gradient + momentum * step
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * step)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        momentum = self._momentum
        if is_schedule(momentum):
            momentum = serialize(momentum)
        else:
            momentum = float(ops.convert_to_numpy(momentum))
        return {
            **super().get_config(),
            "momentum": momentum,
            "dampening": self.dampening,
            "nesterov": self.nesterov,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Any:
        """Make the optimizer that `config` describes."""
        if isinstance(config.get("momentum"), dict):
            momentum = keras.saving.deserialize_keras_object(
                config["momentum"], custom_objects=custom_objects
            )
            config = {**config, "momentum": momentum}
        return super().from_config(config, custom_objects)
