"""Paths from data to noise, and samplers that lead back, of diffusion and flow matching."""

from keras_ssl.samplers.ddim import DDIM
from keras_ssl.samplers.ddpm import DDPM
from keras_ssl.samplers.dpm_solver import DPMSolverPlusPlus2M
from keras_ssl.samplers.euler import Euler, Heun
from keras_ssl.samplers.noise_path import Grid, NoisePath
from keras_ssl.samplers.noise_schedule import NoiseSchedule
from keras_ssl.samplers.predictions import data_and_noise, target_of
from keras_ssl.samplers.sampler import Plan, Sampler
from keras_ssl.samplers.straight_path import StraightPath

__all__ = [
    "DDIM",
    "DDPM",
    "DPMSolverPlusPlus2M",
    "Euler",
    "Grid",
    "Heun",
    "NoisePath",
    "NoiseSchedule",
    "Plan",
    "Sampler",
    "StraightPath",
    "data_and_noise",
    "target_of",
]
