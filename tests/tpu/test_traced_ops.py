"""The walk over a traced function includes its loops, branches and calls."""

import keras
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("graphs are TensorFlow's", allow_module_level=True)

from tests.tpu.traced_ops import called_graphs, traced_ops  # noqa: E402


def ops_of(function):
    graph = tf.function(function).get_concrete_function(tf.TensorSpec((2,))).graph
    return list(traced_ops(graph))


def test_walks_into_loops_branches_and_calls():
    called = tf.function(lambda x: tf.math.lgamma(x))

    def function(x):
        x = tf.while_loop(lambda x: tf.sinh(x[0]) < 1, lambda x: (tf.cosh(x),), (x,))[0]
        x = tf.cond(x[0] > 0, lambda: tf.asin(x), lambda: tf.acos(x))
        x = tf.switch_case(tf.cast(x[0], "int32"), [lambda: tf.atan(x), lambda: tf.tan(x)])
        return called(x)

    types = {op.type for op in ops_of(function)}
    assert {"Sinh", "Cosh", "Asin", "Acos", "Atan", "Tan", "Lgamma"} <= types


def test_a_function_called_twice_is_walked_once():
    called = tf.function(lambda x: tf.math.lgamma(x))
    ops = ops_of(lambda x: called(x) + called(x))
    assert sum(op.type == "Lgamma" for op in ops) == 1


def test_every_function_that_an_operation_names_is_found():
    ops = ops_of(lambda x: tf.while_loop(lambda x: x[0] < 1, lambda x: (x + 1,), (x,))[0])
    (loop,) = [op for op in ops if op.type.endswith("While")]
    assert len(list(called_graphs(loop))) == 2


def test_operations_have_tracebacks():
    (sinh,) = [op for op in ops_of(lambda x: tf.sinh(x)) if op.type == "Sinh"]
    assert any(frame.filename == __file__ for frame in sinh.traceback)
