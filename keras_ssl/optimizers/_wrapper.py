"""Optimizers that hold another one."""

from collections.abc import Iterator
from typing import Any

import keras


def chain(optimizer: keras.optimizers.Optimizer) -> Iterator[keras.optimizers.Optimizer]:
    """Yield an optimizer and those within it, from the outermost to the one that moves weights."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return the optimizer that updates the weights, within those that wrap it."""
    return list(chain(optimizer))[-1]


def take_step(
    optimizer: keras.optimizers.Optimizer, gradients: list[Any], variables: list[keras.Variable]
) -> None:
    """Let an optimizer take a step, on JAX a `LossScaleOptimizer` too.

    Args:
        optimizer: the optimizer.
        gradients: one gradient per variable, or `None`.
        variables: the variables.
    """
    is_scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if not is_scaled or keras.backend.backend() != "jax":
        optimizer.apply(gradients, variables)
        return
    # its `apply` assigns variables within a condition, which JAX cannot
    after = optimizer.stateless_apply(
        [one.value for one in optimizer.variables], gradients, [one.value for one in variables]
    )
    for group, values in zip((variables, optimizer.variables), after, strict=True):
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)


class OptimizerWrapper(keras.optimizers.Optimizer):
    """Base of optimizers that wrap another one, to which learning rate and loss scale belong.

    As of Keras' `LossScaleOptimizer`, the variables are its own and those of the inner optimizer.

    Args:
        inner_optimizer: Keras optimizer, or its name.
        name: optional name of the optimizer.

    Raises:
        TypeError: if `inner_optimizer` is not an optimizer.
    """

    def __init__(self, inner_optimizer: Any, name: str | None = None):
        if not isinstance(inner_optimizer, (str, keras.optimizers.Optimizer)):
            raise TypeError(
                "`inner_optimizer` must be a Keras optimizer or its name. Received: "
                f"inner_optimizer={inner_optimizer!r} of type {type(inner_optimizer).__name__}"
            )
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = keras.optimizers.get(inner_optimizer)

    def build(self, variables: list[Any]) -> None:
        """Create the state of the inner optimizer."""
        if self.built:
            return
        self.inner_optimizer.build(variables)
        super().build(variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of this optimizer and of the inner one."""
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def iterations(self) -> Any:
        """The number of steps that the inner optimizer has taken."""
        return self.inner_optimizer.iterations

    @property
    def loss_scale_factor(self) -> float | None:
        """The loss scale of the inner optimizer."""
        return self.inner_optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        # a `LossScaleOptimizer` around this one resets it; the constructor of Keras sets it too
        if "inner_optimizer" in vars(self):
            self.inner_optimizer.loss_scale_factor = value

    def scale_loss(self, loss: Any) -> Any:
        """Scale the loss as the inner optimizer does."""
        return self.inner_optimizer.scale_loss(loss)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Exclude variables from the weight decay of the inner optimizer."""
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Do what the inner optimizer does at the end of training."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"name": self.name, "inner_optimizer": inner}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict | None = None) -> Any:
        """Make the optimizer that `config` describes."""
        inner = keras.saving.deserialize_keras_object(
            config["inner_optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "inner_optimizer": inner})
