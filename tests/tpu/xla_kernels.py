"""Which operations XLA can compile, asked of TensorFlow's own registry.

Touches two private names of TensorFlow, guarded by `tests/tpu/test_xla_kernels.py`:
`tensorflow.python.framework.kernels.get_all_registered_kernels`, and the device type
`XLA_CPU_JIT` under which XLA's kernels stand there. Those for a TPU (`XLA_TPU_JIT`) come of the
same registrations, but stand only in builds of TensorFlow for TPU; what differs is the dtypes,
here `TPU_DTYPES`.
"""

from functools import cache
from typing import Any

import tensorflow as tf

# all of them but float64, which TensorFlow takes as well and a TPU emulates
TPU_DTYPES = frozenset(
    {
        tf.bool,
        tf.int8,
        tf.int16,
        tf.int32,
        tf.int64,
        tf.uint8,
        tf.uint16,
        tf.uint32,
        tf.uint64,
        tf.float16,
        tf.bfloat16,
        tf.float32,
        tf.complex64,
        tf.qint8,
        tf.quint8,
        tf.qint32,
        # handles, of variables and of lists
        tf.resource,
        tf.variant,
    }
)


@cache
def xla_kernels() -> dict[str, list[Any]]:
    """XLA's kernels by the name of their operation.

    Returns:
        A dictionary from the operation's type, such as `"MatMul"`, to its kernel definitions.
    """
    from tensorflow.python.framework import kernels

    # XLA registers its kernels when it first compiles something
    with tf.init_scope(), tf.device("CPU:0"):
        tf.function(lambda: tf.constant(1.0) + 1.0, jit_compile=True)()
    found: dict[str, list[Any]] = {}
    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type == "XLA_CPU_JIT":
            found.setdefault(kernel.op, []).append(kernel)
    return found


def has_xla_kernel(op: tf.Operation) -> bool:
    """Whether XLA has a kernel for the operation with its dtypes.

    Args:
        op: an operation of a graph.
    """
    return any(_fits(kernel, op) for kernel in xla_kernels().get(op.type, []))


def _fits(kernel: Any, op: tf.Operation) -> bool:
    """Whether the operation's attributes are among those that the kernel is registered for."""
    for constraint in kernel.constraint:
        value = op.get_attr(constraint.name)
        allowed = {tf.as_dtype(number) for number in constraint.allowed_values.list.type}
        dtypes = value if isinstance(value, list) else [value]
        if not all(tf.as_dtype(dtype) in allowed for dtype in dtypes):
            return False
    return True
