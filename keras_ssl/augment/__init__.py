"""Batched augmentation on the device: random views of images, graphs, sequences and tables."""

from keras_ssl.augment import graph, sequence, tabular
from keras_ssl.augment.augmentation import Augmentation
from keras_ssl.augment.image import (
    ColorAugmentation,
    ColorJitter,
    ColorMap,
    FusedPipeline,
    GaussianBlur,
    GeometricAugmentation,
    Grayscale,
    ImageAugmentation,
    LocatedViews,
    MultiCropViews,
    PatchViews,
    RandomColorDrop,
    RandomHorizontalFlip,
    RandomPatchMask,
    RandomResizedCrop,
    RandomSolarize,
    SimCLRViews,
    simclr_pipeline,
)
from keras_ssl.augment.on_key import OnKey
from keras_ssl.augment.pipeline import Pipeline
from keras_ssl.augment.views import AsymmetricViews, Views

__all__ = [
    "AsymmetricViews",
    "Augmentation",
    "ColorAugmentation",
    "ColorJitter",
    "ColorMap",
    "FusedPipeline",
    "GaussianBlur",
    "GeometricAugmentation",
    "Grayscale",
    "ImageAugmentation",
    "LocatedViews",
    "MultiCropViews",
    "OnKey",
    "PatchViews",
    "Pipeline",
    "RandomColorDrop",
    "RandomHorizontalFlip",
    "RandomPatchMask",
    "RandomResizedCrop",
    "RandomSolarize",
    "SimCLRViews",
    "Views",
    "graph",
    "sequence",
    "simclr_pipeline",
    "tabular",
]
