"""Methods that learn to generate or to reconstruct data."""

from keras_ssl.trainers.generative.classifier_guidance import ClassifierGuidance
from keras_ssl.trainers.generative.denoiser_features import DenoiserFeatures
from keras_ssl.trainers.generative.diffusion import Diffusion
from keras_ssl.trainers.generative.flow_matching import FlowMatching
from keras_ssl.trainers.generative.latent_diffusion import LatentDiffusion
from keras_ssl.trainers.generative.latents import Latents

__all__ = [
    "ClassifierGuidance",
    "DenoiserFeatures",
    "Diffusion",
    "FlowMatching",
    "LatentDiffusion",
    "Latents",
]
