"""TensorFlow's list of XLA kernels, which has private names."""

import keras
import pytest

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("XLA kernels are TensorFlow's", allow_module_level=True)

from tests.tpu.xla_kernels import has_xla_kernel, xla_kernels  # noqa: E402


def test_tensorflow_still_lists_xla_kernels():
    kernels = xla_kernels()
    assert {"MatMul", "Conv2D", "FusedBatchNormV3", "While", "AssignVariableOp"} <= set(kernels)
    assert not {"ResizeBicubic", "DecodePng", "PyFunc", "StringJoin"} & set(kernels)


@pytest.mark.parametrize(("dtype", "has"), [("float32", True), ("bool", True), ("string", False)])
def test_kernels_depend_on_dtypes(dtype, has):
    with tf.Graph().as_default():
        op = tf.identity(tf.compat.v1.placeholder(dtype, (2,)))[0].op
        assert op.type == "StridedSlice" and has_xla_kernel(op) is has


@pytest.mark.parametrize(("dtype", "has"), [("float32", True), ("string", False)])
def test_every_dtype_of_a_list_needs_a_kernel(dtype, has):
    with tf.Graph().as_default():
        number = tf.compat.v1.placeholder("float32", ())
        other = tf.compat.v1.placeholder(dtype, ())
        op = tf.raw_ops.IdentityN(input=[number, other])[0].op
        assert op.type == "IdentityN" and has_xla_kernel(op) is has
