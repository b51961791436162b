"""Redundancy reduction: features agree between views and do not repeat each other."""

from keras_ssl.trainers.redundancy.barlow_twins import BarlowTwins
from keras_ssl.trainers.redundancy.vicreg import VICReg

__all__ = ["BarlowTwins", "VICReg"]
