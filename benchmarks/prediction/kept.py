"""What the backward pass needs of the forward pass, counted in a traced step."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

# operations that hand their input on without a copy
_VIEWS = {"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient"}
# what exists whether or not there is a backward pass
_NOT_ACTIVATIONS = {"Const", "ReadVariableOp", "Placeholder", "Shape", "VarHandleOp"}


def kept_bytes(
    forward: Callable[..., Any], variables: Sequence[tf.Variable], *specs: tf.TensorSpec
) -> int:
    """Bytes of the tensors that a forward pass must hold until the backward pass reads them.

    The function and its gradient are traced; counted is every tensor that the forward part makes
    and the backward part reads, once, by its static shape. What comes on top while a step runs
    (workspace of kernels, gradients on their way, copies) is not counted.

    Args:
        forward: function of tensors like `specs`; what it returns is summed to the loss.
        variables: what the gradient is taken for.
        *specs: `tf.TensorSpec`s of static shape.
    """

    def step(*inputs: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.nest.flatten(forward(*inputs))
            loss = tf.add_n([tf.cast(tf.reduce_sum(y), "float32") for y in outputs])
        marker = tf.identity(tf.ones_like(loss), name="seed_of_the_backward_pass")
        return tape.gradient(loss, (list(variables), list(inputs)), output_gradients=marker)

    graph = tf.function(step, autograph=False).get_concrete_function(*specs).graph
    backward, kept = set(), {}
    for op in graph.get_operations():  # in the order in which they were made
        is_backward = op.name.startswith(("gradient_tape/", "seed_of_the_backward_pass")) or any(
            tensor.op.name in backward for tensor in op.inputs
        )
        if not is_backward:
            continue
        backward.add(op.name)
        for tensor in op.inputs:
            tensor = _source(tensor)
            if tensor.op.name not in backward and not _is_given(tensor):
                kept[tensor.ref()] = tensor.shape.num_elements() * tensor.dtype.size
    return sum(kept.values())


def kept_bytes_by_example(
    forward: Callable[..., Any], variables: Sequence[tf.Variable], *specs: tf.TensorSpec
) -> int:
    """The same for one example more; `specs` are of single examples, without the batch."""

    def count(batch: int) -> int:
        batches = [tf.TensorSpec((batch, *spec.shape), spec.dtype) for spec in specs]
        return kept_bytes(forward, variables, *batches)

    return count(3) - count(2)


def _source(tensor: tf.Tensor) -> tf.Tensor:
    while tensor.op.type in _VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def _is_given(tensor: tf.Tensor) -> bool:
    # a variable in the step's own precision, too
    if tensor.op.type == "Cast":
        return _is_given(_source(tensor.op.inputs[0]))
    # the last output of the fused batch norm is scratch space of cuDNN, and empty elsewhere
    is_scratch = tensor.op.type == "FusedBatchNormV3" and tensor.value_index == 5
    return is_scratch or tensor.op.type in _NOT_ACTIVATIONS or tensor.dtype == tf.resource
