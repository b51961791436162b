"""Contrastive methods."""

from collections.abc import Sequence

import keras

from keras_ssl import augment, layers, losses, networks, trainers
from methods_of.ours._shared import (
    Images,
    Method,
    Trainer,
    indexed,
    labelled,
    small_encoder,
    two_views,
)


def _contrastive(width: int, projector: Sequence[int], loss: keras.losses.Loss) -> Trainer:
    head = layers.ProjectionHead(projector, last_normalization=True)
    return trainers.SimCLR(small_encoder(width), head, two_views(), loss)


def simclr(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    return _contrastive(width, projector, losses.NTXent(temperature))


def dcl(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    return _contrastive(width, projector, losses.DCL(temperature))


def dclw(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    return _contrastive(width, projector, losses.DCLW(temperature))


def moco(
    train: Images,
    width: int,
    projector: Sequence[int],
    temperature: float,
    queue: int,
    momentum: float,
) -> Trainer:
    return trainers.MoCo(
        small_encoder(width),
        layers.ProjectionHead(projector, normalization=False),
        two_views(),
        losses.InfoNCE(temperature),
        layers.FeatureQueue(queue),
        momentum,
    )


def dense_cl(
    train: Images,
    width: int,
    projector: Sequence[int],
    temperature: float,
    queue: int,
    momentum: float,
) -> Trainer:
    """The last map has 4x4 positions."""
    return trainers.DenseCL(
        small_encoder(width),
        "stage3_block1_output",
        *(layers.ProjectionHead(projector, normalization=False) for _ in range(2)),
        two_views(),
        losses.InfoNCE(temperature),
        *(layers.FeatureQueue(queue) for _ in range(2)),
        momentum,
    )


def moco_v3(
    train: Images,
    width: int,
    projector: Sequence[int],
    predictor: int,
    temperature: float,
    momentum: float,
) -> Trainer:
    return trainers.MoCoV3(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
        losses.InfoNCE(temperature),
        momentum,
    )


def nnclr(
    train: Images,
    width: int,
    projector: Sequence[int],
    predictor: int,
    temperature: float,
    queue: int,
) -> Trainer:
    return trainers.NNCLR(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
        losses.InfoNCE(temperature),
        layers.FeatureQueue(queue),
    )


def sup_con(train: Images, width: int, projector: Sequence[int], temperature: float) -> Trainer:
    head = layers.ProjectionHead(projector, normalization=False)
    return trainers.SupCon(small_encoder(width), head, two_views(), losses.SupConLoss(temperature))


def instance_discrimination(
    train: Images, width: int, projector: Sequence[int], temperature: float, noise_samples: int
) -> Trainer:
    return trainers.InstanceDiscrimination(
        small_encoder(width),
        layers.MemoryBank(len(train.images)),
        layers.ProjectionHead(projector),
        augment.SimCLRViews(32, count=1, strength=0.5, blur_probability=0.0),
        temperature=temperature,
        noise_samples=noise_samples,
    )


def cpc(
    train: Images,
    width: int,
    patch: int,
    strides: int,
    context: int,
    steps: Sequence[int],
    directions: Sequence[str],
) -> Trainer:
    colors = [augment.RandomColorDrop(), augment.ColorJitter(0.4, 0.4, 0.4, 0.1)]
    return trainers.CPC(
        networks.small_resnet((patch, patch, 3), width),
        augment.PatchViews(patch, strides, colors),
        layers.MaskedContext(blocks=2, width=context),
        keras.layers.Dense(context),
        steps=steps,
        directions=directions,
    )


def deep_info_max(train: Images, width: int, map_layer: str, critic: int) -> Trainer:
    return trainers.DeepInfoMax(
        small_encoder(width), map_layer, local_critic=layers.EncodeAndDotProduct(critic)
    )


METHODS = {
    "SimCLR": Method(simclr),
    "DCL": Method(dcl),
    "DCLW": Method(dclw),
    "MoCo": Method(moco),
    "DenseCL": Method(dense_cl),
    "MoCoV3": Method(moco_v3),
    "NNCLR": Method(nnclr),
    "InstanceDiscrimination": Method(instance_discrimination, indexed),
    "CPC": Method(cpc),
    "DeepInfoMax": Method(deep_info_max),
    "SupCon": Method(sup_con, labelled),
}
