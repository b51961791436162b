"""Rprop, resilient backpropagation."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.optimizers._gradients import dense_gradient


@keras.saving.register_keras_serializable(package="keras_ssl")
class Rprop(keras.optimizers.Optimizer):
    """Resilient backpropagation: a step size per weight, which the gradient's sign adapts.

    With g the gradient, g' the one before, s the step size of the weight, η⁺ and η⁻ the factors
    and γ the learning rate:

        s ← min(η⁺ s, s_max)  if g g' > 0
            max(η⁻ s, s_min)  if g g' < 0
            s                 otherwise
        w ← w - γ s sign(g)

    The size of the gradient plays no part. By default the step is that of iRprop⁻, which equals
    `torch.optim.Rprop`: a weight whose gradient has changed its sign has passed a minimum, so it
    rests for one step and g counts as 0 in the next. With `improved=False` it is that of Rprop⁻,
    which goes back at once. Neither remembers old weights (the plus variants do).

    Rprop needs the gradient of all data: between mini-batches signs change by chance, and step
    sizes shrink without reason. Trainers of keras_ssl warn once if an epoch has several batches, or
    if a random augmentation makes every batch a new one. `keras.optimizers.RMSprop` is the variant
    for mini-batches.

    Args:
        learning_rate: γ, a factor of all steps: float, schedule or callable. 1 gives the steps of
            the paper.
        initial_step: s at the start, float above 0. PyTorch calls it the learning rate.
        increase: η⁺, float of at least 1.
        decrease: η⁻, float in (0, 1).
        step_bounds: (s_min, s_max), floats above 0.
        improved: whether a weight rests when its gradient has changed its sign.
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
    >>> optimizer = optimizers.Rprop(initial_step=0.1)
    >>> w = keras.Variable([[1.0, 1.0]])
    >>> for gradient in ([5.0, 0.01], [5.0, -0.01], [5.0, -0.01]):
    ...     optimizer.apply([keras.ops.convert_to_tensor([gradient])], [w])
    >>> [round(float(one), 3) for one in w[0]]  # 1 - 0.1 - 0.12 - 0.144 and 1 - 0.1 + 0 + 0.05
    [0.636, 0.95]

    Reference:
        - [Riedmiller & Braun, A direct adaptive method for faster backpropagation
          learning](https://doi.org/10.1109/ICNN.1993.298623)
        - [Igel & Hüsken, Empirical evaluation of the improved Rprop learning
          algorithms](https://doi.org/10.1016/S0925-2312(01)00700-7)
    """

    needs_full_batch = True

    def __init__(
        self,
        learning_rate: Any = 1.0,
        initial_step: float = 0.01,
        increase: float = 1.2,
        decrease: float = 0.5,
        step_bounds: tuple[float, float] = (1e-6, 50.0),
        improved: bool = True,
        weight_decay: float | None = None,
        name: str | None = "rprop",
        **kwargs: Any,
    ):
        if weight_decay is not None:
            checks.number("weight_decay", weight_decay, minimum=0)
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.increase = checks.number("increase", increase, minimum=1)
        self.decrease = checks.below_one("decrease", decrease, positive=True)
        self.step_bounds = checks.interval("step_bounds", step_bounds, positive=True)
        self.initial_step = checks.number("initial_step", initial_step, *self.step_bounds)
        self.improved = improved

    def build(self, variables: list[Any]) -> None:
        """Create a step size and the last sign for each weight."""
        if self.built:
            return
        super().build(variables)
        start = keras.initializers.Constant(self.initial_step)
        self.steps, self.signs = self.add_optimizer_variables(
            variables, ["step", "sign"], [start, "zeros"]
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable, its step sizes and signs."""
        index = self._get_variable_index(variable)
        step, last = self.steps[index], self.signs[index]
        sign = ops.sign(dense_gradient(gradient, variable))
        agreement = sign * ops.convert_to_tensor(last)
        old = ops.convert_to_tensor(step)
        new = ops.where(agreement > 0, old * self.increase, old * self.decrease)
        new = ops.clip(ops.where(agreement == 0, old, new), *self.step_bounds)
        if self.improved:
            sign = ops.where(agreement < 0, ops.zeros_like(sign), sign)
        self.assign(step, new)
        self.assign(last, sign)
        self.assign_sub(variable, ops.cast(learning_rate, variable.dtype) * new * sign)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "initial_step": self.initial_step,
            "increase": self.increase,
            "decrease": self.decrease,
            "step_bounds": list(self.step_bounds),
            "improved": self.improved,
        }
