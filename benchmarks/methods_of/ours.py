"""Our side of each method: the trainer that its recipe describes, and the batches it reads."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from cifar10_data import shuffled_batches
from keras.distillation import LogitsDistillation

from keras_ssl import augment, layers, losses, networks, trainers

Trainer = trainers.SelfSupervisedModel


class Images(NamedTuple):
    """The training images and their labels, as arrays."""

    images: np.ndarray
    labels: np.ndarray


def alone(train: Images) -> Any:
    """What most methods read: images alone."""
    return train.images


def labelled(train: Images) -> Any:
    """What methods read that learn from labels."""
    return tuple(train)


def indexed(train: Images) -> Any:
    """What methods read that remember each image."""
    return {"image": train.images, "index": np.arange(len(train.images))}


class Method(NamedTuple):
    """How to make the trainer, called with the training images too, and what it reads."""

    trainer: Callable[..., Trainer]
    reads: Callable[[Images], Any] = alone


def small_encoder(width: int) -> keras.Model:
    """The encoder of every method that takes a convolutional one."""
    return networks.small_resnet((32, 32, 3), width)


def two_views(smallest: float = 0.08) -> keras.layers.Layer:
    """SimCLR's views of CIFAR-10 (arXiv:2002.05709, appendix B.9), crops of at least this area."""
    return augment.SimCLRViews(32, scale=(smallest, 1.0), strength=0.5, blur_probability=0.0)


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


def byol(
    train: Images, width: int, projector: Sequence[int], predictor: int, momentum: float
) -> Trainer:
    return trainers.BYOL(
        small_encoder(width),
        layers.ProjectionHead(projector),
        layers.PredictionHead(predictor),
        two_views(),
        momentum=momentum,
    )


def simsiam(train: Images, width: int, projector: Sequence[int], predictor: int) -> Trainer:
    return trainers.SimSiam(
        small_encoder(width),
        layers.ProjectionHead(projector, last_normalization=True),
        layers.PredictionHead(predictor),
        two_views(),
    )


def barlow_twins(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.BarlowTwins(small_encoder(width), layers.ProjectionHead(projector), two_views())


def vicreg(train: Images, width: int, projector: Sequence[int]) -> Trainer:
    return trainers.VICReg(small_encoder(width), layers.ProjectionHead(projector), two_views())


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


def dino(
    train: Images,
    width: int,
    projector: Sequence[int],
    prototypes: int,
    smallest_crop: float,
    momentum: float,
) -> Trainer:
    return trainers.DINO(
        small_encoder(width),
        layers.ProjectionHead(projector, activation="gelu", l2_normalize=True),
        layers.Prototypes(prototypes),
        two_views(smallest_crop),
        momentum=momentum,
    )


def msn(
    train: Images,
    width: int,
    projector: Sequence[int],
    prototypes: int,
    focal_views: int,
    masked: float,
    momentum: float,
) -> Trainer:
    """Patches are hidden in the image, which the small encoder sees; not left out as tokens."""

    def view(size: int, scale: tuple[float, float]) -> augment.FusedPipeline:
        jitter = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
        return augment.simclr_pipeline(size, scale, **jitter, blur_probability=0.0)

    target, anchor = view(32, (0.3, 1.0)), view(32, (0.3, 1.0))
    views = [target, [anchor, augment.RandomPatchMask(8, masked)]]
    return trainers.MSN(
        networks.small_resnet((None, None, 3), width),
        layers.ProjectionHead(projector, activation="gelu"),
        layers.Prototypes(prototypes),
        augment.AsymmetricViews(views + focal_views * [view(16, (0.05, 0.3))]),
        losses.MSNLoss(sinkhorn_iterations=3),
        momentum,
    )


def knowledge_distillation(
    train: Images, width: int, teacher_width: int, teacher_epochs: int, temperature: float
) -> Trainer:
    """The student learns from images alone; the teacher has learned from labels before."""
    view = augment.SimCLRViews(32, count=1, strength=0.5, blur_probability=0.0).pipelines[0]
    teacher = keras.Sequential([view, small_encoder(teacher_width), keras.layers.Dense(10)])
    teacher.compile("adamw", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = shuffled_batches(labelled(train), 256)
    teacher.fit(batches, epochs=teacher_epochs, shuffle=False, verbose=0)
    return trainers.KnowledgeDistillation(
        keras.Sequential([small_encoder(width), keras.layers.Dense(10)]),
        keras.Sequential(teacher.layers[1:]),
        augment=view,
        distillation_losses=LogitsDistillation(temperature=temperature),
        student_loss_weight=0.0,
    )


METHODS = {
    "SimCLR": Method(simclr),
    "DCL": Method(dcl),
    "DCLW": Method(dclw),
    "MoCo": Method(moco),
    "MoCoV3": Method(moco_v3),
    "NNCLR": Method(nnclr),
    "InstanceDiscrimination": Method(instance_discrimination, indexed),
    "CPC": Method(cpc),
    "DeepInfoMax": Method(deep_info_max),
    "SupCon": Method(sup_con, labelled),
    "SwAV": Method(swav),
    "DeepClusterV2": Method(deep_cluster_v2, indexed),
    "BarlowTwins": Method(barlow_twins),
    "VICReg": Method(vicreg),
    "BYOL": Method(byol),
    "SimSiam": Method(simsiam),
    "DINO": Method(dino),
    "MSN": Method(msn),
    "KnowledgeDistillation": Method(knowledge_distillation),
}
