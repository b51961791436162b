"""How slowly a teacher follows its student in the course of training."""

import keras

from keras_ssl import checks


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
    momentum = checks.below_one("momentum", momentum, positive=True)
    steps = checks.integer("steps", steps, minimum=1)
    final_momentum = checks.positive("final_momentum", final_momentum, maximum=1)
    return keras.optimizers.schedules.CosineDecay(momentum, steps, alpha=final_momentum / momentum)
