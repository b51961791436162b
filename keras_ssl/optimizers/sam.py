"""SAM, sharpness-aware minimisation."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops.precision import at_least_float32
from keras_ssl.optimizers._gradients import dense_gradient
from keras_ssl.optimizers._wrapper import OptimizerWrapper, take_step

_OFFSET = 0.01  # of weights in the adaptive variant, as in the paper


@keras.saving.register_keras_serializable(package="keras_ssl")
class SAM(OptimizerWrapper):
    """Sharpness-aware minimisation: descend by the gradient at the worst weights nearby.

    With w all weights, g the gradient of the loss L at w and ρ the radius:

        ε = ρ g / ||g||
        w ← step of the inner optimizer from w, with the gradient of L at w + ε

    and with `adaptive=True` (ASAM), T = |w| + 0.01 elementwise, `ε = ρ T² g / ||T g||`, so that the
    radius of a weight grows with the weight, and rescaling layers changes nothing.

    Each step takes the gradient of its batch twice, at about twice the cost. Trainers of keras_ssl
    do so, with several replicas and `micro_batch_size` too. `keras.Model.fit` has one gradient for
    an optimizer and raises an error; in a training loop of your own, call `apply_with_closure`.

    Under replicas ε is that of the whole batch. The second pass draws dropout and views of its own
    and moves batch statistics again.

    Clipping, weight decay and averaged weights are arguments of the inner optimizer. So is the
    loss scale: with the policy "mixed_float16", wrap the inner optimizer,
    `SAM(keras.optimizers.LossScaleOptimizer(inner))`, and pass `auto_scale_loss=False` to
    `compile`.

    Args:
        inner_optimizer: Keras optimizer, or its name.
        rho: ρ, float above 0. ASAM's authors use ten times the value of SAM.
        adaptive: whether the radius of a weight grows with the weight.
        name: optional name of the optimizer.

    Raises:
        ValueError: if `rho` is out of range.
        TypeError: if an argument has the wrong type.

    Example:

    >>> import keras
    >>> from keras_ssl import optimizers
    >>> optimizer = optimizers.SAM(keras.optimizers.SGD(0.1), rho=0.5)
    >>> w = keras.Variable([1.0])
    >>> gradient = lambda: [4 * w**3]  # of w ** 4
    >>> optimizer.apply_with_closure(gradient(), [w], gradient)
    >>> round(float(w[0]), 3)  # 1 - 0.1 * 4 * 1.5 ** 3
    -0.35

    Reference:
        - [Foret et al., Sharpness-Aware Minimization for Efficiently Improving
          Generalization](https://arxiv.org/abs/2010.01412)
        - [Kwon et al., ASAM: Adaptive Sharpness-Aware
          Minimization](https://arxiv.org/abs/2102.11600)
    """

    def __init__(
        self,
        inner_optimizer: Any,
        rho: float = 0.05,
        adaptive: bool = False,
        name: str | None = "sam",
    ):
        super().__init__(inner_optimizer, name=name)
        self.rho = checks.positive("rho", rho)
        self.adaptive = adaptive

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Raise an error: a step needs the gradient a second time."""
        raise RuntimeError(
            "SAM needs the gradient of the same batch at other weights. Train with a trainer of "
            "keras_ssl, or call `apply_with_closure` in a training loop of your own. Received: a "
            "call of `apply`, as `keras.Model.fit` makes it"
        )

    def apply_with_closure(
        self, gradients: list[Any], variables: list[Any], closure: Callable[[], list[Any]]
    ) -> None:
        """Take a step.

        Args:
            gradients: gradients at the current weights, `None` where the loss does not depend on a
                variable.
            variables: the variables.
            closure: function that returns the gradients of the same loss at the weights that the
                variables have when it is called.
        """
        variables = list(variables)
        if not self.built:
            self.build(variables)
        start = [variable + 0.0 for variable in variables]  # copies
        shifts = self._shifts(gradients, variables)
        for variable, old, shift in zip(variables, start, shifts, strict=True):
            if shift is not None:
                variable.assign(old + ops.cast(shift, variable.dtype))
        at_worst = closure()
        for variable, old in zip(variables, start, strict=True):
            variable.assign(old)  # w + ε - ε would not be w to the bit
        take_step(self.inner_optimizer, at_worst, variables)

    def _shifts(self, gradients: list[Any], variables: list[Any]) -> list[Any]:
        """Return ε for each variable, 0 if the gradient is all zero or not finite."""
        scales = [
            ops.abs(at_least_float32(variable)) + _OFFSET if self.adaptive else 1.0
            for variable in variables
        ]
        scaled = [
            None if one is None else scale * at_least_float32(dense_gradient(one, variable))
            for one, variable, scale in zip(gradients, variables, scales, strict=True)
        ]
        present = [one for one in scaled if one is not None]
        # squares of a gradient, which may be scaled for float16, overflow
        largest = ops.max(ops.stack([ops.cast(ops.max(ops.abs(g)), "float32") for g in present]))
        is_usable = ops.logical_and(largest > 0, ops.isfinite(largest))
        largest = ops.where(is_usable, largest, 1.0)
        norm = ops.sqrt(sum(ops.sum(ops.square(g / ops.cast(largest, g.dtype))) for g in present))
        factor = self.rho / largest / ops.where(is_usable, ops.cast(norm, "float32"), 1.0)
        return [
            None if g is None else ops.where(is_usable, ops.cast(factor, g.dtype) * s * g, 0.0)
            for g, s in zip(scaled, scales, strict=True)
        ]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "rho": self.rho, "adaptive": self.adaptive}
