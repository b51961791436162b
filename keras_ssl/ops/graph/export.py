"""Signatures with which networks on graphs are exported, for graphs of any size."""

from collections.abc import Callable
from os import PathLike
from typing import Any

import keras

from keras_ssl.graphs import Graph
from keras_ssl.ops.graph.inputs import read_graph
from keras_ssl.ops.graph.sparse import is_sparse


def is_example(signature: Any) -> bool:
    """Whether a signature is a `Graph` or `[x, a, ...]` of arrays or tensors, and no specs."""
    if isinstance(signature, Graph):
        return True
    first = signature[0] if isinstance(signature, (list, tuple)) and signature else None
    is_spec = first is None or isinstance(first, (list, tuple, dict, keras.InputSpec))
    return not is_spec and hasattr(first, "shape")


def signature_of_example(inputs: list[Any]) -> list[Any]:
    """Return the specs of `[x, a, ...]`, which leave all but the numbers of features open."""
    parts = read_graph(inputs)
    kept = [one for one in (parts.x, parts.e) if one is not None]

    def spec(part: Any) -> keras.KerasTensor:
        has_features = any(part is one for one in kept)
        shape = (*(None for _ in part.shape[:-1]), part.shape[-1] if has_features else None)
        dtype = keras.backend.standardize_dtype(part.dtype)
        return keras.KerasTensor(shape, dtype, sparse=is_sparse(part))

    return [
        {key: spec(one) for key, one in part.items()} if isinstance(part, dict) else spec(part)
        for part in inputs
    ]


def signature_of_shapes(shapes: list[Any], dtype: str) -> list[Any]:
    """Return the specs of `[x, a, ...]` of the given shapes, for a dense `a` or an edge list."""
    x, a, *others = shapes
    is_batch = not isinstance(a, dict) and len(a) == 3
    specs = [keras.KerasTensor((*(None for _ in x[:-1]), x[-1]), dtype)]
    if isinstance(a, dict):
        kinds = {key: dtype if key == "weights" else "int32" for key in a}
        specs.append({key: keras.KerasTensor((None,), kind) for key, kind in kinds.items()})
    else:
        specs.append(keras.KerasTensor((None,) * len(a), dtype))
    for shape in others:
        if len(shape) == 1:
            specs.append(keras.KerasTensor((None,), "int32"))
        elif len(shape) == 2 and (is_batch or len(x) == 3):
            specs.append(keras.KerasTensor((None, None), "bool"))
        else:
            specs.append(keras.KerasTensor((*(None for _ in shape[:-1]), shape[-1]), dtype))
    return specs


def export_graph_network(
    model: keras.Model,
    export: Callable[..., None],
    signature: list[Any],
    path: str | PathLike[str],
    format: str,
    verbose: bool | None,
    **kwargs: Any,
) -> None:
    """Export a model on graphs; sparse inputs by TensorFlow, which Keras does not do.

    Args:
        model: model called on `[x, a, ...]`.
        export: `keras.Model.export` of the model.
        signature: specs of its inputs.
        path: folder or file to write.
        format: as in `keras.Model.export`.
        verbose: whether to print the signature.
        **kwargs: as in `keras.Model.export`.
    """
    if not any(one.sparse for one in keras.tree.flatten(signature)):
        specs = keras.tree.map_structure(
            lambda one: keras.InputSpec(shape=tuple(one.shape), dtype=one.dtype), signature
        )
        export(path, format, verbose, [specs], **kwargs)
    elif format == "tf_saved_model" and keras.backend.backend() == "tensorflow":
        _export_with_sparse_inputs(model, path, signature, verbose)
    else:
        raise ValueError(
            "Sparse inputs are exported by the TensorFlow backend in the format 'tf_saved_model'; "
            "other formats take a dense adjacency or an edge list, as in "
            f"`input_signature=[x, graphs.edge_list(a)]`. Received: format={format!r}"
        )


def _export_with_sparse_inputs(
    model: keras.Model, path: str | PathLike[str], signature: list[Any], verbose: bool | None
) -> None:
    """Write a TensorFlow SavedModel whose `serve` takes sparse tensors, which Keras' does not."""
    import tensorflow as tf

    def spec(one: keras.KerasTensor) -> Any:
        kind = tf.SparseTensorSpec if one.sparse else tf.TensorSpec
        return kind(tuple(one.shape), one.dtype)

    serve = tf.function(
        lambda inputs: model(inputs, training=False),
        input_signature=[keras.tree.map_structure(spec, signature)],
    )
    serve.get_concrete_function()
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve)
    archive.write_out(path, verbose=verbose)
