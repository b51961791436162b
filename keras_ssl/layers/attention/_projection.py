"""Kernels of queries, keys and values."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

if TYPE_CHECKING:
    from keras_ssl.layers.attention.multi_head_attention import MultiHeadAttention

NAMES = ("query", "key", "value")


class Projection:
    """One kernel for those of queries, keys and values that are made of the same input.

    Args:
        layer: the attention layer, which holds the weights.
        numbers: which of them, by their places in `NAMES`.
        inputs: number of features of the inputs of all three.
    """

    def __init__(self, layer: "MultiHeadAttention", numbers: list[int], inputs: list[int]) -> None:
        self._layer, self.numbers = layer, numbers
        self.widths = [math.prod(layer._heads[number]) for number in numbers]
        name = "_".join(NAMES[number] for number in numbers)

        def initialize(shape: tuple, dtype: Any = None) -> Any:
            # each part as if it were alone, since its scale depends on its width
            parts = [
                layer._initializers[number]((shape[0], width), dtype)
                for number, width in zip(numbers, self.widths, strict=True)
            ]
            return ops.concatenate(parts, axis=-1)

        self.kernel = layer.add_weight(
            name=f"{name}_kernel",
            shape=(inputs[numbers[0]], sum(self.widths)),
            initializer=initialize,
            regularizer=layer.kernel_regularizer,
        )
        self.bias = None
        if layer.use_bias:
            self.bias = layer._add_bias(f"{name}_bias", sum(self.widths))

    def __call__(self, inputs: list[Any]) -> dict[int, Any]:
        """Return the projections of `inputs` by number; equal inputs share one product."""
        products = self.together(inputs)
        if products is not None:
            return dict(zip(self.numbers, self._split(products), strict=True))
        kernels = self._split(ops.convert_to_tensor(self.merged_kernel()))
        biases = [None] * len(kernels)
        if self.bias is not None:
            biases = self._split(ops.convert_to_tensor(self.bias))
        parts = zip(self.numbers, kernels, biases, strict=True)
        return {
            number: affine(inputs[number], kernel, bias)
            for number, kernel, bias in parts
            if inputs[number] is not None
        }

    def together(self, inputs: list[Any]) -> Any:
        """Return one product for all of `numbers`, or `None` if they are made of unlike inputs."""
        first, *others = (inputs[number] for number in self.numbers)
        if first is None or any(one is not first for one in others):
            return None
        return affine(first, self.merged_kernel(), self.bias)

    def merged_kernel(self) -> Any:
        """Return the kernel with the updates of low rank that the layer has for it."""
        updates = [self._layer.low_rank_update(number) for number in self.numbers]
        if all(one is None for one in updates):
            return self.kernel
        rows = self.kernel.shape[0]
        parts = [
            ops.zeros((rows, width), self._layer.compute_dtype) if one is None else one
            for one, width in zip(updates, self.widths, strict=True)
        ]
        return ops.add(self.kernel, ops.concatenate(parts, axis=-1))

    def _split(self, x: Any) -> list[Any]:
        if len(self.widths) == 1:
            return [x]
        return ops.split(x, np.cumsum(self.widths)[:-1].tolist(), axis=-1)

    def get(self) -> dict[int, tuple]:
        """Return kernel and bias by number, as arrays."""
        at = np.cumsum(self.widths)[:-1]
        kernels = np.split(ops.convert_to_numpy(self.merged_kernel()), at, axis=-1)
        biases = [None] * len(kernels)
        if self.bias is not None:
            biases = np.split(ops.convert_to_numpy(self.bias), at)
        return dict(zip(self.numbers, zip(kernels, biases, strict=True), strict=True))

    def set(self, arrays: list[tuple[Any, Any]]) -> None:
        """Set kernel and bias from those of all three."""
        self.kernel.assign(np.concatenate([arrays[n][0] for n in self.numbers], axis=-1))
        if self.bias is not None:
            self.bias.assign(np.concatenate([arrays[n][1] for n in self.numbers]))


def affine(x: Any, kernel: Any, bias: Any) -> Any:
    """Return `x @ kernel + bias`; `bias` may be `None`."""
    h = ops.matmul(x, kernel)
    return h if bias is None else ops.add(h, bias)
