"""BERT and GPT-2 in folders of the Hugging Face layout."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_ssl.convert._checks import assign_all, check_free
from keras_ssl.convert._files import CONFIG, listed, read_tensors, write_folder
from keras_ssl.convert._tensors import Attention, Variable, dense_parts, norm_parts
from keras_ssl.networks import BERT, GPT2, TextEncoder

# class of the network, and what its tensors begin with in a model that has a head
ARCHITECTURES = {"bert": (BERT, "bert."), "gpt2": (GPT2, "transformer.")}
# names there and ours; "gelu" is the exact function in both
_ACTIVATIONS = {
    **{
        name: name
        for name in ("gelu", "quick_gelu", "relu", "silu", "selu", "tanh", "sigmoid", "mish")
    },
    **{"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "swish": "silu"},
}
_FREE = (
    *("pooling", "dropout_rate", "attention_dropout_rate", "remat"),
    *("seed", "name", "dtype", "trainable"),
)
# what a configuration means that lacks an entry, as older ones do
_DEFAULTS = {
    "bert": {
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
    },
    "gpt2": {
        "n_positions": 1024,
        "n_inner": None,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
    },
}
_NEEDED = {
    "bert": (
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads"),
        "intermediate_size",
    ),
    "gpt2": ("vocab_size", "n_embd", "n_layer", "n_head"),
}
# entries that would make another network, and the values that do not
_FIXED = {
    "bert": {"position_embedding_type": "absolute", "is_decoder": False, "pruned_heads": {}},
    "gpt2": {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
}
_HEADS = re.compile(r"(cls|classifier|qa_outputs|score|lm_head|summary|multiple_choice_head)\.")
# numbers that are no weights: older files hold them
_NO_WEIGHTS = re.compile(r"(position_ids|\.attn\.(masked_)?bias)$")


def architecture_of(encoder: TextEncoder) -> str:
    """Return the `model_type` of a network."""
    return next(name for name, (cls, _) in ARCHITECTURES.items() if type(encoder) is cls)


def read(folder: Path, config: dict[str, Any], kwargs: dict[str, Any]) -> TextEncoder:
    """Return the network of a folder.

    Args:
        folder: the folder.
        config: its configuration.
        kwargs: arguments of the network that weights do not depend on.
    """
    check_free(kwargs, _FREE)
    architecture = config["model_type"]
    if missing := [name for name in _NEEDED[architecture] if name not in config]:
        raise ValueError(f"`{CONFIG}` lacks {listed(missing)}. Received: {sorted(config)}")
    config = {**_DEFAULTS[architecture], **config}
    for name, value in _FIXED[architecture].items():
        if (found := config.get(name, value)) != value and found is not None:
            raise ValueError(f"`{name}` must be {value!r}. Received: {name}={found!r}")
    tensors, heads = _split(read_tensors(folder), ARCHITECTURES[architecture][1])
    arguments = _of_bert(config) if architecture == "bert" else _of_gpt2(config)
    if architecture == "bert":
        arguments["pooler"] = "pooler.dense.weight" in tensors
    else:
        _check_tied(heads, tensors)
    encoder = ARCHITECTURES[architecture][0](**{**arguments, **kwargs})
    left_out = {n for n in tensors if n.startswith("pooler.") and encoder.pooling == "mean"}
    assign_all(_parts(encoder), tensors, architecture, left_out, _NO_WEIGHTS)
    if left_out := left_out | set(heads):
        warnings.warn(f"Not part of the encoder, and not read: {listed(left_out)}", stacklevel=3)
    return encoder


def write(encoder: TextEncoder, folder: Path) -> None:
    """Write a network as a folder."""
    config = _config_of_bert(encoder) if isinstance(encoder, BERT) else _config_of_gpt2(encoder)
    tensors: dict[str, np.ndarray] = {}
    for part in _parts(encoder):
        tensors |= part.read()
    write_folder(folder, {CONFIG: config}, tensors)


def _split(
    tensors: dict[str, np.ndarray], prefix: str
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the tensors of the encoder, without prefix, and those of a head beside it."""
    has_prefix = any(name.startswith(prefix) for name in tensors)
    own, heads = {}, {}
    for name, tensor in tensors.items():
        # the names of the first published files
        renamed = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
        renamed = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", renamed)
        if _HEADS.match(renamed):
            heads[renamed] = tensor
        elif has_prefix and not renamed.startswith(prefix):
            raise ValueError(f"The file has unknown tensors: {name}")
        else:
            own[renamed.removeprefix(prefix)] = tensor
    return own, heads


def _check_tied(heads: dict[str, np.ndarray], tensors: dict[str, np.ndarray]) -> None:
    """Drop the output weights of a language model, which must be the embeddings of its tokens."""
    output = heads.pop("lm_head.weight", None)
    table = tensors.get("wte.weight")
    if output is not None and table is not None and not np.array_equal(output, table):
        raise ValueError(
            "`lm_head.weight` must equal `wte.weight`: logits are products with the embeddings. "
            "Received: a file with other output weights"
        )


def activation_of(name: str, value: str) -> str:
    """Return our name of the activation function that an entry names."""
    if value not in _ACTIVATIONS:
        raise ValueError(
            f"`{name}` must be one of {list(_ACTIVATIONS)}. Received: {name}={value!r}"
        )
    return _ACTIVATIONS[value]


def _of_bert(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the network that a configuration describes."""
    return {
        "vocabulary_size": config["vocab_size"],
        "width": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "hidden_dim": config["intermediate_size"],
        "max_length": config["max_position_embeddings"],
        "segments": config["type_vocab_size"],
        "activation": activation_of("hidden_act", config["hidden_act"]),
        "epsilon": config["layer_norm_eps"],
        "dropout_rate": config["hidden_dropout_prob"],
        "attention_dropout_rate": config["attention_probs_dropout_prob"],
    }


def _of_gpt2(config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the network that a configuration describes."""
    if config["embd_pdrop"] != config["resid_pdrop"]:
        warnings.warn(
            "Training differs from `transformers`: `dropout_rate` is that of the outputs, also for "
            f"the embeddings. Received: embd_pdrop={config['embd_pdrop']}, "
            f"resid_pdrop={config['resid_pdrop']}",
            stacklevel=4,
        )
    return {
        "vocabulary_size": config["vocab_size"],
        "width": config["n_embd"],
        "depth": config["n_layer"],
        "num_heads": config["n_head"],
        "hidden_dim": config["n_inner"],
        "max_length": config["n_positions"],
        "activation": activation_of("activation_function", config["activation_function"]),
        "epsilon": config["layer_norm_epsilon"],
        "dropout_rate": config["resid_pdrop"],
        "attention_dropout_rate": config["attn_pdrop"],
    }


def their_activation(ours: Any) -> str:
    """Return the published name of an activation function."""
    names = {one: name for name, one in reversed(_ACTIVATIONS.items())}
    if ours not in names:
        raise ValueError(
            f"`activation` must be one of {list(names)}. Received: activation={ours!r}"
        )
    return names[ours]


def _config_of_bert(encoder: BERT) -> dict[str, Any]:
    a = encoder.get_config()
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": a["vocabulary_size"],
        "hidden_size": a["width"],
        "num_hidden_layers": a["depth"],
        "num_attention_heads": a["num_heads"],
        "intermediate_size": a["hidden_dim"] or 4 * a["width"],
        "max_position_embeddings": a["max_length"],
        "type_vocab_size": a["segments"],
        "hidden_act": their_activation(a["activation"]),
        "layer_norm_eps": float(a["epsilon"]),
        "hidden_dropout_prob": float(a["dropout_rate"]),
        "attention_probs_dropout_prob": float(a["attention_dropout_rate"]),
    }


def _config_of_gpt2(encoder: GPT2) -> dict[str, Any]:
    a = encoder.get_config()
    if not a["use_bias"]:
        raise ValueError(
            "'gpt2' has biases in all layers. Expected `use_bias=True`. Received: use_bias=False"
        )
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": a["vocabulary_size"],
        "n_embd": a["width"],
        "n_layer": a["depth"],
        "n_head": a["num_heads"],
        "n_inner": a["hidden_dim"],
        "n_positions": a["max_length"],
        "activation_function": their_activation(a["activation"]),
        "layer_norm_epsilon": float(a["epsilon"]),
        "resid_pdrop": float(a["dropout_rate"]),
        "embd_pdrop": float(a["dropout_rate"]),
        "attn_pdrop": float(a["attention_dropout_rate"]),
        "tie_word_embeddings": True,
    }


def _parts(encoder: TextEncoder) -> list[Any]:
    """Return what reads and sets the tensors of a network under their published names."""
    return _parts_of_bert(encoder) if isinstance(encoder, BERT) else _parts_of_gpt2(encoder)


def _parts_of_bert(encoder: BERT) -> list[Any]:
    parts: list[Any] = [
        Variable(f"embeddings.{name}_embeddings.weight", layer.embeddings)
        for name, layer in (
            ("word", encoder.token_embedding),
            ("position", encoder.position_embedding),
            ("token_type", encoder.segment_embedding),
        )
    ]
    parts += norm_parts("embeddings.LayerNorm", encoder.embedding_norm)
    names = ("self.query", "self.key", "self.value", "output.dense")
    for number, block in enumerate(encoder.blocks):
        name = f"encoder.layer.{number}"
        parts += [
            Attention(f"{name}.attention", block.attention, names),
            *norm_parts(f"{name}.attention.output.LayerNorm", block.attention_residual.norm),
            *dense_parts(f"{name}.intermediate.dense", block.feed_forward.hidden),
            *dense_parts(f"{name}.output.dense", block.feed_forward.outputs),
            *norm_parts(f"{name}.output.LayerNorm", block.feed_forward_residual.norm),
        ]
    if encoder.pooler is not None:
        parts += dense_parts("pooler.dense", encoder.pooler)
    return parts


class _JoinedAttention:
    """An attention layer, and its projections in a file that joins queries, keys and values."""

    def __init__(self, name: str, layer: Any) -> None:
        self.joined, self.output, self.layer = f"{name}.c_attn", f"{name}.c_proj", layer

    def read(self) -> dict[str, np.ndarray]:
        """Return the tensors by name."""
        *arrays, output = self.layer.get_projections()
        kernels, biases = zip(*arrays, strict=True)
        return {
            f"{self.joined}.weight": np.concatenate(kernels, axis=1),
            f"{self.joined}.bias": np.concatenate(biases),
            f"{self.output}.weight": output[0],
            f"{self.output}.bias": output[1],
        }

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set the projections."""
        found = {name: tensors[name].astype("float32") for name in self.read()}
        kernels = np.split(found[f"{self.joined}.weight"], 3, axis=1)
        biases = np.split(found[f"{self.joined}.bias"], 3)
        output = (found[f"{self.output}.weight"], found[f"{self.output}.bias"])
        self.layer.set_projections([*zip(kernels, biases, strict=True), output])


def _plain_dense(name: str, layer: Any) -> list[Variable]:
    """A dense layer whose kernel is not transposed in the file."""
    return [Variable(f"{name}.weight", layer.kernel), Variable(f"{name}.bias", layer.bias)]


def _parts_of_gpt2(encoder: GPT2) -> list[Any]:
    parts: list[Any] = [
        Variable("wte.weight", encoder.token_embedding.embeddings),
        Variable("wpe.weight", encoder.position_embedding.embeddings),
    ]
    for number, block in enumerate(encoder.blocks):
        name = f"h.{number}"
        parts += [
            *norm_parts(f"{name}.ln_1", block.attention_residual.norm),
            _JoinedAttention(f"{name}.attn", block.attention),
            *norm_parts(f"{name}.ln_2", block.feed_forward_residual.norm),
            *_plain_dense(f"{name}.mlp.c_fc", block.feed_forward.hidden),
            *_plain_dense(f"{name}.mlp.c_proj", block.feed_forward.outputs),
        ]
    return parts + norm_parts("ln_f", encoder.norm)
