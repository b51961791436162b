"""Methods that distil."""

from collections.abc import Sequence
from typing import Any

import keras
from image_data import shuffled_batches
from keras.distillation import LogitsDistillation

from keras_ssl import augment, layers, losses, networks, trainers
from methods_of.ours._shared import (
    Images,
    Method,
    Trainer,
    labelled,
    small_encoder,
    small_vit,
    token_head,
    two_views,
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


def _msn(
    encoder: keras.Model,
    projector: Sequence[int],
    prototypes: int,
    focal_views: int,
    hide: Sequence[keras.layers.Layer],
    momentum: float,
    masking: keras.layers.Layer | None = None,
    method: type[trainers.MSN] = trainers.MSN,
    loss: type[losses.MSNLoss] = losses.MSNLoss,
) -> Trainer:
    """Patches are hidden by `hide` in the image, or left out as `masking` says."""

    def view(size: int, scale: tuple[float, float]) -> augment.FusedPipeline:
        jitter = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
        return augment.simclr_pipeline(size, scale, **jitter, blur_probability=0.0)

    views = [view(32, (0.3, 1.0)), [view(32, (0.3, 1.0)), *hide]]
    return method(
        encoder,
        layers.ProjectionHead(projector, activation="gelu"),
        layers.Prototypes(prototypes),
        augment.AsymmetricViews(views + focal_views * [view(16, (0.05, 0.3))]),
        loss(sinkhorn_iterations=3),
        momentum,
        masking,
    )


def msn(train: Images, width: int, masked: float, **recipe: Any) -> Trainer:
    """Patches are hidden in the image, which the small encoder sees; not left out as tokens."""
    encoder = networks.small_resnet((None, None, 3), width)
    return _msn(encoder, hide=[augment.RandomPatchMask(8, masked)], **recipe)


def pmsn(train: Images, width: int, **recipe: Any) -> Trainer:
    return msn(train, width, **recipe, method=trainers.PMSN, loss=losses.PMSNLoss)


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


def dino_vit(
    train: Images,
    width: int,
    projector: Sequence[int],
    prototypes: int,
    smallest_crop: float,
    momentum: float,
) -> Trainer:
    return trainers.DINO(
        small_vit(width),
        token_head(projector),
        layers.Prototypes(prototypes),
        two_views(smallest_crop),
        momentum=momentum,
    )


def msn_vit(train: Images, width: int, masked: float, **recipe: Any) -> Trainer:
    return _msn(small_vit(width), hide=[], **recipe, masking=layers.RandomMasking(masked))


METHODS = {
    "BYOL": Method(byol),
    "SimSiam": Method(simsiam),
    "DINO": Method(dino),
    "MSN": Method(msn),
    "PMSN": Method(pmsn),
    "KnowledgeDistillation": Method(knowledge_distillation),
    "DINO, ViT": Method(dino_vit),
    "MSN, ViT": Method(msn_vit),
}
