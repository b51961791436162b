"""What in a training step a TPU cannot run, found on a CPU before a TPU is paid for."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

# what runs Python on the host
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
# outputs whose shape TensorFlow does not tell and XLA knows: it leaves the scratch of NVIDIA's
# batch normalisation empty, and computes the axes of a broadcast while it compiles
_KNOWN_TO_XLA = frozenset(
    {("FusedBatchNormV3", 5), ("BroadcastGradientArgs", 0), ("BroadcastGradientArgs", 1)}
)
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


class TPUObstacle(NamedTuple):
    """One operation that a TPU cannot run.

    Attributes:
        function: the function in whose trace the operation stands, such as `"train_step"`.
        op: the type of the operation, such as `"ResizeBicubic"`, or `"XLA"` where the compiler
            refuses the function without naming one.
        reason: what is wrong with it.
        line: the line of Python that made it, the innermost one outside TensorFlow and Keras. Of
            a gradient, it is where the gradient is asked for.
    """

    function: str
    op: str
    reason: str
    line: str

    def __str__(self) -> str:
        where = f"\n    {self.line}" if self.line else ""
        return f"{self.function}: {self.op}: {self.reason}{where}"


def tpu_obstacles(model: keras.Model, batch: Any) -> list[TPUObstacle]:
    """Find what a TPU cannot run in the training and the validation step of a model.

    Traces both steps for the shapes of a batch and walks every operation, those in loops,
    branches and called functions included. Reported are:

    - operations that run Python on the host (`py_function`, `numpy_function`);
    - operations for which XLA, the compiler for TPUs, has no kernel: strings, image decoding,
      sparse tensors, bicubic resizing and others;
    - tensors whose shape depends on values (`boolean_mask`, `unique`): a TPU's programs have
      static shapes;
    - dtypes that a TPU lacks, and float64, which it computes many times slower than float32;
    - where all this finds nothing, what the compiler itself says when it translates the step.

    Nothing is computed and no weight changes; the model is built, as `fit` would build it. What
    stands before the step, the input pipeline, runs on the host and is not looked at.

    Which operations XLA can compile is read from the kernels of the installed TensorFlow. An
    empty list says that its compiler takes the step, not that the step fits a TPU's memory.

    Args:
        model: compiled Keras model, made outside a strategy. A trainer, or any other.
        batch: what one step gets, `x` or `(x, y)`: arrays, tensors or `tf.TensorSpec`s, or the
            `tf.data.Dataset` itself, of which no element is taken. Only shapes and dtypes matter;
            NumPy's floats count as `keras.config.floatx()`, as in `fit`.

    Returns:
        The obstacles, each once, in the order of the steps' operations. Print them one by one.

    Raises:
        ValueError: if the model is not compiled or was made under several replicas, or the batch
            has no static shape.

    Example:

    >>> import keras, numpy as np
    >>> from tests.tpu.obstacles import function_tpu_obstacles, tpu_obstacles
    >>> double = keras.layers.Resizing(8, 8, interpolation="bicubic")
    >>> model = keras.Sequential([double, keras.layers.Flatten(), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> batch = np.zeros((16, 4, 4, 3), "float32"), np.zeros((16, 1), "float32")
    >>> for obstacle in tpu_obstacles(model, batch):
    ...     print(obstacle.function, obstacle.op, obstacle.reason)
    train_step ResizeBicubic XLA has no kernel for it
    test_step ResizeBicubic XLA has no kernel for it
    """
    from keras_ssl.trainers.engine.fit import DistributedFit

    if not model.compiled:
        raise ValueError(f"`model` must be compiled. Received: {model}")
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(
            "`model` must be made outside a strategy, whose collectives are not those of a TPU. "
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
    """Find what a TPU cannot run in a layer, a loss, or any other function of tensors.

    As `tpu_obstacles`, for a part of one's own.

    Args:
        function: a Keras layer or loss, or a function that TensorFlow can trace.
        *arguments: what to call it with: arrays, tensors or `tf.TensorSpec`s, or nested
            structures of them. Only shapes and dtypes matter; NumPy's floats count as
            `keras.config.floatx()`.

    Returns:
        The obstacles, each once.

    Raises:
        ValueError: if an argument has no static shape.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> from tests.tpu.obstacles import function_tpu_obstacles, tpu_obstacles
    >>> def positives(x):
    ...     return tf.boolean_mask(x, x > 0)
    >>> obstacle = function_tpu_obstacles(positives, np.ones(4, "float32"))[0]
    >>> obstacle.op, obstacle.reason
    ('Where', 'the shape of its result, (None, 1), is not known before it runs')
    """
    return _find(function, _static_specs("arguments", arguments), autograph=True)


def _find(function: Callable, specs: tuple, autograph: bool) -> list[TPUObstacle]:
    import tensorflow as tf

    from tests.tpu.traced_ops import traced_ops

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
    """Why there is no kernel on a TPU for the operation and its dtypes."""
    from tests.tpu.xla_kernels import has_xla_kernel, xla_kernels

    if op.type == "Placeholder":
        return
    # the text of an assertion, which XLA leaves out; what else reads a text is reported itself
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
    """Which dtypes that a TPU lacks come up among the results."""
    from tests.tpu.xla_kernels import TPU_DTYPES

    known = TPU_DTYPES | {tensor.dtype.base_dtype for tensor in inputs}
    for name in sorted({t.dtype.name for t in results if t.dtype.base_dtype not in known}):
        has = "only emulates" if name == "float64" else "lacks"
        yield f"its dtype is {name}, which a TPU {has}"


def _shape_reasons(op: tf.Operation) -> Iterator[str]:
    """Which results have a shape that is not known beforehand, though those of all inputs are."""
    if not all(_is_static(tensor) for tensor in op.inputs) or _takes_any_shape(op):
        return
    for index, tensor in enumerate(op.outputs):
        if not _is_static(tensor) and (op.type, index) not in _KNOWN_TO_XLA:
            yield f"the shape of its result, {_shape_text(tensor)}, is not known before it runs"


def _takes_any_shape(op: tf.Operation) -> bool:
    """Whether it calls a function traced for more shapes than it gets; XLA knows the right one."""
    from tests.tpu.traced_ops import called_graphs

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
    import tensorflow as tf

    # an operation of a function that was loaded from a file has no lines
    libraries = [Path(module.__file__).parent for module in (tf, keras)]
    for frame in reversed(op.traceback or []):
        if not any(library in Path(frame.filename).parents for library in libraries):
            break
    else:
        return ""
    code = linecache.getline(frame.filename, frame.lineno).strip()
    return f"{frame.filename}:{frame.lineno}, in {frame.name}: {code}"


def _compiler_says(traced: Any, specs: tuple) -> Iterator[str]:
    """What XLA's own translation of the function objects to."""
    import tensorflow as tf

    # only those on one device can be asked for
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
    """Shapes and dtypes of a batch, all known."""
    import tensorflow as tf

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
                f"`{name}` must have static shapes, as a TPU's programs do. Batch a dataset with "
                f"`dataset.batch(n, drop_remainder=True)`. Received: {spec}"
            )
        return spec

    return keras.tree.map_structure(spec_of, batch)


def _keras_tensor(spec: tf.TensorSpec) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, spec.dtype.name)
