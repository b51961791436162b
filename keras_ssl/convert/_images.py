"""Vision transformers in folders of the Hugging Face layout."""

import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.convert._checks import assign_all, check_free
from keras_ssl.convert._files import CONFIG, PREPROCESSOR, listed, read_tensors, write_folder
from keras_ssl.convert._pixels import preprocessor, rescaling
from keras_ssl.convert._tensors import BIAS, POSITIONS, parts_of
from keras_ssl.layers import MaskToken, PatchEmbedding
from keras_ssl.layers.attention.positions import interpolation_matrix
from keras_ssl.networks import VisionTransformer

# class of the network, and what its tensors begin with in a model that has a head
ARCHITECTURES = {
    "vit": ("ViTModel", "vit."),
    "vit_mae": ("ViTMAEModel", "vit."),
    "beit": ("BeitModel", "beit."),
    "dinov2": ("Dinov2Model", "dinov2."),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", "dinov2_with_registers."),
}
_DINOV2 = ("dinov2", "dinov2_with_registers")
_NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")
# what a configuration means that lacks an entry, as older ones do
_DEFAULTS = {
    "num_channels": 3,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-12,
    "qkv_bias": True,
    "intermediate_size": 3072,
    "drop_path_rate": 0.0,
}
_DEFAULTS_OF = {
    "vit": {},
    "vit_mae": {},
    "beit": {
        "drop_path_rate": 0.1,
        "use_absolute_position_embeddings": False,
        "use_relative_position_bias": False,
        "use_shared_relative_position_bias": False,
        "layer_scale_init_value": 0.1,
        "use_mean_pooling": True,
    },
    "dinov2": {
        "layer_norm_eps": 1e-6,
        "mlp_ratio": 4,
        "layerscale_value": 1.0,
        "use_swiglu_ffn": False,
        "num_register_tokens": 0,
    },
}
_DEFAULTS_OF["dinov2_with_registers"] = {**_DEFAULTS_OF["dinov2"], "num_register_tokens": 4}
# names there and here; "gelu" is the exact function in both
_ACTIVATIONS = {
    name: name
    for name in ("gelu", "quick_gelu", "relu", "silu", "selu", "tanh", "sigmoid", "mish", "relu6")
} | {"swish": "silu", "linear": "linear"}
_HEADS = re.compile(
    r"(classifier|decoder|decode_head|auxiliary_head|lm_head|layernorm|fpn\d|pooler)\."
)
# numbers that are no weights: older files hold them
_NO_WEIGHTS = re.compile(r"relative_position_index$")
_MASK_TOKEN = "embeddings.mask_token"
_FREE = (
    *("input_shape", "pooling", "final_norm", "positions", "drop_path_rate", "dropout_rate"),
    *("attention_dropout_rate", "include_rescaling", "pixel_mean", "pixel_std"),
    *("seed", "name", "dtype", "trainable"),
)


def read(folder: Path, config: dict[str, Any], kwargs: dict[str, Any]) -> VisionTransformer:
    """Return the network of a folder.

    Args:
        folder: the folder.
        config: its configuration.
        kwargs: arguments of the network that weights do not depend on.
    """
    check_free(kwargs, _FREE)
    config = _with_defaults(config)
    architecture = config["model_type"]
    tensors, heads = _split_heads(read_tensors(folder), architecture)
    arguments = _arguments(config)
    norm = "layernorm"
    if arguments["final_norm"] == "features":
        norm, arguments["final_norm"] = _beit_norm(tensors, heads, kwargs)
    arguments |= rescaling(folder, kwargs)
    if "input_shape" in kwargs:
        tensors = _resample(tensors, arguments, kwargs)
    if "positions" in kwargs and architecture != "vit_mae":
        raise ValueError(
            "`positions` can be passed for `vit_mae` alone. Received: "
            f"positions={kwargs['positions']!r} for {architecture!r}"
        )
    encoder = VisionTransformer(**{**arguments, **kwargs})
    left_out = _assign(encoder, architecture, norm, tensors)
    if left_out := left_out | set(heads):
        warnings.warn(f"Not part of the encoder, and not read: {listed(left_out)}", stacklevel=3)
    return encoder


def read_mask_token(folder: Path, config: dict[str, Any]) -> MaskToken:
    """Return the mask token of a folder, given its configuration."""
    config = _with_defaults(config)
    tensors, _ = _split_heads(read_tensors(folder), config["model_type"])
    if _MASK_TOKEN not in tensors:
        raise ValueError(
            f"`folder` must hold a tensor `{_MASK_TOKEN}`. Received: folder={str(folder)!r}"
        )
    layer = MaskToken(name="mask_token")
    width = checks.integer("hidden_size", config["hidden_size"], minimum=1)
    if tensors[_MASK_TOKEN].size != width:
        raise ValueError(
            f"`{_MASK_TOKEN}` must have {width} numbers. "
            f"Received: shape {tensors[_MASK_TOKEN].shape}"
        )
    layer.build([(None, None, width), (None, None)])
    layer.token.assign(tensors[_MASK_TOKEN].reshape(width).astype("float32"))
    return layer


def write(
    encoder: VisionTransformer, folder: Path, architecture: str, mask_token: MaskToken | None
) -> None:
    """Write a network as a folder.

    Args:
        encoder: the network.
        folder: folder to write.
        architecture: the `model_type`.
        mask_token: the mask token, if there is one.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"`architecture` must be one of {list(ARCHITECTURES)}. "
            f"Received: architecture={architecture!r}"
        )
    arguments = encoder.get_config()
    documents = {CONFIG: _config(arguments, architecture, mask_token is not None)}
    if arguments["include_rescaling"]:
        documents[PREPROCESSOR] = preprocessor(arguments)
    has_pooler = arguments["final_norm"] == "features"
    norm = "pooler.layernorm" if has_pooler else "layernorm"
    tensors = {}
    for part in parts_of(encoder, architecture, norm):
        tensors |= part.read()
    tensors |= _mask_tokens(mask_token, architecture, arguments["width"])
    write_folder(folder, documents, tensors)


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with defaults for what it lacks."""
    if missing := [name for name in _NEEDED if name not in config]:
        raise ValueError(f"`{CONFIG}` lacks {listed(missing)}. Received: {sorted(config)}")
    return {**_DEFAULTS, **_DEFAULTS_OF[config["model_type"]], **config}


def _split_heads(
    tensors: dict[str, np.ndarray], architecture: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the tensors of the encoder, without prefix, and those of a head beside it."""
    prefix = ARCHITECTURES[architecture][1]
    own = {name[len(prefix) :]: x for name, x in tensors.items() if name.startswith(prefix)}
    if own:
        others = {name: x for name, x in tensors.items() if not name.startswith(prefix)}
    else:
        own, others = tensors, {}
    if unknown := [name for name in others if not _HEADS.match(name)]:
        raise ValueError(f"The file has unknown tensors: {listed(unknown)}")
    return own, others


def _arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the network that a configuration describes."""
    architecture = config["model_type"]
    width = checks.integer("hidden_size", config["hidden_size"], minimum=1)
    heads = checks.integer("num_attention_heads", config["num_attention_heads"], minimum=1)
    if config["hidden_act"] not in _ACTIVATIONS:
        raise ValueError(
            f"`hidden_act` must be one of {list(_ACTIVATIONS)}. "
            f"Received: hidden_act={config['hidden_act']!r}"
        )
    if config.get("head_dim", width // heads) != width // heads:
        raise ValueError(
            f"`head_dim` must be hidden_size / num_attention_heads, {width // heads}. "
            f"Received: head_dim={config['head_dim']}"
        )
    if config.get("pruned_heads"):
        raise ValueError(
            "Pruned heads cannot be read: all blocks have as many. "
            f"Received: pruned_heads={config['pruned_heads']}"
        )
    if config["hidden_dropout_prob"] or (architecture in _DINOV2 and config["drop_path_rate"]):
        warnings.warn(
            "Training differs from `transformers`: `dropout_rate` is applied to outputs and "
            "hidden layers, not to the tokens at the start, and `drop_path_rate` increases from "
            f"block to block. Received: hidden_dropout_prob={config['hidden_dropout_prob']}, "
            f"drop_path_rate={config['drop_path_rate']}",
            stacklevel=4,
        )
    image_size = checks.image_size("image_size", config["image_size"])
    channels = checks.integer("num_channels", config["num_channels"], minimum=1)
    arguments = {
        "input_shape": (*image_size, channels),
        "patch_size": checks.image_size("patch_size", config["patch_size"]),
        "width": width,
        "depth": config["num_hidden_layers"],
        "num_heads": heads,
        "hidden_dim": config["intermediate_size"],
        "activation": _ACTIVATIONS[config["hidden_act"]],
        "epsilon": config["layer_norm_eps"],
        "dropout_rate": config["hidden_dropout_prob"],
        "attention_dropout_rate": config["attention_probs_dropout_prob"],
        "use_bias": config["qkv_bias"],
        "final_norm": "tokens",
        "drop_path_rate": config["drop_path_rate"],
    }
    if architecture == "beit":
        arguments |= _beit_arguments(config)
    if architecture in _DINOV2:
        hidden = int(width * config["mlp_ratio"])
        gated = bool(config["use_swiglu_ffn"])
        arguments |= {
            "hidden_dim": _swiglu_width(hidden) if gated else hidden,
            "gated": gated,
            "layer_scale": config["layerscale_value"],
            "registers": config["num_register_tokens"],
            "antialias_positions": architecture == "dinov2_with_registers",
        }
        if gated:
            arguments["activation"] = "silu"
    return arguments


def _beit_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that BEiT alone has; its queries and values always have biases."""
    shared, block = (config[f"use_{kind}relative_position_bias"] for kind in ("shared_", ""))
    if shared and block:
        raise ValueError(
            "A relative bias is either one in each block or one in all. Received: "
            "use_relative_position_bias=True, use_shared_relative_position_bias=True"
        )
    scale = config["layer_scale_init_value"]
    has_mean = config["use_mean_pooling"]
    return {
        "positions": "learned" if config["use_absolute_position_embeddings"] else None,
        "relative_bias": "shared" if shared else "block" if block else None,
        "layer_scale": scale if scale > 0 else None,
        "use_bias": True,
        "pooling": "mean" if has_mean else "class",
        "final_norm": "features" if has_mean else "tokens",
    }


def _beit_norm(
    tensors: dict[str, np.ndarray], heads: dict[str, np.ndarray], kwargs: dict[str, Any]
) -> tuple[str, str | None]:
    """Return name and place of the norm of a BEiT with mean pooling, which its head may have."""
    if "pooler.layernorm.weight" in tensors or "final_norm" in kwargs:
        return "pooler.layernorm", "features"
    if "layernorm.weight" not in heads:
        raise ValueError(
            "The file lacks the normalization of the features: pooler.layernorm.weight, or "
            "layernorm.weight of a head. For an encoder without one, pass `final_norm=None`. "
            f"Received: heads {listed(heads)}"
        )
    for name in ("layernorm.weight", "layernorm.bias"):
        if name in heads:
            tensors[name] = heads.pop(name)
    return "layernorm", "tokens"


def _swiglu_width(hidden: int) -> int:
    """Return the width of the hidden layer with a gate in place of one of width `hidden`."""
    return (int(hidden * 2 / 3) + 7) // 8 * 8


def _resample(
    tensors: dict[str, np.ndarray], arguments: dict[str, Any], kwargs: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Return tensors with positions and relative biases for images of another size."""
    shape, own = tuple(kwargs["input_shape"]), arguments["input_shape"]
    if shape[2:] != own[2:] or "positions" in kwargs:
        raise ValueError(
            f"`input_shape` must be (height, width, {own[2]}), without `positions`. "
            f"Received: input_shape={shape}, positions={kwargs.get('positions')!r}"
        )
    patches = PatchEmbedding(arguments["patch_size"], 1)
    grids = [patches.grid((None, *one)) for one in (own, shape)]
    antialias = arguments.get("antialias_positions", False)
    found = dict(tensors)
    for name, tensor in tensors.items():
        if name == POSITIONS and tensor.shape[1:2] == (1 + math.prod(grids[0]),):
            matrices = [
                interpolation_matrix(*sides, antialias) for sides in zip(*grids, strict=True)
            ]
            moved = _apply(matrices, tensor[0, 1:].astype("float32"), grids[0])
            found[name] = np.concatenate([tensor[0, :1], moved])[None]
        sides = [tuple(2 * side - 1 for side in grid) for grid in grids]
        if name.endswith(BIAS) and tensor.shape[:1] == (math.prod(sides[0]) + 3,):
            matrices = [_linear_matrix(*pair) for pair in zip(*sides, strict=True)]
            moved = _apply(matrices, tensor[:-3].astype("float32"), sides[0])
            found[name] = np.concatenate([moved, tensor[-3:]])
    return found


def _apply(matrices: list[np.ndarray], table: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return a table `(rows * columns, width)` of a grid for another one."""
    plane = table.reshape(*grid, -1)
    plane = np.einsum("ar,bc,rcd->abd", *matrices, plane, optimize=True)
    return plane.reshape(-1, table.shape[-1]).astype("float32")


def _linear_matrix(old: int, new: int) -> np.ndarray:
    """Return the matrix `(new, old)` of linear interpolation, as in PyTorch."""
    places = (np.arange(new) + 0.5) * old / new - 0.5
    return np.stack([np.interp(places, np.arange(old), row) for row in np.eye(old)], axis=1)


def _assign(
    encoder: VisionTransformer, architecture: str, norm: str, tensors: dict[str, np.ndarray]
) -> set[str]:
    """Set all weights of an encoder, or none; return the names of tensors that were not read."""
    parts = parts_of(encoder, architecture, norm)
    expected = {name for part in parts for name in part.read()}
    left_out = {
        name
        for name in set(tensors) - expected
        if name.startswith("pooler.")
        or name == _MASK_TOKEN
        or (encoder.norm is None and name.startswith(f"{norm}."))
    }
    assign_all(parts, tensors, architecture, left_out, _NO_WEIGHTS)
    return left_out


def _config(arguments: dict[str, Any], architecture: str, has_mask_token: bool) -> dict[str, Any]:
    """Return the configuration of an encoder, or raise if the architecture has no such thing."""
    _check_arguments(arguments, architecture)
    width, hidden = arguments["width"], arguments["hidden_dim"] or 4 * arguments["width"]
    names = {ours: theirs for theirs, ours in _ACTIVATIONS.items() if theirs != "swish"}
    config = {
        "model_type": architecture,
        "architectures": [ARCHITECTURES[architecture][0]],
        "hidden_size": width,
        "num_hidden_layers": arguments["depth"],
        "num_attention_heads": arguments["num_heads"],
        "hidden_act": names[arguments["activation"]],
        "hidden_dropout_prob": float(arguments["dropout_rate"]),
        "attention_probs_dropout_prob": float(arguments["attention_dropout_rate"]),
        "layer_norm_eps": float(arguments["epsilon"]),
        "image_size": _one_or_two(arguments["input_shape"][:2]),
        "patch_size": _one_or_two(checks.image_size("patch_size", arguments["patch_size"])),
        "num_channels": arguments["input_shape"][2],
    }
    if architecture in _DINOV2:
        config |= {
            "mlp_ratio": _mlp_ratio(width, hidden, arguments["gated"]),
            "use_swiglu_ffn": arguments["gated"],
            "layerscale_value": float(arguments["layer_scale"]),
            "drop_path_rate": float(arguments["drop_path_rate"]),
        }
        if arguments["gated"]:
            config["hidden_act"] = "gelu"  # which has no meaning there
    else:
        config["intermediate_size"] = hidden
    if architecture == "beit":
        scale = arguments["layer_scale"]
        config |= {
            "use_mask_token": has_mask_token,
            "use_absolute_position_embeddings": arguments["positions"] is not None,
            "use_relative_position_bias": arguments["relative_bias"] == "block",
            "use_shared_relative_position_bias": arguments["relative_bias"] == "shared",
            # only whether it is positive matters where the scales are stored
            "layer_scale_init_value": 0.0 if scale is None else max(float(scale), 1e-6),
            "use_mean_pooling": arguments["final_norm"] == "features",
            "drop_path_rate": float(arguments["drop_path_rate"]),
        }
    else:
        config["qkv_bias"] = arguments["use_bias"]
    if architecture == "dinov2":
        config["use_mask_token"] = has_mask_token
    if architecture == "dinov2_with_registers":
        config["num_register_tokens"] = arguments["registers"]
    return config


def _check_arguments(arguments: dict[str, Any], architecture: str) -> None:
    """Raise a `ValueError` that names all that an architecture cannot be."""
    is_beit, is_dinov2 = architecture == "beit", architecture in _DINOV2
    has_registers = architecture == "dinov2_with_registers"
    problems = {
        "class_token": not arguments["class_token"],
        "norm": arguments["norm"] != "layer",
        "query_key_norm": arguments["query_key_norm"] is not None,
        "activation": arguments["activation"] not in _ACTIVATIONS.values(),
        "registers": bool(arguments["registers"]) != has_registers,
        "positions": arguments["positions"] is None and not is_beit,
        "relative_bias": arguments["relative_bias"] is not None and not is_beit,
        "first_norm": arguments["first_norm"],
        "patch_bias": not arguments["patch_bias"],
        "gated": arguments["gated"] and not (is_dinov2 and arguments["activation"] == "silu"),
        "layer_scale": not is_beit and (arguments["layer_scale"] is not None) != is_dinov2,
        "use_bias": is_beit and not arguments["use_bias"],
        "pooling": arguments["pooling"] == "attention"
        or (
            is_beit and (arguments["pooling"] == "mean") != (arguments["final_norm"] == "features")
        ),
        "final_norm": arguments["final_norm"] is None
        or (arguments["final_norm"] == "features" and not is_beit),
    }
    if wrong := [name for name, is_wrong in problems.items() if is_wrong]:
        received = ", ".join(f"{name}={arguments[name]!r}" for name in wrong)
        raise ValueError(
            f"{architecture!r} has no place for what these arguments of the encoder make. Choose "
            f"another `architecture`. Received: {received}"
        )


def _mlp_ratio(width: int, hidden: int, gated: bool) -> int:
    """Return the ratio that leads to the width of the hidden layer."""
    for ratio in range(1, 2 + 2 * (hidden + 8) // width):
        if (_swiglu_width(width * ratio) if gated else width * ratio) == hidden:
            return ratio
    raise ValueError(
        "`hidden_dim` must be a multiple of `width`, or with a gate two thirds of one, rounded up "
        f"to a multiple of 8. Received: hidden_dim={hidden}, width={width}"
    )


def _one_or_two(size: tuple[int, int]) -> int | list[int]:
    return size[0] if size[0] == size[1] else list(size)


def _mask_tokens(
    mask_token: MaskToken | None, architecture: str, width: int
) -> dict[str, np.ndarray]:
    """Return the mask token by name, if the architecture has one."""
    if mask_token is None:
        # this architecture has one always
        needed = architecture == "dinov2_with_registers"
        return {_MASK_TOKEN: np.zeros((1, width), "float32")} if needed else {}
    if not isinstance(mask_token, MaskToken):
        raise TypeError(
            "`mask_token` must be a `layers.MaskToken`. "
            f"Received: mask_token={mask_token!r} of type {type(mask_token)}"
        )
    if not mask_token.built or mask_token.token.shape[0] != width:
        raise ValueError(
            f"`mask_token` must be built with the encoder's width of {width}. "
            f"Received: mask_token={mask_token!r}, built={mask_token.built}"
        )
    if architecture in ("vit", "vit_mae"):
        raise ValueError(f"{architecture!r} has no mask token. Received: mask_token={mask_token!r}")
    token = ops.convert_to_numpy(mask_token.token)
    return {_MASK_TOKEN: token.reshape((1, 1, width) if architecture == "beit" else (1, width))}
