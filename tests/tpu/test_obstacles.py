"""Operations that a TPU cannot run are found, with their line of Python, and no others are."""

import re

import keras
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("TPU obstacles are those of the TensorFlow backend", allow_module_level=True)

from tests.tpu.obstacles import function_tpu_obstacles, tpu_obstacles  # noqa: E402

SHAPE = (4, 6, 6, 3)


class Calls(keras.layers.Layer):
    """Calls a function, whose result plays no part in the output."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        with tf.control_dependencies(keras.tree.flatten(self.function(x))):
            return tf.identity(x)


def model_with(function):
    model = keras.Sequential([Calls(function), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def batch():
    return np.ones(SHAPE, "float32"), np.ones((4, 1), "float32")


def as_bytes(x):
    return tf.strings.as_string(x[0, 0, 0, 0])


def in_a_loop(x):
    def body(count, x):
        return count + 1, tf.image.resize(x, (6, 6), "area")

    return tf.while_loop(lambda count, x: count < 2, body, (0, x))[1]


def in_a_branch(x):
    return tf.cond(x[0, 0, 0, 0] > 0, lambda: tf.image.resize(x, (6, 6), "area"), lambda: x)


def in_a_function_of_a_function(x):
    outer = tf.function(lambda x: tf.function(lambda x: tf.image.resize(x, (6, 6), "area"))(x))
    return outer(x)


def growing(x):
    grown = tf.while_loop(
        lambda x: tf.shape(x)[0] < 9,
        lambda x: (tf.concat([x, x], axis=0),),
        (x,),
        shape_invariants=(tf.TensorShape((None, 6, 6, 3)),),
    )
    return grown[0]


def boxes():
    return tf.ones((6, 4))


OBSTACLES = {
    "py_function": (lambda x: tf.py_function(abs, [x], tf.float32), "EagerPyFunc", "Python"),
    "numpy_function": (lambda x: tf.numpy_function(np.abs, [x], tf.float32), "PyFunc", "Python"),
    "string": (as_bytes, "AsString", "no kernel"),
    "decode": (lambda x: tf.io.decode_png(as_bytes(x)), "DecodePng", "no kernel"),
    "file": (lambda x: tf.io.read_file(as_bytes(x)), "ReadFile", "no kernel"),
    "print": (tf.print, "PrintV2", "no kernel"),
    "bicubic": (lambda x: tf.image.resize(x, (9, 9), "bicubic"), "ResizeBicubic", "no kernel"),
    "area": (lambda x: tf.image.resize(x, (9, 9), "area"), "ResizeArea", "no kernel"),
    "crop and resize": (
        lambda x: tf.image.crop_and_resize(x, [[0.0, 0, 1, 1]], [0], (2, 2)),
        "CropAndResize",
        "no kernel",
    ),
    "sparse": (
        lambda x: tf.sparse.sparse_dense_matmul(tf.sparse.eye(6), x[0, 0]),
        "SparseTensorDenseMatMul",
        "no kernel",
    ),
    "histogram": (
        lambda x: tf.histogram_fixed_width(x, [0.0, 1.0]),
        "HistogramFixedWidth",
        "no kernel",
    ),
    "kernel for other dtypes": (
        lambda x: tf.gather(as_bytes(x)[None], [0]),
        "GatherV2",
        "no kernel for it with int32, string",
    ),
    "boolean_mask": (lambda x: tf.boolean_mask(x, x > 0), "Where", r"\(None, 1\), is not known"),
    "where": (lambda x: tf.where(x > 0), "Where", r"\(None, 4\)"),
    "unique": (lambda x: tf.unique(x[0, 0, 0])[0], "Unique", "not known"),
    "partition": (
        lambda x: tf.dynamic_partition(x[0, 0, 0], tf.cast(x[0, 0, 0] > 0, "int32"), 2),
        "DynamicPartition",
        "not known",
    ),
    "range of a value": (lambda x: tf.range(x[0, 0, 0, 0]), "Range", "not known"),
    "reshape by a value": (
        lambda x: tf.reshape(x, (tf.cast(x[0, 0, 0, 0], "int32"), -1)),
        "Reshape",
        "not known",
    ),
    "non-maximum suppression": (
        lambda x: tf.image.non_max_suppression(boxes(), x[0, 0, :, 0], 3),
        "NonMaxSuppressionV3",
        "not known",
    ),
    "growing loop": (growing, "While", "not known"),
    "float64": (lambda x: tf.cast(x, "float64"), "Cast", "float64, which a TPU only emulates"),
    "complex128": (lambda x: tf.cast(x, "complex128"), "Cast", "complex128, which a TPU lacks"),
    "in a loop": (in_a_loop, "ResizeArea", "no kernel"),
    "in a branch": (in_a_branch, "ResizeArea", "no kernel"),
    "in a called function": (in_a_function_of_a_function, "ResizeArea", "no kernel"),
}

FINE = {
    "assertion with a message": lambda x: tf.debugging.assert_greater(x, -1.0, "negative"),
    "bilinear": lambda x: tf.image.resize(x, (9, 9), "bilinear"),
    "nearest": lambda x: tf.image.resize(x, (9, 9), "nearest"),
    "choice by value": lambda x: tf.where(x > 0, x, 0.0),
    "shuffle": tf.random.shuffle,
    "top k": lambda x: tf.math.top_k(x, 2)[0],
    "integers of 64 bits": lambda x: tf.cast(x, "int64") * 2,
    "range of a shape": lambda x: tf.range(tf.shape(x)[0]),
    "loop of unknown length": lambda x: tf.while_loop(
        lambda x: tf.reduce_sum(x) < 1e6, lambda x: (x * 2,), (x,)
    ),
    "function traced for any batch": tf.function(
        lambda x: tf.reduce_sum(x * 2, axis=0),
        input_signature=[tf.TensorSpec((None, 6, 6, 3))],
    ),
}


@pytest.mark.few(6)
@pytest.mark.parametrize("name", OBSTACLES)
def test_obstacles_are_reported_with_their_line(name):
    function, op, reason = OBSTACLES[name]
    found = tpu_obstacles(model_with(function), batch())
    for step in ("train_step", "test_step"):
        # a loop is `StatelessWhile` where nothing in it has an effect
        these = [one for one in found if one.function == step and one.op.endswith(op)]
        assert these, found
        for one in these:
            assert re.search(reason, one.reason)
            assert "test_obstacles.py:" in one.line
            assert one.line in str(one) and one.op in str(one)


@pytest.mark.few(3)
@pytest.mark.parametrize("name", FINE)
def test_operations_that_xla_compiles_are_not_reported(name):
    assert tpu_obstacles(model_with(FINE[name]), batch()) == []
    # an outside witness that there is none: the step runs compiled
    model = model_with(FINE[name])
    model.compile("sgd", "mse", jit_compile=True)
    assert np.isfinite(model.train_on_batch(*batch()))


def test_result_of_unknown_size_in_a_function_traced_for_any_batch():
    positives = tf.function(
        lambda x: tf.boolean_mask(x, x[:, 0, 0, 0] > 0),
        input_signature=[tf.TensorSpec((None, 6, 6, 3))],
    )
    found = function_tpu_obstacles(positives, np.ones(SHAPE, "float32"))
    assert [one.op for one in found] == ["XLA"] and "depends on values" in found[0].reason


def test_gradients_are_walked():
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.image.resize(x, (9, 9), "bicubic"))
        return tape.gradient(y, x)

    found = function_tpu_obstacles(slope, np.ones(SHAPE, "float32"))
    assert [one.op for one in found] == ["ResizeBicubic", "ResizeBicubicGrad"]


def test_input_of_a_dtype_that_a_tpu_lacks():
    found = function_tpu_obstacles(lambda x: tf.cast(x, "float32"), tf.ones(3, "float64"))
    assert [one.op for one in found] == ["input"] and "float64" in found[0].reason
    # NumPy's floats become float32, as in `fit`
    assert function_tpu_obstacles(lambda x: x + 1, np.ones(3)) == []


def test_nothing_is_computed_and_no_weight_changes():
    model = model_with(lambda x: x)
    model.build(SHAPE)
    before = [np.array(weight) for weight in model.weights]
    assert tpu_obstacles(model, batch()) == []
    assert int(model.optimizer.iterations) == 0
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), old)
    model.fit(*batch(), verbose=0)


def test_takes_specs_and_datasets_without_iterating_over_them():
    specs = tf.TensorSpec(SHAPE), tf.TensorSpec((4, 1))

    def never():
        raise AssertionError("an element was drawn")
        yield

    dataset = tf.data.Dataset.from_generator(never, output_signature=specs)
    for form in (specs, dataset, [tf.ones(SHAPE), tf.ones((4, 1))]):
        form = tuple(form) if isinstance(form, list) else form
        assert tpu_obstacles(model_with(lambda x: x), form) == []


def test_batch_without_a_static_shape():
    dataset = tf.data.Dataset.from_tensor_slices(batch()).batch(2)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        tpu_obstacles(model_with(lambda x: x), dataset)
    with pytest.raises(ValueError, match="static shapes"):
        function_tpu_obstacles(tf.abs, tf.TensorSpec(None))


def test_model_that_is_not_compiled():
    with pytest.raises(ValueError, match="must be compiled"):
        tpu_obstacles(keras.Sequential([keras.layers.Dense(1)]), batch())


def test_model_under_several_replicas(two_replicas):
    with two_replicas.scope():
        model = model_with(lambda x: x)
    with pytest.raises(ValueError, match="outside a strategy"):
        tpu_obstacles(model, batch())
