"""What belongs to the other backend, named before training.

On JAX these are strategies and calls of TensorFlow, and data that only it has; on TensorFlow the
distributions of Keras.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras

from keras_ssl._tensorflow import strategy_in_scope

_BACKEND = keras.backend.backend()


def check_distribution() -> None:
    """Raise a `ValueError` in the scope of a distribution or strategy of the other backend."""
    distribution = keras.distribution.distribution()
    if _BACKEND == "tensorflow" and distribution is not None:
        raise ValueError(
            "`keras.distribution` shares the work among devices on the JAX backend alone: make the "
            "trainer under `keras_ssl.distribute.strategy(...)`, or set KERAS_BACKEND=jax before "
            f"Keras is imported. Received: {type(distribution).__name__} on the backend "
            "'tensorflow'"
        )
    strategy = strategy_in_scope()
    if _BACKEND == "jax" and strategy is not None:
        raise ValueError(
            "A strategy of TensorFlow does not share the work on the JAX backend: leave its scope, "
            "and call `keras.distribution.set_distribution(keras.distribution.DataParallel())` "
            f"before the model is made. Received: {type(strategy).__name__} on the backend 'jax'"
        )


def check_data(x: Any) -> None:
    """Raise a `ValueError` if a batch holds tensors that JAX, or a trainer on it, does not take.

    Args:
        x: structure of `keras.KerasTensor`.
    """
    specs = [one for one in keras.tree.flatten(x) if one is not None]
    received = "Received: " + ", ".join(f"{one.dtype} of shape {one.shape}" for one in specs)
    if any(one.sparse for one in specs):
        raise ValueError(
            "Trainers take no sparse tensors on the JAX backend. Pass dense features and an edge "
            'list, as `data.single_graph(graph, adjacency="edges")` does, or set '
            "KERAS_BACKEND=tensorflow before Keras is imported. "
            f"{received}, {sum(one.sparse for one in specs)} of them sparse"
        )
    if any(one.ragged for one in specs):
        raise ValueError(
            "`x` must hold tensors of one shape per batch. Make the views of ragged batches in the "
            "data, `dataset.map(lambda x: (augment(x),))`, and pass `augment=None` to the trainer. "
            f"{received}, {sum(one.ragged for one in specs)} of them ragged"
        )
    if any(one.dtype == "string" for one in specs):
        raise ValueError(
            "There are no strings on the JAX backend. Turn texts into token ids in the data, as "
            f"`keras_ssl.text.batches` does. {received}"
        )


@contextmanager
def foreign_calls_named(model: Any) -> Iterator[None]:
    """Scope in which an error from a call of TensorFlow or NumPy on JAX's tensors says so.

    Args:
        model: the model whose step runs.
    """
    try:
        yield
    except Exception as error:
        if _BACKEND == "jax" and not isinstance(error, ForeignCallError):
            _name_call(model, error)
        # Keras adds the arguments of a layer to an error by making another one of its class, which
        # fails for errors of JAX
        if "_error_repr" in str(error) and error.__context__ is not None:
            raise error.__context__ from None
        raise


class ForeignCallError(TypeError):
    """A step calls another library on tensors of the backend."""


def _name_call(model: Any, error: Exception) -> None:
    """Raise a `ForeignCallError` if an error comes from another library."""
    found = [one for one in map(_foreign_call, _chain(error)) if one is not None]
    if not found:
        return
    library, frame, line, reason = found[0]
    where = f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}, line {line})"
    raise ForeignCallError(
        f"{type(model).__name__} calls {library} on tensors of the JAX backend, in {where}. Use "
        "`keras.ops` there, or set KERAS_BACKEND=tensorflow before Keras is imported. Received: "
        f"{reason}"
    ) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those before it, of which Keras hides some."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _foreign_call(error: BaseException) -> tuple[str, FrameType, int, str] | None:
    """Return library, place and reason of an error within a call of another library."""
    from jax.errors import TracerArrayConversionError

    frames = list(traceback.walk_tb(error.__traceback__))
    packages = [frame.f_globals.get("__name__", "").split(".")[0] for frame, _ in frames]
    if "tensorflow" in packages[1:]:
        library, place = "TensorFlow", packages.index("tensorflow") - 1
    elif isinstance(error, TracerArrayConversionError):
        own = ("numpy", "jax", "keras")
        others = [n for n, package in enumerate(packages) if package not in own]
        library, place = "NumPy", others[-1]
    else:
        return None
    reason = str(error).strip().split("\n")[0]
    return library, *frames[place], f"{type(error).__name__}: {reason}"
