"""The operations that XLA can compile, according to TensorFlow's registry of kernels.

Uses two private names of TensorFlow, which `tests/tpu/test_xla_kernels.py` tests:
`tensorflow.python.framework.kernels.get_all_registered_kernels`, and the device type
`XLA_CPU_JIT` of XLA's kernels. Those for a TPU (`XLA_TPU_JIT`) have the same registrations, but
only exist in builds of TensorFlow for TPU; they differ in dtypes, here `TPU_DTYPES`.
"""

from functools import cache
from typing import Any

import tensorflow as tf

# without float64, which TensorFlow accepts but a TPU emulates
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
    """XLA's kernel definitions by the type of their operation, such as `"MatMul"`."""
    from tensorflow.python.framework import kernels

    # XLA registers its kernels when it first compiles a function
    with tf.init_scope(), tf.device("CPU:0"):
        tf.function(lambda: tf.constant(1.0) + 1.0, jit_compile=True)()
    found: dict[str, list[Any]] = {}
    for kernel in kernels.get_all_registered_kernels().kernel:
        if kernel.device_type == "XLA_CPU_JIT":
            found.setdefault(kernel.op, []).append(kernel)
    return found


def has_xla_kernel(op: tf.Operation) -> bool:
    """Whether XLA has a kernel for the operation with its dtypes."""
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
