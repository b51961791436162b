"""Bytes that a device sends in one training step.

Every formula is for a ring, in which a device receives as much as it sends. A tree or a switch that
adds up on the way moves other amounts; rings are what TensorFlow's own collectives use between
CPUs, and what NCCL uses for large tensors.
"""

import dataclasses

from .workloads import Workload

FLOAT32 = 4


def all_reduce(size: float, devices: int) -> float:
    """Bytes sent to leave the sum of all devices' `size` bytes on each of them.

    A ring sends every part of the tensor once round to add it up, and once round to spread the
    sum: 2 (n - 1) / n of it from each device.
    """
    return 2 * (devices - 1) / devices * size


def all_gather(share: float, devices: int) -> float:
    """Bytes sent to bring the `share` bytes of each device to all of them: n - 1 shares."""
    return (devices - 1) * share


def gather_gradient(share: float, devices: int) -> float:
    """Bytes sent by the gradient of an all-gather.

    TensorFlow adds up the gradient of the whole gathered tensor on every device, of which each
    then keeps its rows: 2 (n - 1) shares. A reduce-scatter would send half of that.
    """
    return all_reduce(devices * share, devices)


@dataclasses.dataclass(frozen=True)
class Traffic:
    """What one device sends in one step, in bytes, and in how many collective operations.

    Attributes:
        gradient: the sum of the gradients of all weights.
        gathered: embeddings of the other devices, and the gradient's way back.
        normalization: sums for the statistics of batch norm, forward and backward.
        other: what else a method sums over devices, such as DINO's centre.
        collectives: operations in which all devices take part.
    """

    gradient: float
    gathered: float
    normalization: float
    other: float
    collectives: int

    @property
    def total(self) -> float:
        """All bytes."""
        return self.gradient + self.gathered + self.normalization + self.other


# `layers.SyncBatchNormalization` sums two numbers a channel forward (and a count), and two backward
NORMALIZATION_SUMS = 4
NORMALIZATION_COLLECTIVES = 2


def traffic(workload: Workload, devices: int, images: int) -> Traffic:
    """What one device sends in one step.

    Args:
        workload: the method and its networks.
        devices: how many there are, n.
        images: examples per device.
    """
    share = images * workload.gathered_per_image * FLOAT32
    gathers = workload.gathered_per_image > 0
    return Traffic(
        gradient=all_reduce(workload.parameters * FLOAT32, devices),
        gathered=all_gather(share, devices) + gather_gradient(share, devices),
        normalization=all_reduce(
            (NORMALIZATION_SUMS * workload.normalized_channels + workload.normalizations) * FLOAT32,
            devices,
        ),
        other=all_reduce(workload.summed_per_step * FLOAT32, devices),
        # one for all gradients; a gather sends its shape first, and the gradient's way back
        collectives=1
        + 3 * gathers
        + NORMALIZATION_COLLECTIVES * workload.normalizations
        + (workload.summed_per_step > 0),
    )


def batch_where_gathering_matters(workload: Workload, ratio: float) -> float:
    """The global batch at which gathered embeddings are `ratio` times the gradient's bytes.

    A device sends 3 (n - 1) / n * B * d bytes for B * d bytes of embeddings, and
    2 (n - 1) / n * P for the gradient of P bytes of weights: the number of devices falls out, and
    B = ratio * 2 P / (3 d).
    """
    return ratio * 2 * workload.parameters / (3 * workload.gathered_per_image)
