"""Batched view generation on the device."""

from keras_ssl.augment import graph
from keras_ssl.augment.asymmetric_views import AsymmetricViews
from keras_ssl.augment.augmentation import Augmentation
from keras_ssl.augment.color import ColorAugmentation, ColorMap
from keras_ssl.augment.color_jitter import ColorJitter
from keras_ssl.augment.fused_pipeline import FusedPipeline
from keras_ssl.augment.gaussian_blur import GaussianBlur
from keras_ssl.augment.geometry import GeometricAugmentation
from keras_ssl.augment.grayscale import Grayscale
from keras_ssl.augment.multi_crop_views import MultiCropViews
from keras_ssl.augment.patch_views import PatchViews
from keras_ssl.augment.random_color_drop import RandomColorDrop
from keras_ssl.augment.random_horizontal_flip import RandomHorizontalFlip
from keras_ssl.augment.random_patch_mask import RandomPatchMask
from keras_ssl.augment.random_resized_crop import RandomResizedCrop
from keras_ssl.augment.random_solarize import RandomSolarize
from keras_ssl.augment.simclr_pipeline import simclr_pipeline
from keras_ssl.augment.simclr_views import SimCLRViews
from keras_ssl.augment.views import Views

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
    "MultiCropViews",
    "PatchViews",
    "RandomColorDrop",
    "RandomHorizontalFlip",
    "RandomPatchMask",
    "RandomResizedCrop",
    "RandomSolarize",
    "SimCLRViews",
    "Views",
    "graph",
    "simclr_pipeline",
]
