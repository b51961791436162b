"""CLIP in folders of the Hugging Face layout: both towers, and the learned scale."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks, layers
from keras_ssl.convert._checks import assign_all, check_free
from keras_ssl.convert._files import CONFIG, PREPROCESSOR, listed, read_tensors, write_folder
from keras_ssl.convert._pixels import preprocessor, rescaling
from keras_ssl.convert._tensors import Attention, Variable, dense_parts, norm_parts, patch_parts
from keras_ssl.convert._text import activation_of, their_activation
from keras_ssl.networks import GPT2, VisionTransformer

if TYPE_CHECKING:  # trainers import TensorFlow, also on other backends
    from keras_ssl.trainers import Tower

ARCHITECTURE = "clip"
Towers = tuple["Tower", "Tower", layers.LogitScale]
_FREE = ("include_rescaling", "pixel_mean", "pixel_std", "seed", "dtype")
# what a configuration means that lacks an entry
_SHARED = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "attention_dropout": 0.0}
_DEFAULTS = {
    "vision_config": {
        **_SHARED,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 32,
    },
    "text_config": {
        **_SHARED,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "eos_token_id": 49407,
    },
}
# in files older than the number of the end, where the largest id is that of the end
_LARGEST = 2
_NO_WEIGHTS = re.compile(r"embeddings\.position_ids$")
_OF_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
# arguments of the encoders, and the values that CLIP has
_VISION = {
    "class_token": True,
    "registers": 0,
    "positions": "learned",
    "relative_bias": None,
    "pooling": "class",
    "final_norm": "tokens",
    "first_norm": True,
    "patch_bias": False,
    "gated": False,
    "norm": "layer",
    "layer_scale": None,
    "query_key_norm": None,
    "use_bias": True,
}
_TEXT = {"pooling": "end", "use_bias": True}


def read(folder: Path, config: dict[str, Any], kwargs: dict[str, Any]) -> Towers:
    """Return the towers of images and texts of a folder, and the scale of their products.

    Args:
        folder: the folder.
        config: its configuration.
        kwargs: arguments of the networks that weights do not depend on.
    """
    from keras_ssl.trainers import Tower

    check_free(kwargs, _FREE)
    tensors = read_tensors(folder)
    like = {"dtype": kwargs.get("dtype")}
    of_both = {name: one for name, one in kwargs.items() if name in ("seed", "dtype")}
    vision, text = (_entries(config, name) for name in ("vision_config", "text_config"))
    arguments = {**_of_vision(vision), **rescaling(folder, kwargs), **kwargs}
    width = checks.integer("projection_dim", config.get("projection_dim", 512), minimum=1)
    towers = (
        Tower(VisionTransformer(**arguments), width, name="image_tower", **like),
        Tower(GPT2(**_of_text(text), **of_both), width, name="text_tower", **like),
        layers.LogitScale(),
    )
    build(*towers)
    assign_all(_parts(*towers), tensors, ARCHITECTURE, set(), _NO_WEIGHTS)
    return towers


def build(image: "Tower", text: "Tower", logit_scale: layers.LogitScale) -> None:
    """Create the weights of towers whose encoders have theirs."""
    image.build((None, *image.encoder.get_config()["input_shape"]))
    text.build((None, text.encoder.max_length))
    logit_scale.build(())


def write(image: "Tower", text: "Tower", logit_scale: layers.LogitScale, folder: Path) -> None:
    """Write towers and scale as a folder."""
    _check(image, text, logit_scale)
    a = image.encoder.get_config()
    documents = {
        CONFIG: {
            "model_type": ARCHITECTURE,
            "architectures": ["CLIPModel"],
            "projection_dim": image.width,
            "vision_config": {**_config_of_vision(a), "projection_dim": image.width},
            "text_config": {**_config_of_text(text.encoder), "projection_dim": image.width},
        }
    }
    if a["include_rescaling"]:
        documents[PREPROCESSOR] = {
            **preprocessor(a),
            "image_processor_type": "CLIPImageProcessor",
            "do_center_crop": False,
        }
    build(image, text, logit_scale)
    tensors: dict[str, np.ndarray] = {}
    for part in _parts(image, text, logit_scale):
        tensors |= part.read()
    write_folder(folder, documents, tensors)


def _entries(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the configuration of an encoder; older files may have a second one, which counts."""
    key = f"{name}_dict" if config.get(f"{name}_dict") else name
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f"`{key}` in `{CONFIG}` must be an object. Received: {key}={found!r}")
    return {**_DEFAULTS[name], **found}


def _of_vision(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the encoder of images that a configuration describes."""
    channels = checks.integer("num_channels", config["num_channels"], minimum=1)
    return {
        **_VISION,
        "input_shape": (*checks.image_size("image_size", config["image_size"]), channels),
        "patch_size": checks.image_size("patch_size", config["patch_size"]),
        **_sizes(config),
    }


def _of_text(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the encoder of texts that a configuration describes."""
    end = config["eos_token_id"]
    if isinstance(end, bool) or not isinstance(end, int):
        raise ValueError(f"`eos_token_id` must be one integer. Received: eos_token_id={end!r}")
    return {
        **_TEXT,
        "vocabulary_size": config["vocab_size"],
        "max_length": config["max_position_embeddings"],
        "end_token": None if end == _LARGEST else end,
        "dropout_rate": 0.0,
        **_sizes(config),
    }


def _sizes(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that both encoders have."""
    return {
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "hidden_dim": config["intermediate_size"],
        "activation": activation_of("hidden_act", config["hidden_act"]),
        "epsilon": config["layer_norm_eps"],
        "attention_dropout_rate": config["attention_dropout"],
    }


def _config_of_vision(a: dict[str, Any]) -> dict[str, Any]:
    height, width, channels = a["input_shape"]
    patch = checks.image_size("patch_size", a["patch_size"])
    if height != width or patch[0] != patch[1]:
        raise ValueError(
            f"{ARCHITECTURE!r} has square images and patches. Received: images of "
            f"{height}x{width}, patch_size={a['patch_size']}"
        )
    return {
        "model_type": "clip_vision_model",
        "image_size": height,
        "patch_size": patch[0],
        "num_channels": channels,
        **_published_sizes(a),
    }


def _config_of_text(encoder: GPT2) -> dict[str, Any]:
    a = encoder.get_config()
    if a["end_token"] == _LARGEST:
        raise ValueError(
            f"`end_token` must not be {_LARGEST}, which in {ARCHITECTURE!r} stands for the largest "
            f"id of each text. Received: end_token={a['end_token']}"
        )
    return {
        "model_type": "clip_text_model",
        "vocab_size": a["vocabulary_size"],
        "max_position_embeddings": a["max_length"],
        "eos_token_id": _LARGEST if a["end_token"] is None else a["end_token"],
        **_published_sizes(a),
    }


def _published_sizes(a: dict[str, Any]) -> dict[str, Any]:
    return {
        "hidden_size": a["width"],
        "num_hidden_layers": a["depth"],
        "num_attention_heads": a["num_heads"],
        "intermediate_size": a["hidden_dim"] or 4 * a["width"],
        "hidden_act": their_activation(a["activation"]),
        "layer_norm_eps": float(a["epsilon"]),
        "attention_dropout": float(a["attention_dropout_rate"]),
    }


def _check(image: "Tower", text: "Tower", logit_scale: layers.LogitScale) -> None:
    """Raise unless both towers and the scale are such as CLIP has."""
    for tower, kind, name in ((image, VisionTransformer, "vit"), (text, GPT2, "text_transformer")):
        if type(tower.encoder) is not kind:
            raise TypeError(
                f"The encoder of {tower.name!r} must be a `networks.{name}`. "
                f"Received: {tower.encoder!r} of type {type(tower.encoder)}"
            )
    wrong = []
    for encoder, expected in ((image.encoder, _VISION), (text.encoder, _TEXT)):
        found = encoder.get_config()
        wrong += [
            f"{name}={found[name]!r} of {encoder.name!r}, expected {value!r}"
            for name, value in expected.items()
            if found[name] != value
        ]
    if wrong:
        raise ValueError(
            f"{ARCHITECTURE!r} has no place for what these arguments of the encoders make. Make "
            f"encoders with the expected ones. Received: {listed(wrong)}"
        )
    if image.width is None or image.width != text.width:
        raise ValueError(
            f"{ARCHITECTURE!r} has linear maps to a shared space. Expected a `width`. "
            f"Received: widths {image.width} and {text.width}"
        )
    if logit_scale.bias is not None:
        raise ValueError(
            f"{ARCHITECTURE!r} has no bias. Expected `layers.LogitScale(bias=None)`, as of "
            "`trainers.CLIP`. Received: a scale with a bias"
        )


def _parts(image: "Tower", text: "Tower", logit_scale: layers.LogitScale) -> list[Any]:
    """Return what reads and sets the tensors of a CLIP under their published names."""
    vision, of_vision = image.encoder, "vision_model.embeddings"
    embeddings, of_text = text.encoder.position_embedding.embeddings, "text_model.embeddings"
    return [
        Variable(
            f"{of_vision}.class_embedding",
            vision.class_token.tokens,
            lambda x: x[0],
            lambda x: x[None],
        ),
        *patch_parts(f"{of_vision}.patch_embedding", vision.patch_embedding),
        Variable(f"{of_vision}.position_embedding.weight", vision.position_embedding.embeddings),
        *norm_parts("vision_model.pre_layrnorm", vision.first_norm),
        *_parts_of_blocks("vision_model", vision),
        *norm_parts("vision_model.post_layernorm", vision.norm),
        Variable(f"{of_text}.token_embedding.weight", text.encoder.token_embedding.embeddings),
        Variable(f"{of_text}.position_embedding.weight", embeddings),
        *_parts_of_blocks("text_model", text.encoder),
        *norm_parts("text_model.final_layer_norm", text.encoder.norm),
        *(
            Variable(f"{name}.weight", tower.projection.kernel, np.transpose, np.transpose)
            for name, tower in (("visual_projection", image), ("text_projection", text))
        ),
        Variable("logit_scale", logit_scale.log_scale),
    ]


def _parts_of_blocks(model: str, encoder: VisionTransformer | GPT2) -> list[Any]:
    parts: list[Any] = []
    for number, block in enumerate(encoder.blocks):
        name = f"{model}.encoder.layers.{number}"
        parts += [
            Attention(f"{name}.self_attn", block.attention, _OF_ATTENTION),
            *norm_parts(f"{name}.layer_norm1", block.attention_residual.norm),
            *norm_parts(f"{name}.layer_norm2", block.feed_forward_residual.norm),
            *dense_parts(f"{name}.mlp.fc1", block.feed_forward.hidden),
            *dense_parts(f"{name}.mlp.fc2", block.feed_forward.outputs),
        ]
    return parts
