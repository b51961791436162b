"""Tensor functions shared by several folders.

>>> from keras_ssl.ops import l2_normalize
>>> [round(float(x), 3) for x in l2_normalize([3.0, 4.0])]
[0.6, 0.8]
"""

from keras_ssl.ops.balanced_log_assignments import balanced_log_assignments
from keras_ssl.ops.l2_normalize import l2_normalize
from keras_ssl.ops.log_sum_exp import log_sum_exp_of_queue, log_sum_exp_of_similarities
from keras_ssl.ops.patches import patchify, unpatchify
from keras_ssl.ops.precision import at_least_float32
from keras_ssl.ops.softplus_sum import softplus_sum_of_similarities
from keras_ssl.ops.statistics import center, off_diagonal_sum_of_squares, standardize

__all__ = [
    "at_least_float32",
    "balanced_log_assignments",
    "center",
    "l2_normalize",
    "log_sum_exp_of_queue",
    "log_sum_exp_of_similarities",
    "off_diagonal_sum_of_squares",
    "patchify",
    "softplus_sum_of_similarities",
    "standardize",
    "unpatchify",
]
