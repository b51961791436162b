"""Every operation that a traced function runs, those of the functions that it calls included.

Touches private names of TensorFlow, guarded by `tests/tpu/test_traced_ops.py`:
`FuncGraph._get_function`, and the attribute `graph` of what it returns.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf


def traced_ops(graph: Any) -> Iterator[tf.Operation]:
    """Walk a graph and the bodies of its loops, branches and function calls.

    Operations whose result nobody reads are among them: XLA compiles these as well.

    Args:
        graph: the `graph` of a concrete function.

    Yields:
        The operations, each once.
    """
    yield from _walk(graph, seen=set())


def called_graphs(op: tf.Operation) -> Iterator[Any]:
    """The graphs of the functions that an operation calls.

    Args:
        op: an operation of a function's graph.

    Yields:
        One graph a function: the body and the condition of a loop, the branches of a choice.
    """
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
