"""Bytes that a device holds in one training step."""

from .traffic import FLOAT32
from .workloads import BFLOAT16, Workload


def memory(
    workload: Workload,
    devices: int,
    images: int,
    micro_batch: int | None = None,
    chunk_size: int | None = None,
) -> dict[str, float]:
    """Bytes on one device at the end of the forward pass, by what they are for.

    Weights, gradients and optimizer are float32; TensorFlow copies all gradients into one buffer to
    add them up over devices. On top come workspace of kernels and what the allocator loses.

    Args:
        workload: the method and its networks.
        devices: how many there are.
        images: examples per device.
        micro_batch: examples whose activations are held at a time (gradient caching); `None`
            means all. What is held of the others is their embeddings and the gradients of these.
        chunk_size: rows and columns of the matrix of similarities that are held at a time; `None`
            means all, kept for the backward pass.
    """
    weights = workload.parameters * FLOAT32
    embeddings = images * workload.gathered_per_image * FLOAT32
    held = {
        "weights": weights + workload.parameters * BFLOAT16,  # and their 16-bit copy
        "teacher": workload.teacher_parameters * (FLOAT32 + BFLOAT16),
        "gradients": 2 * weights if devices > 1 else weights,
        "optimizer": weights * workload.optimizer_slots,
        "activations": workload.kept_bytes * min(micro_batch or images, images),
        # this device's and everybody's, and the gradient of everybody's
        "embeddings": (1 + 2 * devices) * embeddings,
        "similarities": similarities(workload, devices, images, chunk_size),
    }
    if micro_batch is not None:
        held["embeddings"] += 2 * embeddings
    return held


def similarities(
    workload: Workload, devices: int, images: int, chunk_size: int | None = None
) -> float:
    """Bytes of NT-Xent's matrix on one device: 2 `images` rows, a column an embedding of all."""
    if not workload.kept_by_similarity:
        return 0.0
    rows, columns = 2 * images, 2 * images * devices
    if chunk_size is None:
        return rows * columns * workload.kept_by_similarity
    # nothing is kept; of one tile, while it is computed, the logits, their exponentials and a mask
    return min(chunk_size, rows) * min(chunk_size, columns) * (2 * FLOAT32 + 1)
