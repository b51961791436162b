"""Fixed points and their gradients: the one place of these layers that asks for the backend."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Step = Callable[[Any], Any]


def fixed_point(step: Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    """Iterate `h = step(h)` until it stays, and differentiate what it comes to.

    Gradients are those of the fixed point, not of the iterations: of a cotangent v, the step is
    pulled back on `u = v + J^T u`, J the Jacobian of the step at the fixed point, and u is found by
    iteration as well. Memory is that of one step, however many it takes (on TensorFlow within a
    `tf.function`, as `fit` has it). If steps do not come to
    rest, h is what `max_iterations` of them give, and the gradient that many terms of the series.

    Args:
        step: from h to the next h, of the same shape. It may use any tensors and variables, to
            which gradients flow; it must not change any.
        start: h at first. No gradient flows to it.
        max_iterations: at most so many steps, forward and backward each.
        tolerance: steps stop when no entry of h changes by more than this.

    Returns:
        The fixed point, and the number of steps, int32.
    """
    backends = {"tensorflow": _tensorflow, "jax": _jax}
    differentiable = backends.get(keras.backend.backend(), unrolled)
    return differentiable(step, ops.stop_gradient(start), max_iterations, tolerance)


def iterate(step: Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    """Iterate `h = step(h)` until it stays.

    Where steps grow without end, they stop before h leaves the finite numbers.

    Args:
        step: from h to the next h.
        start: h at first.
        max_iterations: at most so many steps.
        tolerance: of the largest change of an entry.

    Returns:
        The last h, and the number of steps.
    """

    def is_going_on(h: Any, change: Any, steps: Any) -> Any:
        return ops.logical_and(change > tolerance, steps < max_iterations)

    def one(h: Any, change: Any, steps: Any) -> tuple[Any, Any, Any]:
        following = step(h)
        change = ops.max(ops.abs(following - h))
        is_finite = ops.isfinite(change)
        # NaN of the first step is of the input, and must be seen
        following = ops.where(ops.logical_or(is_finite, steps == 0), following, h)
        return following, ops.where(is_finite, change, ops.zeros_like(change)), steps + 1

    far = ops.cast(float("inf"), start.dtype)
    none = ops.zeros((), "int32")
    h, _, steps = ops.while_loop(is_going_on, one, (start, far, none))
    return h, steps


def unrolled(step: Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    """Do what `fixed_point` does on any backend, with the gradient of the last steps.

    At the fixed point it takes `max_iterations` more steps and leaves them to automatic
    differentiation, whose gradient is that many terms of the same series; memory grows with them.

    Args:
        step: from h to the next h.
        start: h at first.
        max_iterations: at most so many steps.
        tolerance: of the largest change of an entry.

    Returns:
        The fixed point, and the number of steps until it was found.
    """
    h, steps = iterate(step, start, max_iterations, tolerance)
    h = ops.stop_gradient(h)
    for _ in range(max_iterations):
        h = step(h)
    return h, ops.stop_gradient(steps)


def _tensorflow(step: Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    import tensorflow as tf

    h, steps = iterate(step, start, max_iterations, tolerance)
    h, steps = tf.stop_gradient(h), tf.stop_gradient(steps)

    @tf.custom_gradient
    def keep(reached: Any) -> tuple[Any, Any]:
        def backward(v: Any) -> Any:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(h)
                following = step(h)

            def adjoint_step(u: Any) -> Any:
                # zeros, not None, where a step does not depend on h
                product = tape.gradient(following, h, u, tf.UnconnectedGradients.ZERO)
                return v + product

            return iterate(adjoint_step, v, max_iterations, _relative(tolerance, v))[0]

        return tf.identity(h), backward  # the value is h, the gradient goes to `reached`

    # one step more at the fixed point, for the gradient alone: of the cotangent that `keep` makes
    return keep(step(h)), steps


def _jax(step: Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    import jax

    def solve(_: Any, start: Any) -> tuple[Any, Any]:
        h, steps = iterate(step, start, max_iterations, tolerance)
        return h, ops.cast(steps, h.dtype)  # what comes with the root must be of a float

    def solve_linear(multiply: Any, v: Any) -> Any:
        """Solve (J - I) u = v, or with J transposed; `multiply` is that by J - I."""

        def adjoint_step(u: Any) -> Any:
            return multiply(u) + u - v

        return iterate(adjoint_step, -v, max_iterations, _relative(tolerance, v))[0]

    def tangent_solve(multiply: Any, v: Any) -> Any:
        return jax.lax.custom_linear_solve(multiply, v, solve_linear, solve_linear)

    def residual(h: Any) -> Any:
        return step(h) - h

    h, steps = jax.lax.custom_root(residual, start, solve, tangent_solve, has_aux=True)
    return h, ops.cast(steps, "int32")


def _relative(tolerance: float, v: Any) -> Any:
    """The tolerance of states near 1, for cotangents of any size."""
    return tolerance * ops.max(ops.abs(v))
