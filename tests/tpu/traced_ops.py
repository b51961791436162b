"""All operations of a traced function, including those of the functions that it calls.

Uses private names of TensorFlow, which `tests/tpu/test_traced_ops.py` tests:
`FuncGraph._get_function`, and the attribute `graph` of what it returns.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


def traced_ops(graph: Any) -> Iterator[tf.Operation]:
    """Yield each operation of a graph and of its loops, branches and function calls once.

    This includes operations whose results are not used, since XLA compiles these as well.
    """
    yield from _walk(graph, seen=set())


def called_graphs(op: tf.Operation) -> Iterator[Any]:
    """Yield the graphs that an operation calls: body and condition of a loop, or branches."""
    for name in _called_names(op):
        function = op.graph._get_function(name)
        if function is not None:
            yield function.graph


def _called_names(op: tf.Operation) -> Iterator[str]:
    for value in op.node_def.attr.values():
        for function in [value.func, *value.list.func]:
            if function.name:
                yield function.name


def _walk(graph: Any, seen: set[int]) -> Iterator[tf.Operation]:
    if id(graph) in seen:
        return
    seen.add(id(graph))
    for op in graph.get_operations():
        yield op
        for called in called_graphs(op):
            yield from _walk(called, seen)
