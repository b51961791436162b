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
    check_network,
)
from keras_ssl.ops.graph.edges import Edges, connect, widened


@keras.saving.register_keras_serializable(package="keras_ssl")
class FixedPointGNN(GraphLayer):
    r"""States of nodes that agree with their neighbours' states: the original graph network.

        h_i = sum_j a_ij f(x_i, x_j, e_ij, h_j)

    The states h start at 0 and are updated until they stay, by which a node may hear from nodes any
    number of edges away. Gradients are those of the fixed point, by implicit differentiation: their
    memory does not grow with the number of iterations.

    A fixed point is only there for sure where the update F is a contraction. To keep it one,
    training adds a loss, the paper's penalty on the columns of F's Jacobian that exceed μ in sum:

        penalty * mean_j sum_c max(0, |column (j, c) of dF/dh|_1 - μ)^2

    taken at the fixed point, by central differences: that costs 2 evaluations of f a channel.
    Where no fixed point is reached, the states after `max_iterations` are returned, and
    `layer.iterations` tells.

    Args:
        channels: number of features of a state.
        transition: f, a Keras layer from `[x_i, x_j, e_ij, h_j]`, concatenated, to `channels`. It
            must not draw random numbers or hold a state, as dropout and batch normalisation do.
            `None` for a hidden layer of `channels` units with tanh and a linear one, which start as
            a contraction where nodes have few neighbours.
        max_iterations: at most so many updates, and so many steps for the gradient.
        tolerance: updates stop when no feature of a state changes by more than this.
        penalty: weight of the penalty; 0 for none.
        contraction: μ, between 0 and 1.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[x, a, e]` where edges have features. `a` as in
            `layers.graph.MessagePassing`.
        training: whether to add the penalty.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` is `(nodes, nodes)` or
        `(batch, nodes, nodes)`, or an edge list; `e` is `(edges, edge_features)` in the order of
        the edges, or of a dense `a` its shape and `edge_features`.

    Output shape:
        `(nodes, channels)` or `(batch, nodes, channels)`.

    Attributes:
        iterations: how many updates the last call took, a variable; of a batch, until all its
            graphs came to rest.

    Raises:
        ValueError: if `channels` or `max_iterations` is not a positive integer, `tolerance` not
            positive, `penalty` negative, `contraction` not between 0 and 1, or if `transition`
            gives another number of channels or holds a state.
        TypeError: if `transition` is no Keras layer.

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
        check_network("transition", transition)
        self.transition = transition

    def build_nodes(self, features: int, edge_features: int | None = None) -> None:
        width = 2 * features + (edge_features or 0) + self.channels
        given = build_network(self.transition, width)
        if given != self.channels:
            raise ValueError(
                f"`transition` must give {self.channels} channels. Received: a layer that gives "
                f"{given}"
            )
        held = self.transition.non_trainable_variables if self.transition.trainable else []
        if held:
            raise ValueError(
                "`transition` must be a function of its input and its trainable weights, so that "
                "it has a fixed point: no dropout, no batch normalisation. Received: a layer that "
                f"holds {[one.path for one in held]}"
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
        messages = widened(apply_to_edges(self.transition, _concatenate(known, sent)))
        return ops.cast(edges.weights, messages.dtype) * messages

    def excess(self, known: Any, h: Any, edges: Edges) -> Any:
        """Return by how much the update is no contraction: the penalty without its weight.

        Args:
            known: what f gets of each edge besides the state.
            h: states.
            edges: the edges.

        Returns:
            A scalar.
        """
        # the error is that of rounding over the width, and the width squared
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

    @classmethod
    def from_config(cls, config: dict) -> "FixedPointGNN":
        """Make the layer that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config))


def _concatenate(*parts: Any) -> Any:
    """Join features of edges, of which some have axes of length 1 in place of nodes."""
    parts = [ops.cast(part, parts[0].dtype) for part in parts]
    places = sum(ops.zeros_like(part[..., :1]) for part in parts)
    return ops.concatenate([part + places for part in parts], axis=-1)


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
