"""Where the tensors of published transformers lie in ours: parts, and vision transformers."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import layers
from keras_ssl.networks import VisionTransformer

_VIT = {
    "norms": ("layernorm_before", "layernorm_after"),
    "scales": ("lambda_1", "lambda_2"),
    "feed_forward": ("intermediate.dense", "output.dense"),
}
_DINOV2 = {
    "norms": ("norm1", "norm2"),
    "scales": ("layer_scale1.lambda1", "layer_scale2.lambda1"),
    "feed_forward": ("mlp.fc1", "mlp.fc2"),
    "gated": ("mlp.weights_in", "mlp.weights_out"),
}
NAMES = {"vit": _VIT, "vit_mae": _VIT, "beit": _VIT}
NAMES |= {"dinov2": _DINOV2, "dinov2_with_registers": _DINOV2}
_OF_ATTENTION = ("attention.query", "attention.key", "attention.value", "output.dense")
POSITIONS = "embeddings.position_embeddings"
BIAS = "relative_position_bias.relative_position_bias_table"


class Variable:
    """A variable, and the tensor of a file with its numbers.

    Args:
        name: name of the tensor.
        variable: the variable.
        to_file: function from the variable's array to the tensor.
        from_file: function from the tensor to the variable's array.
    """

    def __init__(
        self,
        name: str,
        variable: keras.Variable,
        to_file: Callable = lambda x: x,
        from_file: Callable = lambda x: x,
    ) -> None:
        self.name, self.variable = name, variable
        self.to_file, self.from_file = to_file, from_file

    def read(self) -> dict[str, np.ndarray]:
        """Return the tensor by name."""
        return {self.name: self.to_file(ops.convert_to_numpy(self.variable))}

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set the variable."""
        self.variable.assign(self.from_file(tensors[self.name].astype("float32")))


class Attention:
    """An attention layer, and its four projections in a file.

    Args:
        name: what the names of the tensors begin with.
        layer: the layer.
        parts: names of the projections of queries, keys and values, and of the output's.
        has_key_bias: whether the file has a bias of the keys.
    """

    def __init__(
        self,
        name: str,
        layer: layers.MultiHeadAttention,
        parts: Sequence[str],
        has_key_bias: bool = True,
    ) -> None:
        self.names = [f"{name}.{part}" for part in parts]
        self.layer, self.has_key_bias = layer, has_key_bias

    def read(self) -> dict[str, np.ndarray]:
        """Return the tensors by name."""
        found = {}
        for name, (kernel, bias) in zip(self.names, self.layer.get_projections(), strict=True):
            found[f"{name}.weight"] = kernel.T
            if bias is not None and (self.has_key_bias or name != self.names[1]):
                found[f"{name}.bias"] = bias
        return found

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set the projections; a bias that the file lacks becomes 0."""
        arrays = []
        for name in self.names:
            kernel = tensors[f"{name}.weight"].astype("float32").T
            bias = tensors.get(f"{name}.bias", np.zeros(kernel.shape[1])).astype("float32")
            arrays.append((kernel, bias))
        self.layer.set_projections(arrays)


class _FixedPositions:
    """Positions that have no variable, which a file must hold as they are."""

    def __init__(self, name: str, encoder: VisionTransformer) -> None:
        self.name, self.encoder = name, encoder

    def read(self) -> dict[str, np.ndarray]:
        """Return the positions by name."""
        grid = self.encoder.position_embedding.grid
        width = self.encoder.patch_embedding.width
        tokens = np.zeros((1, 1 + grid[0] * grid[1], width), "float32")
        return {self.name: ops.convert_to_numpy(self.encoder.position_embedding(tokens))}

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Raise unless the file has these positions."""
        if not np.allclose(tensors[self.name], self.read()[self.name], atol=1e-4):
            raise ValueError(
                f'`{self.name}` is no table of sines and cosines. Expected `positions="learned"`. '
                'Received: positions="sincos"'
            )


def dense_parts(name: str, layer: keras.layers.Layer) -> list[Variable]:
    return [
        Variable(f"{name}.weight", layer.kernel, np.transpose, np.transpose),
        Variable(f"{name}.bias", layer.bias),
    ]


def norm_parts(name: str, layer: keras.layers.Layer) -> list[Variable]:
    return [Variable(f"{name}.weight", layer.gamma), Variable(f"{name}.bias", layer.beta)]


def patch_parts(name: str, patches: layers.PatchEmbedding) -> list[Variable]:
    """A patch embedding, which files hold as a convolution."""
    height, width = patches.patch_size
    channels = patches.kernel.shape[0] // (height * width)

    def to_file(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(height, width, channels, -1).transpose(3, 2, 0, 1)

    def from_file(kernel: np.ndarray) -> np.ndarray:
        return kernel.transpose(2, 3, 1, 0).reshape(height * width * channels, -1)

    kernel = Variable(f"{name}.weight", patches.kernel, to_file, from_file)
    return [kernel] if patches.bias is None else [kernel, Variable(f"{name}.bias", patches.bias)]


def _batched(name: str, variable: keras.Variable) -> Variable:
    """A table that files hold with an axis of size 1 for the batch."""
    return Variable(name, variable, lambda x: x[None], lambda x: x[0])


def parts_of(encoder: VisionTransformer, architecture: str, norm: str) -> list[Any]:
    """Return what reads and sets the tensors of an encoder under their published names.

    Args:
        encoder: the network.
        architecture: key of `NAMES`.
        norm: name of the normalization behind the blocks.
    """
    parts: list[Any] = [
        *patch_parts("embeddings.patch_embeddings.projection", encoder.patch_embedding),
        _batched("embeddings.cls_token", encoder.class_token.tokens),
    ]
    positions = encoder.position_embedding
    if isinstance(positions, layers.LearnedPositionalEmbedding):
        parts.append(_batched(POSITIONS, positions.embeddings))
    elif positions is not None:
        parts.append(_FixedPositions(POSITIONS, encoder))
    if encoder.register_tokens is not None:
        parts.append(_batched("embeddings.register_tokens", encoder.register_tokens.tokens))
    biases = [block.attention.position_bias for block in encoder.blocks]
    is_shared = encoder.get_config()["relative_bias"] == "shared"
    if is_shared:
        parts.append(Variable(f"encoder.{BIAS}", biases[0].table))
    for number, block in enumerate(encoder.blocks):
        name = f"encoder.layer.{number}"
        parts += _parts_of_block(block, name, architecture)
        if biases[number] is not None and not is_shared:
            parts.append(Variable(f"{name}.attention.attention.{BIAS}", biases[number].table))
    if encoder.norm is not None:
        parts += norm_parts(norm, encoder.norm)
    return parts


def _parts_of_block(
    block: layers.TransformerEncoderBlock, name: str, architecture: str
) -> list[Any]:
    names = NAMES[architecture]
    parts: list[Any] = [
        Attention(
            f"{name}.attention", block.attention, _OF_ATTENTION, has_key_bias=architecture != "beit"
        )
    ]
    residuals = (block.attention_residual, block.feed_forward_residual)
    for residual, norm, scale in zip(residuals, names["norms"], names["scales"], strict=True):
        parts += norm_parts(f"{name}.{norm}", residual.norm)
        if residual.layer_scale is not None:
            parts.append(Variable(f"{name}.{scale}", residual.layer_scale.factors))
    feed_forward = block.feed_forward
    of_dense = names["gated" if feed_forward.gated else "feed_forward"]
    for dense, part in zip((feed_forward.hidden, feed_forward.outputs), of_dense, strict=True):
        parts += dense_parts(f"{name}.{part}", dense)
    return parts
