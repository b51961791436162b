"""LARS, layer-wise adaptive rate scaling."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.optimizers._gradients import dense_gradient


@keras.saving.register_keras_serializable(package="keras_ssl")
class LARS(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling: SGD with momentum and a learning rate per weight tensor.

    With w a weight tensor, g its gradient, γ the learning rate, m the momentum, β the weight decay
    and η the trust coefficient:

        λ = η ||w|| / (||g|| + β ||w|| + ε)
        v ← m v + γ λ (g + β w)
        w ← w - v

    and with `nesterov=True` the last line is `w ← w - m v - γ λ (g + β w)`. λ is 1 where w or g is
    all zero.

    Biases and the parameters of normalisation layers, which are the variables of rank 0 and 1 and
    those whose path matches `exclude`, take plain momentum steps: λ = 1 and β = 0.

    The velocity includes the learning rate, as in the paper and in `keras.optimizers.SGD`.
    PyTorch's optimizers multiply by it afterwards, which differs under a schedule. SimCLR's own
    code divides by `||g + β w||` instead of `||g|| + β ||w||`.

    Args:
        learning_rate: float, `keras.optimizers.schedules.LearningRateSchedule` or callable.
            The default is SimCLR's for a batch of 256; see `keras_ssl.optimizers.linear_scaling`.
        momentum: float in [0, 1).
        weight_decay: β, float of at least 0, or `None`. Unlike the decoupled decay of other Keras
            optimizers it is added to the gradient, as in the paper. Keras'
            `exclude_from_weight_decay` exempts further variables.
        trust_coefficient: η, float above 0.
        epsilon: ε, float of at least 0.
        nesterov: whether to apply Nesterov momentum.
        exclude: regular expressions, searched in `variable.path`, of further variables without
            adaptation and decay. The default matches the biases of GRU and attention layers,
            which have rank 2.
        name: optional name of the optimizer.
        **kwargs: further arguments of `keras.optimizers.Optimizer`: clipping, averaged weights,
            gradient accumulation, loss scaling.

    Raises:
        ValueError: if an argument is out of range.
        TypeError: if an argument has the wrong type.

    Example:

    >>> import keras
    >>> from keras_ssl import optimizers
    >>> steps = 1000
    >>> schedule = keras.optimizers.schedules.CosineDecay(
    ...     0.0,
    ...     decay_steps=steps - 100,
    ...     warmup_target=optimizers.linear_scaling(0.3, batch_size=512),
    ...     warmup_steps=100,
    ... )
    >>> optimizer = optimizers.LARS(schedule, weight_decay=1e-6)
    >>> weights = keras.Variable([[3.0, 4.0]])
    >>> plain = optimizers.LARS(1.0, trust_coefficient=0.1)
    >>> plain.apply([keras.ops.convert_to_tensor([[8.0, 6.0]])], [weights])
    >>> [round(float(w), 3) for w in weights[0]]  # a step of 0.1 ||w|| along the gradient
    [2.6, 3.7]

    Reference:
        - [You et al., Large Batch Training of Convolutional
          Networks](https://arxiv.org/abs/1708.03888)
        - [Chen et al., A Simple Framework for Contrastive Learning of Visual
          Representations](https://arxiv.org/abs/2002.05709), for the exclusions
    """

    def __init__(
        self,
        learning_rate: Any = 0.3,
        momentum: float = 0.9,
        weight_decay: float | None = None,
        trust_coefficient: float = 0.001,
        epsilon: float = 1e-8,
        nesterov: bool = False,
        exclude: Sequence[str] = ("bias$",),
        name: str | None = "lars",
        **kwargs: Any,
    ):
        if weight_decay is not None:
            checks.number("weight_decay", weight_decay, minimum=0)
        if isinstance(exclude, str) or not all(isinstance(pattern, str) for pattern in exclude):
            raise ValueError(
                f"`exclude` must be a sequence of regular expressions. Received: exclude={exclude}"
            )
        for pattern in exclude:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"`exclude` must hold regular expressions. Received: exclude={exclude}, "
                    f"in which {pattern!r} is invalid: {error}"
                ) from error
        super().__init__(learning_rate, weight_decay=weight_decay, name=name, **kwargs)
        self.momentum = checks.below_one("momentum", momentum)
        self.trust_coefficient = checks.positive("trust_coefficient", trust_coefficient)
        self.epsilon = checks.number("epsilon", epsilon, minimum=0)
        self.nesterov = nesterov
        self.exclude = tuple(exclude)

    def build(self, variables: list[Any]) -> None:
        """Create a velocity for each variable, and decide which variables are adapted."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        # decided here, since the tf.Variable that update_step gets has no path
        self._is_adapted = [self._adapts(variable) for variable in variables]
        self._is_decayed = [
            adapted and bool(self.weight_decay) and self._use_weight_decay(variable)
            for adapted, variable in zip(self._is_adapted, variables, strict=True)
        ]

    def _adapts(self, variable: Any) -> bool:
        path = getattr(variable, "path", variable.name)
        return len(variable.shape) > 1 and not any(re.search(p, path) for p in self.exclude)

    def _apply_weight_decay(self, variables: list[Any]) -> None:
        """Do nothing, instead of Keras' decoupled decay: `update_step` adds β w to the gradient."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its velocity."""
        index = self._get_variable_index(variable)
        velocity = self.velocities[index]
        dtype = variable.dtype
        gradient = dense_gradient(gradient, variable)  # its norm needs repeated rows summed
        rate = ops.cast(learning_rate, dtype)
        update = gradient
        if self._is_decayed[index]:
            update = update + self.weight_decay * ops.convert_to_tensor(variable)
        if self._is_adapted[index]:
            decay = self.weight_decay if self._is_decayed[index] else 0.0
            rate = rate * ops.cast(self._trust_ratio(variable, gradient, decay), dtype)
        update = rate * update
        new_velocity = self.momentum * ops.convert_to_tensor(velocity) + update
        self.assign(velocity, new_velocity)
        if self.nesterov:
            new_velocity = self.momentum * new_velocity + update
        self.assign_sub(variable, new_velocity)

    def _trust_ratio(self, variable: Any, gradient: Any, decay: float) -> Any:
        """λ of the paper, or 1 if the weights or the gradient are all zero."""
        # a sum of squares soon overflows float16
        dtype = keras.backend.result_type(gradient.dtype, "float32")
        w_norm, g_norm = (
            ops.sqrt(ops.sum(ops.square(ops.cast(ops.convert_to_tensor(x), dtype))))
            for x in (variable, gradient)
        )
        ratio = self.trust_coefficient * w_norm / (g_norm + decay * w_norm + self.epsilon)
        has_direction = ops.logical_and(w_norm > 0, g_norm > 0)
        return ops.where(has_direction, ratio, ops.ones_like(ratio))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
            "epsilon": self.epsilon,
            "nesterov": self.nesterov,
            "exclude": list(self.exclude),
        }
