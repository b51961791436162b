"""Operations in a training step that a TPU cannot run, found on a CPU."""

import linecache
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.trainers.engine.fit import DistributedFit
from tests.tpu.traced_ops import called_graphs, traced_ops
from tests.tpu.xla_kernels import TPU_DTYPES, has_xla_kernel, xla_kernels

# operations that run Python on the host
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
# Outputs whose shape XLA knows but TensorFlow does not: XLA leaves the scratch space of NVIDIA's
# batch normalisation empty, and computes the axes of a broadcast at compile time
_KNOWN_TO_XLA = frozenset(
    {("FusedBatchNormV3", 5), ("BroadcastGradientArgs", 0), ("BroadcastGradientArgs", 1)}
)
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


class TPUObstacle(NamedTuple):
    """One operation that a TPU cannot run.

    Attributes:
        function: the traced function, such as `"train_step"`.
        op: the type of the operation, such as `"ResizeBicubic"`, or `"XLA"` if the compiler rejects
            the function without naming an operation.
        reason: why a TPU cannot run it.
        line: the line of Python that created it, the innermost one outside TensorFlow and Keras.
            For the operation of a gradient, the line that computes the gradient.
    """

    function: str
    op: str
    reason: str
    line: str

    def __str__(self) -> str:
        where = f"\n    {self.line}" if self.line else ""
        return f"{self.function}: {self.op}: {self.reason}{where}"


def tpu_obstacles(model: keras.Model, batch: Any) -> list[TPUObstacle]:
    """Find the operations in the training and validation step of a model that a TPU cannot run.

    Traces both steps for the shapes of a batch and walks every operation, including those in
    loops, branches and called functions. It reports Python on the host, operations for which the
    installed TensorFlow has no XLA kernel, tensors whose shape depends on values, dtypes that a
    TPU lacks or emulates (float64), and, if there are none of these, the error of XLA's own
    translation of the step. Nothing is computed, and no weight changes; the model is built.

    Args:
        model: compiled Keras model, created outside a strategy.
        batch: the batch of one step, `x` or `(x, y)`: arrays, tensors or `tf.TensorSpec`s, or a
            `tf.data.Dataset`. Only shapes and dtypes matter; NumPy's floats count as
            `keras.config.floatx()`, as in `fit`.

    Returns:
        The obstacles without duplicates, in the order of the operations.
    """
    if not model.compiled:
        raise ValueError(f"`model` must be compiled. Received: {model}")
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "`model` must be created outside a strategy, whose collectives are not those of a TPU. "
            f"Received: a model under {type(model.distribute_strategy).__name__} with {replicas} "
            "replicas"
        )
    specs = _static_specs("batch", batch)
    if isinstance(model, DistributedFit):
        shapes = keras.tree.map_structure(_keras_tensor, specs)
        x, y, _ = keras.utils.unpack_x_y_sample_weight(shapes)
        model.build_step(x, y)
    found = []
    for step in (model.train_step, model.test_step):
        found += _find(step, (specs,), autograph=False)
    return found


def function_tpu_obstacles(function: Callable, *arguments: Any) -> list[TPUObstacle]:
    """The same for a layer, a loss or any other function that TensorFlow can trace.

    The arguments are arrays, tensors or `tf.TensorSpec`s, or nested structures of them.
    """
    return _find(function, _static_specs("arguments", arguments), autograph=True)


def _find(function: Callable, specs: tuple, autograph: bool) -> list[TPUObstacle]:
    name = getattr(function, "__name__", None) or getattr(function, "name", repr(function))
    found = [
        TPUObstacle(name, "input", reason, "")
        for spec in keras.tree.flatten(specs)
        for reason in _dtype_reasons([spec], [])
    ]
    traced = tf.function(function, autograph=autograph, jit_compile=True)
    for op in traced_ops(traced.get_concrete_function(*specs).graph):
        reasons = list(_kernel_reasons(op)) or list(_shape_reasons(op))
        found += [TPUObstacle(name, op.type, reason, _line(op)) for reason in reasons]
    if not found:
        found = [TPUObstacle(name, "XLA", reason, "") for reason in _compiler_says(traced, specs)]
    return list(dict.fromkeys(found))


def _kernel_reasons(op: tf.Operation) -> Iterator[str]:
    """Why a TPU has no kernel for the operation and its dtypes."""
    if op.type == "Placeholder":
        return
    # the text of an assertion, which XLA drops; other operations that read it are reported
    if op.type == "Const" and op.outputs[0].dtype.name == "string":
        return
    if op.type in _PYTHON:
        yield "it runs Python on the host"
    elif op.type not in xla_kernels():
        yield "XLA has no kernel for it"
    elif not has_xla_kernel(op):
        dtypes = sorted({tensor.dtype.base_dtype.name for tensor in [*op.inputs, *op.outputs]})
        yield f"XLA has no kernel for it with {', '.join(dtypes)}"
    else:
        yield from _dtype_reasons(op.outputs, op.inputs)


def _dtype_reasons(results: Any, inputs: Any) -> Iterator[str]:
    """The dtypes of results that a TPU lacks or emulates."""
    known = TPU_DTYPES | {tensor.dtype.base_dtype for tensor in inputs}
    for name in sorted({t.dtype.name for t in results if t.dtype.base_dtype not in known}):
        has = "only emulates" if name == "float64" else "lacks"
        yield f"its dtype is {name}, which a TPU {has}"


def _shape_reasons(op: tf.Operation) -> Iterator[str]:
    """The results whose shape is not known before the run, although those of the inputs are."""
    if not all(_is_static(tensor) for tensor in op.inputs) or _takes_any_shape(op):
        return
    for index, tensor in enumerate(op.outputs):
        if not _is_static(tensor) and (op.type, index) not in _KNOWN_TO_XLA:
            yield f"the shape of its result, {_shape_text(tensor)}, is not known before it runs"


def _takes_any_shape(op: tf.Operation) -> bool:
    """Whether it calls a function traced for more shapes than it gets; XLA knows the actual one."""
    return op.type == "Placeholder" or (
        op.type in _CALLS
        and not all(_is_static(tensor) for graph in called_graphs(op) for tensor in graph.inputs)
    )


def _is_static(tensor: Any) -> bool:
    return tensor.shape.is_fully_defined()


def _shape_text(tensor: Any) -> str:
    return "unknown" if tensor.shape.rank is None else str(tuple(tensor.shape))


def _line(op: tf.Operation) -> str:
    """The innermost line outside TensorFlow and Keras that led to the operation."""
    # an operation of a function that was loaded from a file has no traceback
    libraries = [Path(module.__file__).parent for module in (tf, keras)]
    for frame in reversed(op.traceback or []):
        if not any(library in Path(frame.filename).parents for library in libraries):
            break
    else:
        return ""
    code = linecache.getline(frame.filename, frame.lineno).strip()
    return f"{frame.filename}:{frame.lineno}, in {frame.name}: {code}"


def _compiler_says(traced: Any, specs: tuple) -> Iterator[str]:
    """The errors of XLA's own translation of the function."""
    # TensorFlow only translates functions on one device
    with tf.device("CPU:0"):
        zeros = keras.tree.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), specs)
        try:
            program = traced.experimental_get_compiler_ir(*zeros)(stage="hlo")
        except (ValueError, tf.errors.OpError) as error:
            yield str(error)
            return
    if re.search(r"\[[^\]\n]*<=\d", program):
        yield "a dimension of the compiled program has a size that depends on values"


def _static_specs(name: str, batch: Any) -> Any:
    """Static shapes and dtypes of a batch."""
    if isinstance(batch, tf.data.Dataset):
        batch = batch.element_spec

    def spec_of(leaf: Any) -> tf.TensorSpec:
        if isinstance(leaf, tf.TypeSpec):
            spec = leaf
        elif isinstance(leaf, tf.Tensor):
            spec = tf.TensorSpec(leaf.shape, leaf.dtype)
        else:
            array = np.asarray(leaf)
            dtype = keras.config.floatx() if array.dtype.kind == "f" else array.dtype
            spec = tf.TensorSpec(array.shape, dtype)
        if not isinstance(spec, tf.TensorSpec) or not spec.shape.is_fully_defined():
            raise ValueError(
                f"`{name}` must have static shapes, as programs of a TPU do. Batch a dataset with "
                f"`dataset.batch(n, drop_remainder=True)`. Received: {spec}"
            )
        return spec

    return keras.tree.map_structure(spec_of, batch)


def _keras_tensor(spec: tf.TensorSpec) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, spec.dtype.name)
