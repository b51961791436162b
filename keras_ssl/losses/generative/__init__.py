"""Losses of methods that generate, and of autoencoders."""

from keras_ssl.losses.generative.gan import (
    GANLoss,
    HingeGAN,
    LeastSquaresGAN,
    MinimaxGAN,
    NonSaturatingGAN,
    WassersteinGAN,
    gradient_penalty,
    hinge_gan,
    least_squares_gan,
    minimax_gan,
    non_saturating_gan,
    wasserstein_gan,
)
from keras_ssl.losses.generative.gaussian_kl import GaussianKL, gaussian_kl, gaussian_kl_terms
from keras_ssl.losses.generative.likelihoods import (
    BernoulliNLL,
    GaussianNLL,
    Likelihood,
    bernoulli_nll,
    gaussian_nll,
)
from keras_ssl.losses.generative.mmd import MMD, mmd
from keras_ssl.losses.generative.sparsity import (
    KLSparsity,
    L1Sparsity,
    kl_sparsity,
    l1_sparsity,
)

__all__ = [
    "MMD",
    "BernoulliNLL",
    "GANLoss",
    "GaussianKL",
    "GaussianNLL",
    "HingeGAN",
    "KLSparsity",
    "L1Sparsity",
    "LeastSquaresGAN",
    "Likelihood",
    "MinimaxGAN",
    "NonSaturatingGAN",
    "WassersteinGAN",
    "bernoulli_nll",
    "gaussian_kl",
    "gaussian_kl_terms",
    "gaussian_nll",
    "gradient_penalty",
    "hinge_gan",
    "kl_sparsity",
    "l1_sparsity",
    "least_squares_gan",
    "minimax_gan",
    "mmd",
    "non_saturating_gan",
    "wasserstein_gan",
]
