"""Our side of each method: the trainer that its recipe describes."""

from collections.abc import Callable, Sequence

import keras

from keras_ssl import augment, layers, losses, networks, trainers


def small_encoder(width: int) -> keras.Model:
    """The encoder of every method that takes a convolutional one."""
    return networks.small_resnet((32, 32, 3), width)


def two_views() -> keras.layers.Layer:
    """SimCLR's views of CIFAR-10 (arXiv:2002.05709, appendix B.9)."""
    return augment.SimCLRViews(32, strength=0.5, blur_probability=0.0)


def _contrastive(width: int, projector: Sequence[int], loss: keras.losses.Loss) -> trainers.SimCLR:
    head = layers.ProjectionHead(projector, last_normalization=True)
    return trainers.SimCLR(small_encoder(width), head, two_views(), loss)


def simclr(width: int, projector: Sequence[int], temperature: float) -> trainers.SimCLR:
    return _contrastive(width, projector, losses.NTXent(temperature))


def dcl(width: int, projector: Sequence[int], temperature: float) -> trainers.SimCLR:
    return _contrastive(width, projector, losses.DCL(temperature))


def dclw(width: int, projector: Sequence[int], temperature: float) -> trainers.SimCLR:
    return _contrastive(width, projector, losses.DCLW(temperature))


def moco(
    width: int,
    projector: Sequence[int],
    temperature: float,
    queue: int,
    momentum: float,
) -> trainers.MoCo:
    return trainers.MoCo(
        small_encoder(width),
        layers.ProjectionHead(projector, normalization=False),
        two_views(),
        losses.InfoNCE(temperature),
        layers.FeatureQueue(queue),
        momentum,
    )


def moco_v3(
    width: int,
    projector: Sequence[int],
    predictor: int,
    temperature: float,
    momentum: float,
) -> trainers.MoCoV3:
    return trainers.MoCoV3(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
        losses.InfoNCE(temperature),
        momentum,
    )


def byol(width: int, projector: Sequence[int], predictor: int, momentum: float) -> trainers.BYOL:
    return trainers.BYOL(
        small_encoder(width),
        layers.ProjectionHead(projector),
        layers.PredictionHead(predictor),
        two_views(),
        momentum=momentum,
    )


def simsiam(width: int, projector: Sequence[int], predictor: int) -> trainers.SimSiam:
    return trainers.SimSiam(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
    )


def barlow_twins(width: int, projector: Sequence[int]) -> trainers.BarlowTwins:
    return trainers.BarlowTwins(small_encoder(width), layers.ProjectionHead(projector), two_views())


def vicreg(width: int, projector: Sequence[int]) -> trainers.VICReg:
    return trainers.VICReg(small_encoder(width), layers.ProjectionHead(projector), two_views())


METHODS: dict[str, Callable[..., trainers.SelfSupervisedModel]] = {
    "SimCLR": simclr,
    "DCL": dcl,
    "DCLW": dclw,
    "MoCo": moco,
    "MoCoV3": moco_v3,
    "BYOL": byol,
    "SimSiam": simsiam,
    "BarlowTwins": barlow_twins,
    "VICReg": vicreg,
}
