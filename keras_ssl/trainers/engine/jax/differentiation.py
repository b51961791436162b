"""Steps that assign variables, as pure functions that JAX differentiates and compiles.

A step is written once for both engines: it reads and assigns variables. Here it runs in a
`StepScope`, which gives variables their values and keeps what is assigned. What is differentiated
runs in a scope of its own within that one, whose assignments come out of `jax.value_and_grad`
beside the gradients.

The private name of Keras that this file uses is in `_keras_internals.py`: `stateless_scope`.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import keras
from jax import numpy as jnp

from keras_ssl._keras_internals import stateless_scope


class StepScope(keras.StatelessScope):
    """Scope in which a step reads and assigns values of variables instead of the variables.

    As on TensorFlow, no gradient flows into what is assigned.

    Args:
        values: pairs of the variables that the step may use and their values.
    """

    def __init__(self, values: Iterable[tuple[keras.Variable, Any]]):
        super().__init__(collect_losses=True)
        self.state_mapping = {id(variable): value for variable, value in values}

    def get_current_value(self, variable: keras.Variable) -> Any:
        """Return the value of a variable of the step."""
        self._find(variable)
        return self.state_mapping[id(variable)]

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Keep the value that is assigned to a variable of the step."""
        variable, value = update
        self._find(variable)
        self.state_mapping[id(variable)] = jax.lax.stop_gradient(value)

    def _find(self, variable: keras.Variable) -> None:
        if id(variable) not in self.state_mapping:
            raise RuntimeError(
                "On the JAX backend a step is a function of the trainer's variables: make the "
                "layer or metric that holds the variable an attribute of the trainer. Received: a "
                f"step that uses `{variable.path}`, which the trainer does not hold"
            )


class InnerScope(StepScope):
    """Scope of what is differentiated, within that of a step, or outside of any.

    What is assigned stays in it. A variable that learns may be assigned while a loss is computed,
    as by spectral normalization. As on TensorFlow, its gradient is then the sum of those of all
    its values.

    Args:
        outer: the scope around this one, or `None`.
        learned: pairs of the variables that are differentiated and their values.
    """

    def __init__(
        self, outer: keras.StatelessScope | None, learned: list[tuple[keras.Variable, Any]]
    ):
        super().__init__(learned)
        self._outer, self._leaves = outer, dict(self.state_mapping)
        self.read, self.assigned = set(), {}

    def get_current_value(self, variable: keras.Variable) -> Any:
        """Return the value of a variable, and take note that it was used."""
        self.read.add(id(variable))
        return super().get_current_value(variable)

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Keep the value that is assigned to a variable."""
        super().add_update(update)
        variable, _ = update
        self.assigned[id(variable)] = variable
        leaf = self._leaves.get(id(variable))
        if leaf is not None:  # add zero, whose gradient is that of the variable
            zero = leaf - jax.lax.stop_gradient(leaf)
            self.state_mapping[id(variable)] = self.state_mapping[id(variable)] + zero

    def _find(self, variable: keras.Variable) -> None:
        if id(variable) in self.state_mapping:
            return
        value = None if self._outer is None else self._outer.get_current_value(variable)
        if value is None:
            value = variable._value
        if value is None:  # made while shapes are traced
            value = variable._initializer(variable.shape, dtype=variable.dtype)
        self.state_mapping[id(variable)] = value


def _call_functionally(
    function: Callable[..., tuple[Any, Any]],
    variables: list[keras.Variable],
    transform: Callable[[Callable], Callable],
    *arguments: Any,
) -> tuple[Any, Any, Any, set[int]]:
    """Call a derivative of a function that assigns variables.

    Args:
        function: function of the arguments that returns a scalar, and whatever else it computes.
        variables: variables whose values become the first argument of the pure function.
        transform: `jax.value_and_grad` with auxiliary results, of a pure function.
        *arguments: structures of tensors.

    Returns:
        What the function returned, the gradients, and the ids of the variables that were read.
    """
    outer, found = stateless_scope(), {}

    def pure(values: list[Any], *arguments: Any) -> tuple[Any, tuple[Any, list[Any]]]:
        with InnerScope(outer, list(zip(variables, values, strict=True))) as scope:
            scalar, others = function(*arguments)
        found["assigned"], found["read"] = list(scope.assigned.values()), scope.read
        return scalar, (others, [scope.state_mapping[id(one)] for one in found["assigned"]])

    values = [one.value for one in variables]
    (scalar, (others, assigned)), gradients = transform(pure)(values, *arguments)
    for variable, value in zip(found["assigned"], assigned, strict=True):
        variable.assign(value)
    return scalar, others, gradients, found["read"]


def differentiate(
    compute: Callable[[], tuple[Any, Any]], variables: list[keras.Variable]
) -> tuple[Any, list[Any]]:
    """Differentiate a function with respect to variables.

    Args:
        compute: function that returns a scalar, and whatever else it computes.
        variables: the variables.

    Returns:
        What else `compute` returned, and one gradient per variable, `None` if it was not used.
    """
    others, gradients, _ = differentiate_with(compute, variables, [])
    return others, gradients


def differentiate_with(
    compute: Callable[..., tuple[Any, Any]], variables: list[keras.Variable], tensors: list[Any]
) -> tuple[Any, list[Any], list[Any]]:
    """Differentiate a function with respect to variables and to its arguments.

    Args:
        compute: function of the tensors that returns a scalar, and whatever else it computes.
        variables: the variables.
        tensors: floating-point tensors.

    Returns:
        What else `compute` returned, one gradient per variable, `None` if it was not used, and one
        gradient per tensor.
    """

    def transform(pure: Callable) -> Callable:
        return jax.value_and_grad(pure, argnums=(0, 1), has_aux=True)

    def unpacked(tensors: list[Any]) -> tuple[Any, Any]:
        return compute(*tensors)

    _, others, gradients, read = _call_functionally(unpacked, variables, transform, list(tensors))
    of_variables, of_tensors = gradients
    pairs = zip(variables, of_variables, strict=True)
    return others, [one if id(v) in read else None for v, one in pairs], of_tensors


def input_gradient(function: Callable[[Any], Any], x: Any) -> Any:
    """Differentiate a function with respect to its input, for methods that need such a gradient.

    As on TensorFlow, the sum of what the function returns is differentiated, and the result can be
    differentiated again.

    Args:
        function: function of `x` that returns a tensor, of which the sum is differentiated.
        x: floating-point tensor, or a structure of them.

    Returns:
        The gradient, shaped as `x`; zeros where the function does not depend on `x`.
    """

    def transform(pure: Callable) -> Callable:
        return jax.value_and_grad(pure, argnums=1, has_aux=True)

    def total(x: Any) -> tuple[Any, None]:
        return jnp.sum(function(x)), None

    x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    return _call_functionally(total, [], transform, x)[2]
