"""Augmentation of images."""

from keras_ssl.augment.image.color import ColorAugmentation, ColorMap
from keras_ssl.augment.image.color_jitter import ColorJitter
from keras_ssl.augment.image.fused_pipeline import FusedPipeline
from keras_ssl.augment.image.gaussian_blur import GaussianBlur
from keras_ssl.augment.image.geometry import GeometricAugmentation
from keras_ssl.augment.image.grayscale import Grayscale
from keras_ssl.augment.image.image_augmentation import ImageAugmentation
from keras_ssl.augment.image.located_views import LocatedViews
from keras_ssl.augment.image.multi_crop_views import MultiCropViews
from keras_ssl.augment.image.patch_views import PatchViews
from keras_ssl.augment.image.random_color_drop import RandomColorDrop
from keras_ssl.augment.image.random_horizontal_flip import RandomHorizontalFlip
from keras_ssl.augment.image.random_patch_mask import RandomPatchMask
from keras_ssl.augment.image.random_resized_crop import RandomResizedCrop
from keras_ssl.augment.image.random_solarize import RandomSolarize
from keras_ssl.augment.image.simclr_views import SimCLRViews, simclr_pipeline

__all__ = [
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
    "PatchViews",
    "RandomColorDrop",
    "RandomHorizontalFlip",
    "RandomPatchMask",
    "RandomResizedCrop",
    "RandomSolarize",
    "SimCLRViews",
    "simclr_pipeline",
]
