"""Batch that is embedded and differentiated in micro-batches."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ssl.trainers.step import Batch, batch_size_of


class MicroBatches:
    """Batch in micro-batches ("parts"), which are processed one after the other.

    With a loss L of embeddings `z = f(x)` of all examples, the gradient for the weights θ of f is

        dL/dθ = Σ_i dL/dz_i · dz_i/dθ

    Only `dL/dz` depends on all examples at once, and it needs no activations of f. The step
    therefore embeds the batch part by part without keeping activations, computes `dL/dz` from all
    embeddings, and embeds each part again for its `dz_i/dθ`. The gradient is exact, at the cost of
    a second forward pass. Both passes start from the same state of all variables, so that the
    second draws the same random numbers, and moving statistics are updated once.

    If L is a mean over examples, it is the mean of the losses of the parts. Then one pass is
    enough, in which the gradients of the parts are added up.

    Args:
        batch: the whole batch; the first axis of every tensor counts examples.
        size: number of examples per part; must divide the batch size.
        embed: function of a part of the batch that returns a dictionary of embeddings, with one
            row per example, and the sum of the losses that layers added, of shape `(1,)`.
        state: variables that `embed` may change.
        unroll: whether to trace every part instead of a loop. Needed for layers that exchange
            tensors with other replicas, which `tf.distribute` does not support in a loop.

    Reference:
        - [Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited
          Setup](https://arxiv.org/abs/2101.06983)
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
        self.count = _parts_of(batch, size)
        self.embed = embed
        self.state = state
        self.unroll = unroll

    def embed_all(self) -> tuple[dict[str, Any], Any]:
        """Embed the whole batch, keeping the activations of one part at a time.

        Returns the embeddings of all examples, and the losses that layers added, `(parts,)`.
        """

        def of_part(part: Any, after: Any) -> tuple[Any, list[Any]]:
            return self._embed_part(part, after), []

        return self._add_up(of_part, after=self._before_all())[0]

    def embed_and_differentiate(
        self, loss: Callable[[dict[str, Any], Any], Any], variables: list[keras.Variable]
    ) -> tuple[tuple[dict[str, Any], Any], list[Any]]:
        """Return what `embed_all` returns, and the gradient of the mean loss of the parts.

        Args:
            loss: function of the two results of `embed` for a part that returns the part's loss.
            variables: variables to differentiate with respect to. The gradient of one is `None` if
                no loss depends on it.
        """
        values = [variable.value for variable in variables]

        def of_part(part: Any, after: Any) -> tuple[Any, list[Any]]:
            with tf.GradientTape() as tape:
                embedded = self._embed_part(part, after)
                share = loss(*embedded) / tf.cast(self.count, "float32")
            return embedded, tape.gradient(share, values)

        return self._add_up(of_part, after=self._before_all())

    def gradients(self, variables: list[keras.Variable], upstream: list[Any]) -> list[Any]:
        """Return the gradients of the variables, given the gradients of the embeddings.

        Args:
            variables: variables to differentiate with respect to. The gradient of one is `None` if
                no embedding depends on it.
            upstream: gradients of the flattened result of `embed_all`; `None` for a tensor on
                which the loss does not depend.
        """
        values = [variable.value for variable in variables]

        def of_part(part: Any, after: Any) -> tuple[Any, list[Any]]:
            with tf.GradientTape() as tape:
                leaves = keras.tree.flatten(self._embed_part(part, after))
            shares = [
                (leaf, _rows(gradient, part, leaf.shape[0]))
                for leaf, gradient in zip(leaves, upstream, strict=True)
                if gradient is not None
            ]
            targets, output_gradients = zip(*shares, strict=True) if shares else ((), ())
            return (), tape.gradient(targets, values, output_gradients=output_gradients)

        # begins after the first pass, on whose last part `upstream` depends
        return self._add_up(of_part, after=[one for one in upstream if one is not None])[1]

    def read_state(self) -> list[Any]:
        """Return the values of the state's variables."""
        return [tf.identity(variable.value) for variable in self.state]

    def write_state(self, values: list[Any]) -> None:
        """Set the state's variables to values that `read_state` returned."""
        for variable, value in zip(self.state, values, strict=True):
            variable.assign(value)

    def _before_all(self) -> list[Any]:
        """Return the tensors that must be computed before the first part."""
        return [self.count] if tf.is_tensor(self.count) else []

    def _embed_part(self, part: Any, after: Any = ()) -> tuple[dict[str, Any], Any]:
        def rows(x: Any) -> Any:
            return None if x is None else _rows(x, part, self.size)

        # a part begins when the one before has ended, so that its activations are released
        with tf.control_dependencies(keras.tree.flatten(after)):
            taken = Batch(*(keras.tree.map_structure(rows, one) for one in self.batch))
        embeddings, added = self.embed(taken)
        checked = {
            name: keras.tree.map_structure(lambda leaf, n=name: self._check_rows(n, leaf), value)
            for name, value in embeddings.items()
        }
        return checked, added

    def _check_rows(self, name: str, leaf: Any) -> Any:
        is_tensor = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        if not is_tensor or not len(leaf.shape) or leaf.shape[0] not in (None, self.size):
            received = f"shape {tuple(leaf.shape)}" if is_tensor else leaf
            raise ValueError(
                f"`embed` must return tensors with one row per example. Expected '{name}' to "
                f"have {self.size} rows. Received: {received}"
            )
        return tf.ensure_shape(leaf, (self.size, *leaf.shape[1:]))

    def _add_up(
        self, of_part: Callable[[Any, Any], tuple[Any, list[Any]]], after: Any
    ) -> tuple[Any, list[Any]]:
        """Call a function on all parts; concatenate the rows and add up the gradients it returns.

        Args:
            of_part: function of the number of a part and of tensors to be computed before it that
                returns a structure of rows and a list of gradients, each a tensor or `None`.
            after: tensors to be computed before the first part.
        """
        first, gradients = of_part(0, after)
        connected = [number for number, one in enumerate(gradients) if one is not None]
        stores = [
            tf.TensorArray(leaf.dtype, self.count, element_shape=leaf.shape)
            for leaf in keras.tree.flatten(first)
        ]
        stores = _write(stores, 0, first)
        stored = len(stores)

        def add(part: Any, carry: list[Any]) -> list[Any]:
            stores, sums = carry[:stored], carry[stored:]
            rows, gradients = of_part(part, [*(one.flow for one in stores), *sums])
            sums = [one + gradients[number] for one, number in zip(sums, connected, strict=True)]
            return [*_write(stores, part, rows), *sums]

        sums = [tf.convert_to_tensor(gradients[number]) for number in connected]
        carry = self._for_each_further_part(add, [*stores, *sums])
        sums = dict(zip(connected, carry[stored:], strict=True))
        rows = _rows_of_stores(carry[:stored], first)
        return rows, [sums.get(number) for number in range(len(gradients))]

    def _for_each_further_part(self, body: Callable[[Any, list], list], carry: list) -> list:
        """Return `carry` after `carry = body(part, carry)` for all parts but the first."""
        if self.unroll:
            if tf.is_tensor(self.count):
                raise ValueError(
                    "`micro_batch_size` with layers that exchange tensors between replicas needs "
                    "batches of one size: arrays, or `dataset.batch(n, drop_remainder=True)`. "
                    "Received: batches of unknown size"
                )
            for part in range(1, self.count):
                carry = body(part, carry)
            return carry
        try:
            return tf.while_loop(
                lambda part, *_: part < self.count,
                lambda part, *carry: (part + 1, *body(part, list(carry))),
                (tf.constant(1), *carry),
                parallel_iterations=1,
                maximum_iterations=None if tf.is_tensor(self.count) else self.count - 1,
            )[1:]
        except RuntimeError as error:
            if "merge_call" not in str(error):
                raise
            raise ValueError(
                "With `micro_batch_size`, only batch normalization may exchange tensors between "
                "replicas in `embed`. Gather or sum over replicas in `losses_of`. "
                "Received: an `embed` that exchanges tensors"
            ) from error


def _rows(x: Any, part: Any, size: int) -> Any:
    # other axes, such as the length of sentences, may be of unknown size too
    others = [tf.shape(x)[axis] if n is None else n for axis, n in enumerate(x.shape[1:], start=1)]
    return tf.slice(x, [part * size] + [0] * len(others), [size, *others])


def _write(stores: list[tf.TensorArray], part: Any, embedded: Any) -> list[tf.TensorArray]:
    leaves = keras.tree.flatten(embedded)
    return [one.write(part, leaf) for one, leaf in zip(stores, leaves, strict=True)]


def _rows_of_stores(stores: list[tf.TensorArray], first: Any) -> Any:
    """Return a structure like the first part's with the rows of all parts."""
    leaves = keras.tree.flatten(first)
    rows = [_join_parts(store.stack(), leaf) for store, leaf in zip(stores, leaves, strict=True)]
    return keras.tree.pack_sequence_as(first, rows)


def _join_parts(stacked: Any, leaf: Any) -> Any:
    """Reshape `(parts, size, ...)` to `(parts * size, ...)`."""
    others = leaf.shape[1:]
    if others.is_fully_defined():
        return tf.reshape(stacked, (-1, *others))
    rows = tf.reshape(stacked, tf.concat([[-1], tf.shape(stacked)[2:]], axis=0))
    count, size = stacked.shape[:2]
    rows.set_shape([None if count is None else count * size, *others])
    return rows


def _parts_of(batch: Batch, size: int) -> Any:
    """Return the number of parts of a batch, a tensor if the batch size is unknown in tracing."""
    examples = batch_size_of(batch.x)
    if examples is not None:
        return examples // size
    examples = tf.shape(keras.tree.flatten(batch.x)[0])[0]
    whole = tf.debugging.assert_equal(
        examples % size,
        0,
        f"`micro_batch_size` must divide the batch of one replica. Expected a multiple of {size}",
    )
    # in an eager step, the assertion has already run
    with tf.control_dependencies([] if whole is None else [whole]):
        return examples // size
