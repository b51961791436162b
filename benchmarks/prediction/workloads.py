"""What the three methods compute, hold and exchange for one image, at the size of their papers."""

import dataclasses

from .vision_transformer import Transformer, dense, dense_operations, patch_embedding

BFLOAT16 = 2
FLOAT32 = 4


@dataclasses.dataclass(frozen=True)
class Workload:
    """A method and its networks, in mixed precision: 16-bit activations, float32 weights.

    Attributes:
        name: of the method and its network.
        parameters: trainable weights, whose gradients are summed over devices.
        teacher_parameters: weights of a momentum teacher.
        optimizer_slots: numbers that the optimizer keeps of each weight.
        operations: floating-point operations of one image, forward, backward and teacher.
        forward_operations: those of the forward pass of what is trained.
        kept_bytes: activations of one image that the backward pass reads.
        gathered_per_image: numbers of one image that all devices need: its embeddings.
        normalized_channels: channels of all batch norms together.
        normalizations: batch norms.
        summed_per_step: numbers that the method sums over devices besides.
        utilization: share of a device's peak that is assumed to be reached.
        kept_by_similarity: bytes that the backward pass reads of each entry of the matrix of
            similarities; 0 for methods that have none.
    """

    name: str
    parameters: int
    teacher_parameters: int
    optimizer_slots: int
    operations: float
    forward_operations: float
    kept_bytes: float
    gathered_per_image: int = 0
    normalized_channels: int = 0
    normalizations: int = 0
    summed_per_step: int = 0
    utilization: float = 0.4
    kept_by_similarity: int = 0


def dino_vit_small(patch: int = 16, local_crops: int = 8, prototypes: int = 65536) -> Workload:
    """DINO (arXiv 2104.14294): 2 views of 224 x 224 and `local_crops` of 96 x 96, AdamW."""
    network = Transformer(depth=12, width=384, heads=6)
    tokens = [(224 // patch) ** 2 + 1] * 2 + [(96 // patch) ** 2 + 1] * local_crops
    positions = (tokens[0] + 1) * network.width  # and the class token
    backbone = network.parameters + patch_embedding(patch, network.width) + positions
    widths = (384, 2048, 2048, 256)
    head = dense(*widths) + 256 * prototypes  # the last layer has no bias

    def forward(crops: list[int]) -> float:
        embed = sum(2 * patch**2 * 3 * network.width * (s - 1) for s in crops)
        project = dense_operations(*widths, prototypes) * len(crops)
        return embed + sum(network.operations(s) for s in crops) + project

    kept = sum(network.kept(s) for s in tokens) * BFLOAT16
    # before and after the activation, and at the last layer logits and their softmax in float32
    kept += len(tokens) * ((2 * 2048 * 2 + 256) * BFLOAT16 + 2 * prototypes * FLOAT32)
    student, teacher = forward(tokens), forward(tokens[:2])
    return Workload(
        name="DINO ViT-S/16",
        parameters=backbone + head,
        teacher_parameters=backbone + head,
        optimizer_slots=2,
        operations=3 * student + teacher,
        forward_operations=student,
        kept_bytes=kept,
        summed_per_step=prototypes,
    )


def mae_vit_base(patch: int = 16, masked: float = 0.75) -> Workload:
    """MAE (arXiv 2111.06377): a quarter of the patches encoded, all decoded, AdamW."""
    encoder, decoder = Transformer(12, 768, 12), Transformer(8, 512, 16)
    patches = (224 // patch) ** 2
    pixels = patch**2 * 3
    seen, all_tokens = round(patches * (1 - masked)) + 1, patches + 1
    parameters = (
        encoder.parameters
        + patch_embedding(patch, encoder.width)
        + encoder.width  # class token; the positions are fixed
        + dense(encoder.width, decoder.width)
        + decoder.width  # mask token
        + decoder.parameters
        + dense(decoder.width, pixels)
    )
    forward = (
        2 * pixels * encoder.width * patches
        + encoder.operations(seen)
        + dense_operations(encoder.width, decoder.width) * seen
        + decoder.operations(all_tokens)
        + dense_operations(decoder.width, pixels) * all_tokens
    )
    kept = encoder.kept(seen) + decoder.kept(all_tokens) + 2 * all_tokens * pixels
    return Workload(
        name="MAE ViT-B/16",
        parameters=parameters,
        teacher_parameters=0,
        optimizer_slots=2,
        operations=3 * forward,
        forward_operations=forward,
        kept_bytes=kept * BFLOAT16,
    )
