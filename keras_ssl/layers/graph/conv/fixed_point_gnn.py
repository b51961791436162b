"""The original graph neural network, and gradients of fixed points."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.graph.graph_layer import (
    GraphLayer,
    apply_to_edges,
    build_network,
    check_layer,
)
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.edges import Edges, connect


@keras.saving.register_keras_serializable(package="keras_ssl")
class FixedPointGNN(GraphLayer):
    r"""The original graph neural network: node states at the fixed point of message passing.

        h_i = sum_j a_ij f(x_i, x_j, e_ij, h_j)

    The states h start at 0 and are updated until they converge, so that information travels over
    any number of edges. Gradients are those of the fixed point, by implicit differentiation: memory
    does not grow with the number of iterations.

    Convergence is guaranteed only if the update F is a contraction. To keep it one, training adds
    the paper's penalty on columns of the Jacobian of F whose absolute sum exceeds μ:

        penalty * mean_j sum_c max(0, |column (j, c) of dF/dh|_1 - μ)^2

    computed at the fixed point by central differences, which costs 2 evaluations of f per channel.
    Without convergence, the states after `max_iterations` are returned; see `layer.iterations`.

    Args:
        channels: number of features of a state.
        transition: f, a Keras layer from the concatenated `[x_i, x_j, e_ij, h_j]` to `channels`,
            without random numbers or state (no dropout, no batch normalization). `None` for a tanh
            layer of `channels` units followed by a linear one, initially a contraction if nodes
            have few neighbors.
        max_iterations: largest number of updates, and of steps for the gradient.
        tolerance: updates stop when no feature of a state changes by more than this.
        penalty: weight of the penalty, or 0.
        contraction: μ, between 0 and 1.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` where edges have features. `a` as in
            `layers.graph.MessagePassing`.
        training: whether to add the penalty.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list; `e` is `(edges, edge_features)` in the order of
        the edges, or `(..., nodes, nodes, edge_features)` for a dense `a`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Attributes:
        iterations: variable, the number of updates of the last call, until all graphs of the batch
            converged.

    Raises:
        ValueError: if an argument is out of range, or if `transition` returns another number of
            channels or has a state.
        TypeError: if `transition` is not a Keras layer, or an argument is not a number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import FixedPointGNN
    >>> layer = FixedPointGNN(4, max_iterations=100)
    >>> layer([np.ones((3, 2)), np.ones((3, 3)) - np.eye(3)]).shape
    TensorShape([3, 4])
    >>> int(layer.iterations) < 100
    True

    Reference:
        - [Scarselli et al., 2009](https://doi.org/10.1109/TNN.2008.2005605)
    """

    def __init__(
        self,
        channels: int,
        transition: keras.layers.Layer | None = None,
        max_iterations: int = 50,
        tolerance: float = 1e-5,
        penalty: float = 1.0,
        contraction: float = 0.9,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.channels = checks.integer("channels", channels, minimum=1)
        self.max_iterations = checks.integer("max_iterations", max_iterations, minimum=1)
        self.tolerance = checks.positive("tolerance", tolerance)
        self.penalty = checks.number("penalty", penalty, minimum=0)
        self.contraction = checks.below_one("contraction", contraction, positive=True)
        if transition is None:
            small = keras.initializers.VarianceScaling(0.01, "fan_avg", "uniform")
            transition = keras.Sequential(
                [
                    keras.layers.Dense(channels, "tanh", dtype=self.dtype_policy),
                    keras.layers.Dense(channels, kernel_initializer=small, dtype=self.dtype_policy),
                ],
                name="transition",
            )
        check_layer("transition", transition)
        self.transition = transition

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        width = 2 * features + (edge_features or 0) + self.channels
        received = build_network(self.transition, width)
        if received != self.channels:
            raise ValueError(
                f"`transition` must return {self.channels} channels. Received: a layer that "
                f"returns {received}"
            )
        state = self.transition.non_trainable_variables if self.transition.trainable else []
        if state:
            raise ValueError(
                "`transition` must be a function of its input and its trainable weights, so that "
                "it has a fixed point: no dropout, no batch normalization. Received: a layer with "
                f"state {[one.path for one in state]}"
            )
        self.iterations = self.add_weight(
            name="iterations",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x, a, e = self.split_inputs(inputs)
        edges = connect(x, a)
        known = _concatenate(
            edges.from_receivers(x), edges.from_senders(x), *([] if e is None else [e])
        )

        def update(h: Any) -> Any:
            messages = self._messages(known, edges.from_senders(h), edges)
            return ops.reshape(edges.sum(messages), ops.shape(h))

        start = ops.zeros(
            (*ops.shape(x)[:-1], self.channels), keras.backend.result_type(x.dtype, "float32")
        )
        h, iterations = fixed_point(update, start, self.max_iterations, self.tolerance)
        self.iterations.assign(iterations)
        if training and self.penalty:
            excess = self.excess(known, ops.stop_gradient(h), edges)
            self.add_loss(self.penalty * excess)
        return ops.cast(h, self.compute_dtype)

    def _messages(self, known: Any, sent: Any, edges: Edges) -> Any:
        messages = at_least_float32(apply_to_edges(self.transition, _concatenate(known, sent)))
        return ops.cast(edges.weights, messages.dtype) * messages

    def excess(self, known: Any, h: Any, edges: Edges) -> Any:
        """Return the penalty without its weight; `known` are the inputs of f except h."""
        # the error is that of rounding divided by the width, plus the width squared
        width = 2**-7 if self.compute_dtype in ("float32", "float64") else 2**-4
        sent = edges.from_senders(h)
        places = (self.channels, *[1] * (len(sent.shape) - 1), self.channels)
        steps = width * ops.reshape(ops.eye(self.channels, dtype=sent.dtype), places)
        sent = ops.expand_dims(sent, 0)
        known = ops.expand_dims(known, 0)
        ahead = self._messages(known, sent + steps, edges)
        behind = self._messages(known, sent - steps, edges)
        columns = ops.sum(ops.abs(ahead - behind), axis=-1, keepdims=True) / (2 * width)
        norms = edges.sum_to_senders(columns)
        return ops.mean(ops.sum(ops.square(ops.relu(norms - self.contraction)), axis=0))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "channels": self.channels,
            "transition": keras.saving.serialize_keras_object(self.transition),
            "max_iterations": self.max_iterations,
            "tolerance": self.tolerance,
            "penalty": self.penalty,
            "contraction": self.contraction,
        }


def _concatenate(*parts: Any) -> Any:
    """Concatenate edge features, some of which have broadcast axes in place of nodes."""
    parts = [ops.cast(part, parts[0].dtype) for part in parts]
    places = sum(ops.zeros_like(part[..., :1]) for part in parts)
    return ops.concatenate([part + places for part in parts], axis=-1)


_Step = Callable[[Any], Any]


def fixed_point(step: _Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    """Iterate `h = step(h)` until convergence, with the gradient of the fixed point.

    For a cotangent v, the gradient pulls back `u = v + J^T u` through the step, where J is the
    Jacobian of the step at the fixed point, and u is found by iteration as well. So memory is that
    of one step (on TensorFlow only inside a `tf.function`, as in `fit`). Without convergence, h is
    the result of `max_iterations` steps, and the gradient that many terms of the series.

    Args:
        step: function from h to the next h, of the same shape. Gradients flow to all tensors and
            variables that it uses; it must not change any.
        start: initial h. No gradient flows to it.
        max_iterations: largest number of steps, forward and backward.
        tolerance: iteration stops when no entry of h changes by more than this.

    Returns:
        The fixed point, and the number of steps, int32.
    """
    backends = {"tensorflow": _tensorflow, "jax": _jax}
    differentiable = backends.get(keras.backend.backend(), unrolled)
    return differentiable(step, ops.stop_gradient(start), max_iterations, tolerance)


def unrolled(step: _Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    """`fixed_point` for any backend, by automatic differentiation of further steps.

    `max_iterations` more steps are taken at the fixed point: their gradient is that many terms of
    the same series, but memory grows with their number.
    """
    h, steps = _iterate(step, start, max_iterations, tolerance)
    h = ops.stop_gradient(h)
    for _ in range(max_iterations):
        h = step(h)
    return h, ops.stop_gradient(steps)


def _iterate(step: _Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    """Iterate `h = step(h)`; return the last h and the number of steps.

    A diverging iteration stops before h becomes infinite.
    """

    def is_going_on(h: Any, change: Any, steps: Any) -> Any:
        return ops.logical_and(change > tolerance, steps < max_iterations)

    def one(h: Any, change: Any, steps: Any) -> tuple[Any, Any, Any]:
        following = step(h)
        change = ops.max(ops.abs(following - h))
        is_finite = ops.isfinite(change)
        # NaN in the first step comes from the input and must not be hidden
        following = ops.where(ops.logical_or(is_finite, steps == 0), following, h)
        return following, ops.where(is_finite, change, ops.zeros_like(change)), steps + 1

    far = ops.cast(float("inf"), start.dtype)
    none = ops.zeros((), "int32")
    h, _, steps = ops.while_loop(is_going_on, one, (start, far, none))
    return h, steps


def _tensorflow(step: _Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    import tensorflow as tf

    h, steps = _iterate(step, start, max_iterations, tolerance)
    h, steps = tf.stop_gradient(h), tf.stop_gradient(steps)

    @tf.custom_gradient
    def keep(reached: Any) -> tuple[Any, Any]:
        def backward(v: Any) -> Any:
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch(h)
                following = step(h)

            def adjoint_step(u: Any) -> Any:
                # zeros instead of None if the step does not depend on h
                product = tape.gradient(following, h, u, tf.UnconnectedGradients.ZERO)
                return v + product

            return _iterate(adjoint_step, v, max_iterations, _relative(tolerance, v))[0]

        return tf.identity(h), backward  # the value of h, with the gradient of `reached`

    # one more step at the fixed point, for the gradient of the cotangent that `keep` computes
    return keep(step(h)), steps


def _jax(step: _Step, start: Any, max_iterations: int, tolerance: float) -> tuple[Any, Any]:
    import jax

    def solve(_: Any, start: Any) -> tuple[Any, Any]:
        h, steps = _iterate(step, start, max_iterations, tolerance)
        return h, ops.cast(steps, h.dtype)  # auxiliary outputs must be floats

    def solve_linear(multiply: Any, v: Any) -> Any:
        """Solve (J - I) u = v, or its transpose; `multiply` multiplies by J - I."""

        def adjoint_step(u: Any) -> Any:
            return multiply(u) + u - v

        return _iterate(adjoint_step, -v, max_iterations, _relative(tolerance, v))[0]

    def tangent_solve(multiply: Any, v: Any) -> Any:
        return jax.lax.custom_linear_solve(multiply, v, solve_linear, solve_linear)

    def residual(h: Any) -> Any:
        return step(h) - h

    h, steps = jax.lax.custom_root(residual, start, solve, tangent_solve, has_aux=True)
    return h, ops.cast(steps, "int32")


def _relative(tolerance: float, v: Any) -> Any:
    """Scale a tolerance that is meant for values near 1 to the size of a cotangent."""
    return tolerance * ops.max(ops.abs(v))
