"""Schedule of the momentum of an EMA teacher."""

import keras

from keras_ssl import checks


def cosine_momentum(
    momentum: float, steps: int, final_momentum: float = 1.0
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Momentum of an EMA teacher that rises as half a cosine, as in BYOL, MoCo v3 and DINO.

    At step k of K, from m_0 to m_1:

        m(k) = m_1 - (m_1 - m_0) (1 + cos(π k / K)) / 2

    Args:
        momentum: m_0, above 0 and below 1.
        steps: K, the number of optimizer steps.
        final_momentum: m_1, above 0 and at most 1. With 1 the teacher stops changing.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`, whose decay is negative.

    Raises:
        ValueError: if a momentum is out of range, or `steps` below 1.
        TypeError: if a momentum is not a number, or `steps` not an integer.

    Example:

    >>> from keras_ssl import optimizers
    >>> schedule = optimizers.cosine_momentum(0.996, steps=100)
    >>> [round(float(schedule(step)), 4) for step in (0, 50, 100)]
    [0.996, 0.998, 1.0]

    Reference:
        - [Grill et al., Bootstrap Your Own Latent](https://arxiv.org/abs/2006.07733)
    """
    momentum = checks.below_one("momentum", momentum, positive=True)
    steps = checks.integer("steps", steps, minimum=1)
    final_momentum = checks.positive("final_momentum", final_momentum, maximum=1)
    return keras.optimizers.schedules.CosineDecay(momentum, steps, alpha=final_momentum / momentum)
