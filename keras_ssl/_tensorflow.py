"""Recognition of TensorFlow's objects without importing TensorFlow.

Whoever made such an object has imported it. On the JAX backend nothing else needs it.
"""

import sys
from typing import Any


def is_dataset(x: Any) -> bool:
    """Return whether a value is a `tf.data.Dataset`."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(x, tensorflow.data.Dataset)


def is_sparse_tensor(x: Any) -> bool:
    """Return whether a value is a `tf.SparseTensor`, or the spec of one."""
    tensorflow = sys.modules.get("tensorflow")
    kinds = () if tensorflow is None else (tensorflow.SparseTensor, tensorflow.SparseTensorSpec)
    return isinstance(x, kinds)


def strategy_in_scope() -> Any:
    """Return the strategy of `tf.distribute` in whose scope this is called, or `None`."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not tensorflow.distribute.has_strategy():
        return None
    return tensorflow.distribute.get_strategy()


def is_operation_error(x: Any) -> bool:
    """Return whether a value is an error that TensorFlow raised in an operation."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and isinstance(x, tensorflow.errors.OpError)
