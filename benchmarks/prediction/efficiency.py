"""How much of the devices' time is left for computing."""

import math

from .hardware import System
from .traffic import Traffic, traffic
from .workloads import Workload

SECONDS_A_HOP = 5e-6  # assumed: what a message takes besides its bytes
BACKWARD_SHARE = 2 / 3  # of a step's operations


def seconds_to_compute(workload: Workload, system: System, images: int) -> float:
    """Seconds of one step without any communication."""
    return images * workload.operations / (system.peak * workload.utilization)


def seconds_to_start(collectives: int, devices: int) -> float:
    """Seconds that collectives take even for no bytes: up and down a tree of the devices."""
    return collectives * 2 * math.ceil(math.log2(devices)) * SECONDS_A_HOP if devices > 1 else 0.0


def efficiency(
    workload: Workload, system: System, devices: int, images: int, overlapped: bool
) -> float | None:
    """The share of a step's time in which devices compute: 1 where communication costs nothing.

    Args:
        workload: the method and its networks.
        system: devices and interconnect.
        devices: how many.
        images: examples per device.
        overlapped: whether the gradients are added up while the backward pass goes on. Nothing else
            can be: the loss needs the embeddings, and the next layer the normalised features.

    Returns:
        From 0 to 1, or `None` where the interconnect does not join so many devices.
    """
    if devices > system.most_devices:
        return None
    sent: Traffic = traffic(workload, devices, images)
    bandwidth = system.bandwidth(devices)
    compute = seconds_to_compute(workload, system, images)
    gradient = sent.gradient / bandwidth
    if overlapped:
        gradient = max(0.0, gradient - BACKWARD_SHARE * compute)
    exposed = (sent.total - sent.gradient) / bandwidth
    exposed += gradient + seconds_to_start(sent.collectives, devices)
    return compute / (compute + exposed)
