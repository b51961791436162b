"""Methods that reduce redundancy."""

from collections.abc import Sequence

import keras

from keras_ssl import augment, layers, losses, trainers
from methods_of.ours._shared import Images, Method, Trainer, small_encoder, two_views


def barlow_twins(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.BarlowTwins(small_encoder(width), layers.ProjectionHead(projector), two_views())


def vicreg(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.VICReg(small_encoder(width), layers.ProjectionHead(projector), two_views())


def vicregl(
    train: Images,
    width: int,
    projector: Sequence[int],
    local_projector: Sequence[int],
    matches: Sequence[int],
) -> Trainer:
    """Two global views, no local ones; the last map has 4x4 positions."""
    normalization = keras.layers.LayerNormalization(epsilon=1e-5)
    return trainers.VICRegL(
        small_encoder(width),
        "stage3_block1_output",
        layers.ProjectionHead(projector),
        layers.ProjectionHead(local_projector, normalization=normalization),
        augment.LocatedViews(two_views()),
        losses.VICRegLLoss(matches=matches),
    )


def tico(train: Images, width: int, projector: Sequence[int], momentum: float) -> Trainer:
    head = layers.ProjectionHead(projector)
    return trainers.TiCo(small_encoder(width), head, two_views(), momentum=momentum)


def frossl(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.FroSSL(small_encoder(width), layers.ProjectionHead(projector), two_views())


def w_mse(train: Images, width: int, projector: Sequence[int], sub_batch: int) -> Trainer:
    head, loss = layers.ProjectionHead(projector), losses.WMSELoss(sub_batch)
    return trainers.WMSE(small_encoder(width), head, two_views(), loss)


def lejepa(train: Images, width: int, projector: Sequence[int], directions: int) -> Trainer:
    """Two global views, no local ones."""
    head = layers.ProjectionHead(projector)
    return trainers.LeJEPA(small_encoder(width), head, two_views(), directions=directions)


def mmcr(train: Images, width: int, projector: Sequence[int], momentum: float) -> Trainer:
    head = layers.ProjectionHead(projector)
    return trainers.MMCR(small_encoder(width), head, two_views(), momentum=momentum)


METHODS = {
    "BarlowTwins": Method(barlow_twins),
    "VICReg": Method(vicreg),
    "VICRegL": Method(vicregl),
    "TiCo": Method(tico),
    "FroSSL": Method(frossl),
    "WMSE": Method(w_mse),
    "LeJEPA": Method(lejepa),
    "MMCR": Method(mmcr),
}
