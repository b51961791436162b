"""Parameters, operations and activations of a Vision Transformer, by formula.

The package has none yet. Width D, s tokens, a heads, MLPs of 4 D, biases everywhere, no dropout
(Dosovitskiy et al., arXiv 2010.11929).
"""

import dataclasses
import itertools


@dataclasses.dataclass(frozen=True)
class Transformer:
    """A stack of pre-norm blocks with a last layer norm.

    Attributes:
        depth: number of blocks.
        width: D.
        heads: a.
    """

    depth: int
    width: int
    heads: int

    @property
    def parameters(self) -> int:
        """Weights: 12 D^2 + 13 D a block (qkv, projection, MLP, two layer norms), and the norm."""
        width = self.width
        return self.depth * (12 * width**2 + 13 * width) + 2 * width

    def operations(self, tokens: int) -> int:
        """Floating-point operations of one sequence forward, a multiply-add being two."""
        width = self.width
        return self.depth * (24 * width**2 * tokens + 4 * tokens**2 * width)

    def kept(self, tokens: int) -> int:
        """Numbers of one sequence that the backward pass reads.

        A block keeps 16 s D: the inputs of two layer norms, their outputs, q, k, v, the input of
        the projection, and the MLP before and after its activation (4 s D each); and a s^2, the
        weights of attention. It is what Korthikanti et al. (arXiv 2205.05198) count, without
        dropout. Kernels that never store the weights of attention keep s D of each block only.
        """
        return self.depth * (16 * tokens * self.width + self.heads * tokens**2)


def patch_embedding(size: int, width: int) -> int:
    """Weights that turn a patch of `size` x `size` x 3 into a token."""
    return (size**2 * 3 + 1) * width


def dense(*widths: int) -> int:
    """Weights of dense layers of these widths, the first being that of the input."""
    return sum((a + 1) * b for a, b in itertools.pairwise(widths))


def dense_operations(*widths: int) -> int:
    """Operations of one input through dense layers of these widths."""
    return sum(2 * a * b for a, b in itertools.pairwise(widths))
