"""The gradient of a loss that compares all examples, with activations of a few at a time."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_ssl.trainers.batch import Batch, batch_size_of


class MicroBatches:
    """A batch in parts of few examples, gone through in order.

    With a loss L of embeddings `z = f(x)` of all examples, the gradient for the weights θ of f is

        dL/dθ = Σ_i dL/dz_i · dz_i/dθ

    where only `dL/dz` needs all examples at once, and it needs no activations of f. So the step
    embeds the batch part by part and forgets the activations, takes `dL/dz` of all embeddings, and
    embeds each part once more for its `dz_i/dθ`. This is exact; it costs one more forward pass.

    Both passes start from the same state of all variables (seed generators, moving statistics,
    metrics, weights that a layer normalises), so that the second draws what the first drew, and
    statistics move once.

    Args:
        batch: the whole batch; every tensor in it has the examples first.
        size: examples a part; divides the batch.
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
        structure = self._embed_part(0, after=[self.count] if tf.is_tensor(self.count) else ())
        first = keras.tree.flatten(structure)
        stores = [
            tf.TensorArray(leaf.dtype, self.count, element_shape=leaf.shape).write(0, leaf)
            for leaf in first
        ]

        def write(part: Any, stores: list[tf.TensorArray]) -> list[tf.TensorArray]:
            leaves = keras.tree.flatten(self._embed_part(part, after=[one.flow for one in stores]))
            return [one.write(part, leaf) for one, leaf in zip(stores, leaves, strict=True)]

        stores = self._for_each_further_part(write, stores)
        rows = [_join_parts(store.stack(), leaf) for store, leaf in zip(stores, first, strict=True)]
        return keras.tree.pack_sequence_as(structure, rows)

    def gradients(self, variables: list[keras.Variable], arriving: list[Any]) -> list[Any]:
        """Carry the gradients of the embeddings on to the variables.

        Args:
            variables: the variables that the gradient is taken for.
            arriving: the gradient of the loss for each tensor that `embed_all` gave, flattened;
                `None` where the loss does not depend on it.

        Returns:
            A gradient a variable; `None` where no embedding depends on it.
        """
        values = [variable.value for variable in variables]

        def of_part(part: Any, after: Any = ()) -> list[Any]:
            with tf.GradientTape() as tape:
                leaves = keras.tree.flatten(self._embed_part(part, after))
            shares = [
                (leaf, _rows(gradient, part, leaf.shape[0]))
                for leaf, gradient in zip(leaves, arriving, strict=True)
                if gradient is not None
            ]
            targets, output_gradients = zip(*shares, strict=True) if shares else ((), ())
            return tape.gradient(targets, values, output_gradients=output_gradients)

        # the first pass has ended by then, of whose last part `arriving` was made
        first = of_part(0, after=[one for one in arriving if one is not None])
        connected = [number for number, gradient in enumerate(first) if gradient is not None]

        def add(part: Any, sums: list[Any]) -> list[Any]:
            gradients = of_part(part, after=sums)
            return [one + gradients[number] for one, number in zip(sums, connected, strict=True)]

        sums = [tf.convert_to_tensor(first[number]) for number in connected]
        sums = self._for_each_further_part(add, sums)
        of_variable = dict(zip(connected, sums, strict=True))
        return [of_variable.get(number) for number in range(len(variables))]

    def read_state(self) -> list[Any]:
        """Return the values of the state's variables."""
        return [tf.identity(variable.value) for variable in self.state]

    def write_state(self, values: list[Any]) -> None:
        """Give the state's variables these values."""
        for variable, value in zip(self.state, values, strict=True):
            variable.assign(value)

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
                f"`embed` must give tensors with one row an example. Expected '{name}' to "
                f"have {self.size} rows. Received: {received}"
            )
        return tf.ensure_shape(leaf, (self.size, *leaf.shape[1:]))

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
    examples = batch_size_of(batch)
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
