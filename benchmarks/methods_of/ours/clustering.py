"""Methods that cluster."""

from collections.abc import Sequence

from keras_ssl import layers, trainers
from methods_of.ours._shared import Images, Method, Trainer, indexed, small_encoder, two_views


def swav(
    train: Images, width: int, projector: Sequence[int], prototypes: int, smallest_crop: float
) -> Trainer:
    return trainers.SwAV(
        small_encoder(width),
        layers.ProjectionHead(projector),
        layers.Prototypes(prototypes, kernel_constraint="unit_norm"),
        two_views(smallest_crop),
    )


def deep_cluster_v2(
    train: Images,
    width: int,
    projector: Sequence[int],
    prototypes: Sequence[int],
    smallest_crop: float,
) -> Trainer:
    return trainers.DeepClusterV2(
        small_encoder(width),
        layers.MemoryBank(len(train.images), momentum=0.0),
        layers.ProjectionHead(projector),
        prototypes,
        two_views(smallest_crop),
    )


METHODS = {
    "SwAV": Method(swav),
    "DeepClusterV2": Method(deep_cluster_v2, indexed),
}
