"""Optimizers, learning-rate rules and schedules that Keras lacks."""

from keras_ssl.optimizers.adaptive_gain import AdaptiveGain
from keras_ssl.optimizers.heavy_ball import HeavyBall
from keras_ssl.optimizers.hessian_free import fit_hessian_free
from keras_ssl.optimizers.lars import LARS
from keras_ssl.optimizers.layer_wise_decay import layer_wise_decay
from keras_ssl.optimizers.lbfgs import fit_lbfgs
from keras_ssl.optimizers.lookahead import Lookahead
from keras_ssl.optimizers.momentum_schedule import cosine_momentum
from keras_ssl.optimizers.parameter_groups import NO_WEIGHT_DECAY
from keras_ssl.optimizers.rprop import Rprop
from keras_ssl.optimizers.sam import SAM
from keras_ssl.optimizers.scaling_rules import linear_scaling, square_root_scaling
from keras_ssl.optimizers.schedules import (
    CyclicSchedule,
    InverseSquareRootDecay,
    LinearDecay,
    OneCycleSchedule,
)

__all__ = [
    "LARS",
    "NO_WEIGHT_DECAY",
    "SAM",
    "AdaptiveGain",
    "CyclicSchedule",
    "HeavyBall",
    "InverseSquareRootDecay",
    "LinearDecay",
    "Lookahead",
    "OneCycleSchedule",
    "Rprop",
    "cosine_momentum",
    "fit_hessian_free",
    "fit_lbfgs",
    "layer_wise_decay",
    "linear_scaling",
    "square_root_scaling",
]
