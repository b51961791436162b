"""LoRA within networks that are made of their arguments: what is enabled where, and again."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl._keras_internals import all_layers


def enable_lora(
    model: keras.Model, rank: int, lora_alpha: float | None, names: Sequence[str]
) -> None:
    """Call `enable_lora` of the layers of some names, and freeze all other weights."""
    targets = [one for one in all_layers(model)[1:] if one.name in names and one.weights]
    if missing := sorted(set(names) - {one.name for one in targets}):
        raise ValueError(
            f"`target_layer_names` must be names of layers within the network. "
            f"Received: {missing}, of which there are none"
        )
    for layer in targets:
        if not hasattr(layer, "enable_lora"):
            raise ValueError(
                "`target_layer_names` must name layers that have `enable_lora`. "
                f"Received: {layer.name!r}, a {type(layer).__name__}"
            )
        layer.enable_lora(rank, lora_alpha=lora_alpha)
    _freeze_others(model)


def _freeze_others(model: keras.Model) -> None:
    for variable in model.trainable_variables:
        variable.trainable = _is_update(variable)


def _is_update(variable: keras.Variable) -> bool:
    return variable.name.startswith("lora_")


def lora_of(model: keras.Model) -> dict[str, Any]:
    """Return what `enable_again` does, for the configuration of the model; empty without LoRA."""
    layers = {}
    for layer in all_layers(model)[1:]:
        if getattr(layer, "lora_enabled", False):
            settings = {"rank": layer.lora_rank, "lora_alpha": layer.lora_alpha}
            if hasattr(layer, "lora_targets"):
                settings["targets"] = list(layer.lora_targets)
            layers[_place(model, layer)] = settings
    if not layers:
        return {}
    is_alone = all(_is_update(one) for one in model.trainable_variables)
    return {"lora": {"layers": layers, "freezes_others": is_alone}}


def enable_again(model: keras.Model, lora: dict[str, Any] | None) -> None:
    """Enable LoRA as the model had it whose configuration `lora_of` returned."""
    if lora is None:
        return
    able = [one for one in all_layers(model)[1:] if one.built and hasattr(one, "enable_lora")]
    by_place = {_place(model, one): one for one in able}
    for place, settings in lora["layers"].items():
        by_place[place].enable_lora(**settings)
    if lora["freezes_others"]:
        _freeze_others(model)


def _place(model: keras.Model, layer: keras.layers.Layer) -> str:
    """Return the path of a layer within its model, whose own name may differ."""
    return layer.path.removeprefix(f"{model.path}/")
