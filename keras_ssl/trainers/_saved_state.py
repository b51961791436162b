"""What the file of a trainer holds beside weights: shapes of its data, and seeds."""

from typing import TYPE_CHECKING, Any

import keras

from keras_ssl._quantized import read_quantization

if TYPE_CHECKING:
    from keras_ssl.trainers.base import SelfSupervisedModel


def build_config_of(trainer: "SelfSupervisedModel") -> dict[str, Any]:
    """Return the shapes and dtypes of a batch that a trainer was built for."""
    specs = of_any_batch_size(trainer._state.step_specs)
    # Keras writes only shapes and dtypes
    are_sparse = [spec.sparse for spec in keras.tree.flatten(specs)]
    config = {"step": keras.saving.serialize_keras_object(specs), "sparse": are_sparse}
    if quantization := read_quantization(trainer):
        config["quantization"] = quantization
    return config


def specs_in(config: dict[str, Any]) -> tuple[Any, ...]:
    """Return the `keras.KerasTensor`s that `build_config_of` has written."""
    data = keras.saving.deserialize_keras_object(config["step"])
    are_sparse = config.get("sparse", [False] * len(keras.tree.flatten(data)))
    specs = [
        keras.KerasTensor(spec.shape, spec.dtype, sparse=is_sparse)
        for spec, is_sparse in zip(keras.tree.flatten(data), are_sparse, strict=True)
    ]
    return tuple(keras.tree.pack_sequence_as(data, specs))


def of_any_batch_size(specs: Any) -> Any:
    """Return the same specs for batches of any size: a share of one example may be too few."""
    return keras.tree.map_structure(
        lambda spec: keras.KerasTensor((None, *spec.shape[1:]), spec.dtype, sparse=spec.sparse),
        specs,
    )


def seed_states(trainer: "SelfSupervisedModel") -> list[keras.Variable]:
    """Return the states of all seed generators, which Keras counts as variables, not weights."""
    weights = {id(v) for v in trainer.weights}
    return [
        v for v in trainer.variables if v.name == "seed_generator_state" and id(v) not in weights
    ]
