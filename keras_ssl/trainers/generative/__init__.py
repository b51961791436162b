"""Methods that learn to generate or to reconstruct data."""

from keras_ssl.trainers.generative.autoencoder import Autoencoder, SparseAutoencoder
from keras_ssl.trainers.generative.classifier_guidance import ClassifierGuidance
from keras_ssl.trainers.generative.denoiser_features import DenoiserFeatures
from keras_ssl.trainers.generative.diffusion import Diffusion
from keras_ssl.trainers.generative.flow_matching import FlowMatching
from keras_ssl.trainers.generative.gan import GAN
from keras_ssl.trainers.generative.latent_diffusion import LatentDiffusion
from keras_ssl.trainers.generative.latents import Latents
from keras_ssl.trainers.generative.moment_matching import MomentMatching
from keras_ssl.trainers.generative.vae import VAE
from keras_ssl.trainers.generative.vq_vae import VQVAE

__all__ = [
    "GAN",
    "VAE",
    "VQVAE",
    "Autoencoder",
    "ClassifierGuidance",
    "DenoiserFeatures",
    "Diffusion",
    "FlowMatching",
    "LatentDiffusion",
    "Latents",
    "MomentMatching",
    "SparseAutoencoder",
]
