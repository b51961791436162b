"""A batch that is embedded and differentiated in parts."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ssl.trainers.step import Batch, batch_size_of


class MicroBatches:
    """A batch in micro-batches, which are processed in order.

    With a loss L of embeddings `z = f(x)` of all examples, the gradient for the weights θ of f is

        dL/dθ = Σ_i dL/dz_i · dz_i/dθ

    where only `dL/dz` needs all examples at once, and it needs no activations of f. So the step
    embeds the batch part by part and forgets the activations, takes `dL/dz` of all embeddings, and
    embeds each part once more for its `dz_i/dθ`. This is exact; it costs one more forward pass.

    Both passes start from the same state of all variables (seed generators, moving statistics,
    metrics, weights that a layer normalises), so that the second draws what the first drew, and
    statistics move once.

    Where L is the mean of the losses of examples, it is the mean of those of the parts, and one
    pass serves: each part's gradient is taken at once, and added up.

    Args:
        batch: the whole batch; every tensor in it has the examples first.
        size: examples per micro-batch; divides the batch.
        embed: function of a part of the batch that returns a dictionary of its embeddings, each
            with the part's examples first, and the sum of the losses that layers added: `(1,)`.
        state: the variables that `embed` may change.
        unroll: whether to trace every part instead of a loop. Layers that exchange tensors with
            other replicas need it, since `tf.distribute` cannot do so in a loop.

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

        Returns:
            What `embed` gives: the embeddings with the rows of all parts in order, and the losses
            that layers added, one value a part.
        """
        first = self._embed_part(0, after=self._before_all())

        def write(part: Any, stores: list[tf.TensorArray]) -> list[tf.TensorArray]:
            return _write(stores, part, self._embed_part(part, after=_flows(stores)))

        stores = self._for_each_further_part(write, self._stores(first))
        return _rows_of_stores(stores, first)

    def embed_and_differentiate(
        self, loss: Callable[[dict[str, Any], Any], Any], variables: list[keras.Variable]
    ) -> tuple[tuple[dict[str, Any], Any], list[Any]]:
        """Embed the whole batch, and take the gradient of a mean over parts on the way.

        Args:
            loss: function of what `embed` gives for a part that returns the part's loss.
            variables: the variables to differentiate with respect to.

        Returns:
            What `embed_all` returns, and the gradient of the mean of the parts' losses: one tensor
            per variable, `None` if no loss depends on it.
        """
        values = [variable.value for variable in variables]

        def of_part(part: Any, after: Any) -> tuple[Any, list[Any]]:
            with tf.GradientTape() as tape:
                embedded = self._embed_part(part, after)
                share = loss(*embedded) / tf.cast(self.count, "float32")
            return embedded, tape.gradient(share, values)

        return self._add_up(of_part, after=self._before_all())

    def gradients(self, variables: list[keras.Variable], upstream: list[Any]) -> list[Any]:
        """Propagate the gradients of the embeddings to the variables.

        Args:
            variables: the variables to differentiate with respect to.
            upstream: the gradient of the loss with respect to each tensor that `embed_all`
                returned, flattened; `None` if the loss does not depend on it.

        Returns:
            One gradient per variable; `None` if no embedding depends on it.
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

        # the first pass has ended by then, of whose last part `upstream` was made
        return self._add_up(of_part, after=[one for one in upstream if one is not None])[1]

    def read_state(self) -> list[Any]:
        """Return the values of the state's variables."""
        return [tf.identity(variable.value) for variable in self.state]

    def write_state(self, values: list[Any]) -> None:
        """Give the state's variables these values."""
        for variable, value in zip(self.state, values, strict=True):
            variable.assign(value)

    def _before_all(self) -> list[Any]:
        """What must have happened before the first part."""
        return [self.count] if tf.is_tensor(self.count) else []

    def _stores(self, first: Any) -> list[tf.TensorArray]:
        """An array for each tensor of the first part's, with that in it."""
        stores = [
            tf.TensorArray(leaf.dtype, self.count, element_shape=leaf.shape)
            for leaf in keras.tree.flatten(first)
        ]
        return _write(stores, 0, first)

    def _embed_part(self, part: Any, after: Any = ()) -> tuple[dict[str, Any], Any]:
        # a part begins when the one before has ended: its activations are gone by then
        with tf.control_dependencies(keras.tree.flatten(after)):
            taken = Batch(*(_rows_of_all(one, part, self.size) for one in self.batch))
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
        """Go through all parts, joining the rows and adding up the gradients that each gives.

        Args:
            of_part: function of a part and of what must come before it that returns a structure
                of rows and a list of gradients, each a tensor or `None`.
            after: what must come before the first part.

        Returns:
            The structure with the rows of all parts, and the sums.
        """
        first, gradients = of_part(0, after)
        connected = [number for number, one in enumerate(gradients) if one is not None]
        stores = self._stores(first)
        stored = len(stores)

        def add(part: Any, carry: list[Any]) -> list[Any]:
            stores, sums = carry[:stored], carry[stored:]
            rows, gradients = of_part(part, [*_flows(stores), *sums])
            sums = [one + gradients[number] for one, number in zip(sums, connected, strict=True)]
            return [*_write(stores, part, rows), *sums]

        sums = [tf.convert_to_tensor(gradients[number]) for number in connected]
        carry = self._for_each_further_part(add, [*stores, *sums])
        sums = dict(zip(connected, carry[stored:], strict=True))
        rows = _rows_of_stores(carry[:stored], first)
        return rows, [sums.get(number) for number in range(len(gradients))]

    def _for_each_further_part(self, body: Callable[[Any, list], list], carry: list) -> list:
        """Fold the parts after the first into `carry`, one after the other."""
        if self.unroll:
            if tf.is_tensor(self.count):
                raise ValueError(
                    "`micro_batch_size` with layers that exchange tensors between replicas needs "
                    "batches of one size: arrays, or `dataset.batch(n, drop_remainder=True)`. "
                    "Received: batches of a size that is not known before they come"
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
                "With `micro_batch_size`, only batch normalisation may exchange tensors between "
                "replicas while examples are embedded. Gather or sum over replicas in `losses_of`. "
                "Received: an `embed` that does so itself"
            ) from error


def _rows(x: Any, part: Any, size: int) -> Any:
    # of a length that changes, such as that of sentences, the step learns when they come
    others = [tf.shape(x)[axis] if n is None else n for axis, n in enumerate(x.shape[1:], start=1)]
    return tf.slice(x, [part * size] + [0] * len(others), [size, *others])


def _write(stores: list[tf.TensorArray], part: Any, embedded: Any) -> list[tf.TensorArray]:
    leaves = keras.tree.flatten(embedded)
    return [one.write(part, leaf) for one, leaf in zip(stores, leaves, strict=True)]


def _flows(stores: list[tf.TensorArray]) -> list[Any]:
    return [one.flow for one in stores]


def _rows_of_stores(stores: list[tf.TensorArray], first: Any) -> Any:
    """The structure of the first part with the rows of all parts."""
    leaves = keras.tree.flatten(first)
    rows = [_join_parts(store.stack(), leaf) for store, leaf in zip(stores, leaves, strict=True)]
    return keras.tree.pack_sequence_as(first, rows)


def _join_parts(stacked: Any, leaf: Any) -> Any:
    """The rows of all parts, `(parts, size, ...)`, one after the other."""
    others = leaf.shape[1:]
    if others.is_fully_defined():
        return tf.reshape(stacked, (-1, *others))
    rows = tf.reshape(stacked, tf.concat([[-1], tf.shape(stacked)[2:]], axis=0))
    count, size = stacked.shape[:2]
    rows.set_shape([None if count is None else count * size, *others])
    return rows


def _rows_of_all(structure: Any, part: Any, size: int) -> Any:
    return keras.tree.map_structure(
        lambda x: None if x is None else _rows(x, part, size), structure
    )


def _parts_of(batch: Batch, size: int) -> Any:
    """How many parts a batch has; a tensor where `tf.function` was traced for batches of any size.

    Keras lets it do so once a trainer has seen batches of two sizes.
    """
    examples = batch_size_of(batch.x)
    if examples is not None:
        return examples // size
    examples = tf.shape(keras.tree.flatten(batch.x)[0])[0]
    whole = tf.debugging.assert_equal(
        examples % size,
        0,
        f"`micro_batch_size` must divide the batch of one replica. Expected a multiple of {size}",
    )
    # the assertion of an eager step has already been made
    with tf.control_dependencies([] if whole is None else [whole]):
        return examples // size
