"""Independent copies of layers and models, made without their config.

A config does not always read back (KerasHub's ViT), and it does not hold what a layer derives from
its weights or what was set after construction. So the objects themselves are copied, and a
functional model is rebuilt by calling the copies of its layers.
"""

import copy
import functools
import types
from typing import Any

import keras
import numpy as np

# Set anew by the base classes of a copy, or of no use to it: bookkeeping of Keras and TensorFlow,
# the graph that the layer is part of, and what `compile` and `fit` leave in a model.
_NOT_COPIED = {
    *("build", "quantize", "_tracker", "_inbound_nodes", "_outbound_nodes", "_tracked"),
    *("_layers", "_metrics", "_trainable_variables", "_non_trainable_variables"),
    *("_seed_generators", "_losses", "_loss_ids", "_losses_override", "_call_signature"),
    *("optimizer", "_compile_config", "_functional", "_layout_map"),
}
_NOT_COPIED_PREFIXES = (
    *("_self_name_based", "_self_saveable_object", "_self_setattr_tracking"),
    *("_self_unconditional", "_self_update_uid", "_saved_model_"),
)
_NEVER_COPIED_MODULES = ("keras", "tensorflow", "jax", "jaxlib", "numpy", "builtins", "torch")


def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Copy a layer or model: same class, same weights, no variable shared.

    The copy is as built as the original. It has the weights, the `trainable` flags, the state that
    layers derive from their weights (an adapted `Normalization`) and every other attribute. Layers
    that occur several times in the original occur as often in the copy. Initializers, tensors,
    functions and other objects without variables are shared, so a layer that is not built yet
    will start from the weights that its copy starts from. A seed generator that was made without
    a seed draws a new one, so that dropout in the two differs. The copy is not compiled.

    Neither `get_config` nor class registration is needed, and no file is read or written. Create
    the copy under the strategy scope in which its variables shall live.

    Args:
        layer: a Keras layer or model, built or not.

    Returns:
        A layer of the class of `layer`.

    Raises:
        TypeError: if `layer` is not a Keras layer.

    Example:

    >>> import keras
    >>> from keras_ssl._copying import copy_layer
    >>> encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> copied = copy_layer(encoder)
    >>> bool((copied.get_weights()[0] == encoder.get_weights()[0]).all())
    True
    >>> copied.layers[0] is encoder.layers[0]
    False
    """
    if not isinstance(layer, keras.layers.Layer):
        raise TypeError(f"`layer` must be a Keras layer or model. Received: {layer!r}")
    return _copy(layer, {})


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    """Copy what holds variables or can be changed in place; return anything else as it is."""
    if id(value) in memo:
        return memo[id(value)]
    if isinstance(value, keras.layers.Layer):
        return _copy_layer(value, memo)
    if isinstance(value, keras.Variable):
        copied = _copy_variable(value)
    elif isinstance(value, keras.random.SeedGenerator):
        copied = _copy_seed_generator(value)
    elif isinstance(value, keras.Metric):
        copied = type(value).from_config(value.get_config())
    elif isinstance(value, keras.Operation):  # such as the indexing of a symbolic tensor
        copied = copy.copy(value)
        copied._inbound_nodes, copied._outbound_nodes = [], []
    elif isinstance(value, np.ndarray):
        copied = value.copy()
    elif isinstance(value, (list, tuple, set, dict)):
        copied = _copy_container(value, memo)
    elif isinstance(value, functools.partial):
        parts = (value.func, value.args, value.keywords)
        function, args, keywords = (_copy(part, memo) for part in parts)
        copied = type(value)(function, *args, **keywords)
    elif isinstance(value, types.MethodType):
        copied = types.MethodType(value.__func__, _copy(value.__self__, memo))
    elif isinstance(value, types.FunctionType):
        copied = _copy_function(value, memo)
    else:
        return _copy_object(value, memo)
    memo[id(value)] = copied
    return copied


def _copy_layer(layer: keras.layers.Layer, memo: dict[int, Any]) -> keras.layers.Layer:
    if isinstance(layer, keras.layers.InputLayer):
        copied = memo[id(layer)] = type(layer).from_config(layer.get_config())
        return copied
    # `__new__` of Keras' base class wraps `build`, so the wrapper knows the copy
    copied = keras.layers.Layer.__new__(type(layer))
    ready = set()
    if isinstance(layer, functional_class()):
        functional_class().__init__(copied, *_copy_graph(layer, memo), name=layer.name)
        ready = _attributes_beyond_layer(copied)
    elif isinstance(layer, keras.Sequential):
        parts = [_copy(part, memo) for part in layer._layers]
        keras.Sequential.__init__(copied, parts, name=layer.name)
        ready = _attributes_beyond_layer(copied)
    elif isinstance(layer, keras.Model):
        keras.Model.__init__(copied, name=layer.name)
        ready = _attributes_beyond_layer(copied)
    else:
        keras.layers.Layer.__init__(copied, name=layer.name)
    memo[id(layer)] = copied
    _copy_tracked(layer, copied, memo)
    for name, value in vars(layer).items():
        if name in _NOT_COPIED or name in ready or name.startswith(_NOT_COPIED_PREFIXES):
            continue
        setattr(copied, name, _copy(value, memo))
    if layer._tracker.locked:
        copied._lock_state()
    return copied


def _copy_tracked(
    layer: keras.layers.Layer, copied: keras.layers.Layer, memo: dict[int, Any]
) -> None:
    """Give the copy its variables and sublayers in the order in which the original has them."""
    copied._tracker.unlock()
    for store, (_, values) in layer._tracker.config.items():
        for value in list(values):
            part = _copy(value, memo)
            if not copied._tracker.is_in_store(store, part):
                copied._tracker.add_to_store(store, part)


def _copy_graph(model: keras.Model, memo: dict[int, Any]) -> tuple[Any, Any]:
    """Inputs and outputs of a functional model, computed by copies of its layers."""
    inputs = keras.tree.map_structure(
        lambda x: _copy(x._keras_history.operation, memo).output, model._inputs_struct
    )
    outputs = model._run_through_graph(inputs, operation_fn=lambda part: _copy(part, memo))
    return inputs, outputs


def _copy_variable(variable: keras.Variable) -> keras.Variable:
    # A frozen variable is still watched by TensorFlow's gradient tape, so it can be unfrozen.
    trainable = getattr(variable._value, "trainable", variable.trainable)
    copied = keras.Variable(
        variable.numpy(),
        dtype=variable.dtype,
        trainable=trainable,
        autocast=variable._autocast,
        aggregation=variable.aggregation,
        synchronization=variable.synchronization,
        name=variable.name,
    )
    copied.trainable = variable.trainable
    copied._path = variable.path
    copied.regularizer, copied.constraint = variable.regularizer, variable.constraint
    return copied


def _copy_seed_generator(generator: keras.random.SeedGenerator) -> keras.random.SeedGenerator:
    settings = {"name": generator.name, "backend": generator.backend}
    copied = type(generator)(generator._initial_seed, **settings)
    if generator._initial_seed is not None:
        copied.state.assign(generator.state)
    return copied


def _copy_container(value: Any, memo: dict[int, Any]) -> Any:
    """A list, tuple, set or dictionary; a tracked one becomes plain, and is tracked when set."""
    if isinstance(value, dict):
        # in place of the items, so that an `OrderedDict` or `defaultdict` stays one
        kind = dict if type(value).__name__ == "TrackedDict" else type(value)
        items = {_copy(key, memo): _copy(part, memo) for key, part in value.items()}
        return kind(items) if kind is dict else _refilled(value, items)
    parts = [_copy(part, memo) for part in value]
    if hasattr(value, "_fields"):
        return type(value)(*parts)
    kinds = (kind for kind in (list, tuple, set) if isinstance(value, kind))
    return next(kinds)(parts)


def _refilled(value: dict, items: dict) -> dict:
    copied = copy.copy(value)
    copied.clear()
    copied.update(items)
    return copied


def _copy_function(function: types.FunctionType, memo: dict[int, Any]) -> types.FunctionType:
    """Copy a function only if its closure holds something that is copied, such as a layer."""
    memo[id(function)] = function  # a function may refer to itself
    cells = function.__closure__ or ()
    copied = [_copy_cell(cell, memo) for cell in cells]
    if all(new is old for new, old in zip(copied, cells, strict=True)):
        return function
    names = (function.__code__, function.__globals__, function.__name__, function.__defaults__)
    new = types.FunctionType(*names, tuple(copied))
    return functools.update_wrapper(new, function)


def _copy_cell(cell: types.CellType, memo: dict[int, Any]) -> types.CellType:
    try:
        content = cell.cell_contents
    except ValueError:  # empty
        return cell
    if not isinstance(content, (keras.layers.Layer, keras.Variable)):
        return cell
    return types.CellType(_copy(content, memo))


def _copy_object(value: Any, memo: dict[int, Any]) -> Any:
    """Copy an object of the user's own class if one of its attributes must be copied."""
    module = type(value).__module__.partition(".")[0]
    if module in _NEVER_COPIED_MODULES or isinstance(value, type) or not hasattr(value, "__dict__"):
        return value
    memo[id(value)] = value  # in case its attributes refer to it
    attributes = {name: _copy(part, memo) for name, part in vars(value).items()}
    if all(part is vars(value)[name] for name, part in attributes.items()):
        return value
    copied = copy.copy(value)
    vars(copied).update(attributes)
    memo[id(value)] = copied
    return copied


def _attributes_beyond_layer(model: keras.Model) -> set[str]:
    """What a new model has for its graph and for `compile` and `fit`: its own, not copied."""
    return set(vars(model)) - set(vars(keras.layers.Layer()))


@functools.cache
def functional_class() -> type:
    """The class of functional models, for which Keras has no public name."""
    inputs = keras.Input((1,))
    return type(keras.Model(inputs, inputs))
