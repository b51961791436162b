"""Our side of each method: the trainer that its recipe describes, and the batches it reads."""

from methods_of.ours import (
    clustering,
    contrastive,
    distillation,
    generative,
    masked,
    pretext,
    redundancy,
)
from methods_of.ours._shared import Images, small_encoder, small_vit, write_kernels

__all__ = ["METHODS", "Images", "small_encoder", "small_vit", "write_kernels"]

METHODS = (
    contrastive.METHODS
    | clustering.METHODS
    | redundancy.METHODS
    | distillation.METHODS
    | pretext.METHODS
    | generative.METHODS
    | masked.METHODS
)
