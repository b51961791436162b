"""Batch that is embedded and differentiated in micro-batches, in a loop of JAX."""

from collections.abc import Callable
from typing import Any

import jax
import keras
from jax import numpy as jnp

from keras_ssl._keras_internals import stateless_scope
from keras_ssl.trainers.engine.jax.differentiation import InnerScope, differentiate
from keras_ssl.trainers.step import Batch, batch_size_of


class MicroBatches:
    """Batch in micro-batches ("parts"), which are processed one after the other.

    It computes what `engine.tensorflow.micro_batches.MicroBatches` does, which says why. The loop
    is `jax.lax.scan`, whose carry holds the values of all variables that a part may change.

    Args:
        batch: the whole batch; the first axis of every tensor counts examples.
        size: number of examples per part; must divide the batch size.
        embed: function of a part of the batch that returns a dictionary of embeddings, with one
            row per example, and the sum of the losses that layers added, of shape `(1,)`.
        state: variables that `embed` may change.
        unroll: not used: on JAX the batch is global, and no layer exchanges tensors.
    """

    def __init__(
        self,
        batch: Batch,
        size: int,
        embed: Callable[[Batch], tuple[dict[str, Any], Any]],
        state: list[keras.Variable],
        unroll: bool,
    ):
        self.batch = batch
        self.size = size
        self.count = batch_size_of(batch.x) // size
        self.embed = embed
        self.state = state

    def embed_all(self) -> tuple[dict[str, Any], Any]:
        """Embed the whole batch, keeping the activations of one part at a time.

        Returns the embeddings of all examples, and the losses that layers added, `(parts,)`.
        """
        return self._add_up(lambda part, _: (self._embed_part(part), []), [], ())[0]

    def embed_and_differentiate(
        self, loss: Callable[[dict[str, Any], Any], Any], variables: list[keras.Variable]
    ) -> tuple[tuple[dict[str, Any], Any], list[Any]]:
        """Return what `embed_all` returns, and the gradient of the mean loss of the parts.

        Args:
            loss: function of the two results of `embed` for a part that returns the part's loss.
            variables: variables to differentiate with respect to. The gradient of one is `None` if
                no loss uses it.
        """

        def of_part(part: Batch, _: Any) -> tuple[Any, list[Any]]:
            def compute() -> tuple[Any, Any]:
                embedded = self._embed_part(part)
                return loss(*embedded) / self.count, embedded

            return differentiate(compute, variables)

        return self._add_up(of_part, variables, ())

    def gradients(self, variables: list[keras.Variable], upstream: list[Any]) -> list[Any]:
        """Return the gradients of the variables, given the gradients of the embeddings.

        Args:
            variables: variables to differentiate with respect to. The gradient of one is `None` if
                no embedding uses it.
            upstream: gradients of the flattened result of `embed_all`; `None` for a tensor on
                which the loss does not depend.
        """

        def of_part(part: Batch, slopes: list[Any]) -> tuple[Any, list[Any]]:
            def compute() -> tuple[Any, Any]:
                leaves = keras.tree.flatten(self._embed_part(part))
                total = jnp.zeros(())
                for leaf, slope in zip(leaves, slopes, strict=True):
                    if slope is not None:  # the gradient of this sum for a leaf is its slope
                        total += jnp.sum(jnp.asarray(leaf * slope, "float32"))
                return total, ()

            return differentiate(compute, variables)

        return self._add_up(of_part, variables, list(upstream))[1]

    def read_state(self) -> list[Any]:
        """Return the values of the state's variables."""
        return [variable.value for variable in self.state]

    def write_state(self, values: list[Any]) -> None:
        """Set the state's variables to values that `read_state` returned."""
        for variable, value in zip(self.state, values, strict=True):
            variable.assign(value)

    def _embed_part(self, part: Batch) -> tuple[dict[str, Any], Any]:
        embeddings, added = self.embed(part)
        for name, value in embeddings.items():
            for leaf in keras.tree.flatten(value):
                self._check_rows(name, leaf)
        return embeddings, added

    def _check_rows(self, name: str, leaf: Any) -> None:
        is_tensor = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        if not is_tensor or not len(leaf.shape) or leaf.shape[0] != self.size:
            received = f"shape {tuple(leaf.shape)}" if is_tensor else leaf
            raise ValueError(
                f"`embed` must return tensors with one row per example. Expected '{name}' to "
                f"have {self.size} rows. Received: {received}"
            )

    def _add_up(
        self,
        of_part: Callable[[Batch, Any], tuple[Any, list[Any]]],
        variables: list[keras.Variable],
        rows: Any,
    ) -> tuple[Any, list[Any]]:
        """Call a function on all parts; concatenate the rows and add up the gradients it returns.

        Args:
            of_part: function of a part and of its share of `rows` that returns a structure of
                rows, and a gradient or `None` for each variable.
            variables: the variables.
            rows: structure of tensors that are split as the batch is.
        """
        outer, connected = stateless_scope(), []

        def body(carry: tuple, taken: tuple) -> tuple[tuple, Any]:
            values, sums = carry
            with InnerScope(outer, list(zip(self.state, values, strict=True))) as scope:
                found, gradients = of_part(*taken)
                after = [scope.get_current_value(one) for one in self.state]
            connected[:] = [one is not None for one in gradients]
            pairs = zip(sums, gradients, strict=True)
            return (after, [s if g is None else s + g for s, g in pairs]), found

        parts = jax.tree.map(self._split, (self.batch, rows))
        start = self.read_state(), [jnp.zeros(one.shape, one.dtype) for one in variables]
        (values, sums), stacked = jax.lax.scan(body, start, parts)
        self.write_state(values)
        found = jax.tree.map(lambda one: jnp.reshape(one, (-1, *one.shape[2:])), stacked)
        pairs = zip(sums, connected, strict=True)
        return found, [one if is_connected else None for one, is_connected in pairs]

    def _split(self, x: Any) -> Any:
        return jnp.reshape(x, (self.count, -1, *x.shape[1:]))
