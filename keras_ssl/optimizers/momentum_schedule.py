"""How slowly a teacher follows its student in the course of training."""

import numbers
from typing import Any

import keras


def cosine_momentum(
    momentum: float, steps: int, final_momentum: float = 1.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Momentum of a teacher that rises along half a cosine, as in BYOL, MoCo v3 and DINO.

    At step k of K, from m_0 to m_1:

        m(k) = m_1 - (m_1 - m_0) (1 + cos(π k / K)) / 2

    Args:
        momentum: m_0, in [0, 1).
        steps: K, the optimizer steps of the run.
        final_momentum: m_1, above 0 and at most 1. With 1 the teacher comes to rest.

    Returns:
        `keras.optimizers.schedules.CosineDecay`, which is such a curve.

    Raises:
        ValueError: if a momentum is out of its range, or `steps` below 1.

    Example:

    >>> from keras_ssl import optimizers
    >>> schedule = optimizers.cosine_momentum(0.996, steps=100)
    >>> [round(float(schedule(step)), 4) for step in (0, 50, 100)]
    [0.996, 0.998, 1.0]

    Reference:
        - [Grill et al., Bootstrap Your Own Latent](https://arxiv.org/abs/2006.07733)
    """
    if not 0 < momentum < 1:
        raise ValueError(f"`momentum` must be above 0 and below 1. Received: {momentum}")
    if not 0 < final_momentum <= 1:
        raise ValueError(
            f"`final_momentum` must be above 0 and at most 1. Received: {final_momentum}"
        )
    if isinstance(steps, bool) or not isinstance(steps, numbers.Integral) or steps < 1:
        raise ValueError(f"`steps` must be a positive integer. Received: {steps}")
    return keras.optimizers.schedules.CosineDecay(
        float(momentum), int(steps), alpha=final_momentum / momentum
    )


def check_momentum(momentum: Any) -> None:
    """Raise unless a teacher can follow with this momentum.

    Args:
        momentum: a number in [0, 1), or a schedule of such numbers.

    Raises:
        ValueError: if it is a number outside [0, 1).
        TypeError: if it is neither a number nor a schedule.

    Example:

    >>> from keras_ssl.optimizers.momentum_schedule import check_momentum
    >>> check_momentum(0.99)
    """
    if isinstance(momentum, keras.optimizers.schedules.LearningRateSchedule):
        return
    if isinstance(momentum, bool) or not isinstance(momentum, numbers.Real):
        raise TypeError(
            "`momentum` must be a number in [0, 1) or a schedule, such as "
            f"`keras_ssl.optimizers.cosine_momentum(...)`. Received: {momentum!r}"
        )
    if not 0 <= momentum < 1:
        raise ValueError(f"`momentum` must be in [0, 1). Received: {momentum}")
