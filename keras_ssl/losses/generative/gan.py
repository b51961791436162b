"""Objectives of adversarial networks: what discriminator and generator minimise."""

from typing import Any

import keras
from keras import ops

from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses.generative._checks import check_rank, check_same_shape
from keras_ssl.ops import at_least_float32

NAMES = ("real", "fake")


def minimax_gan(real: Any, fake: Any) -> tuple[Any, Any]:
    """Minimax objective of discriminator and generator, one value per example for each.

    With D = sigmoid(d) the probability that the discriminator gives to be real, from its logits d:

        l_D(i) = -log D(x_i) - log(1 - D(G(z_i))),    l_G(i) = log(1 - D(G(z_i)))

    The generator's gradient vanishes where the discriminator is sure of a fake; see
    `keras_ssl.losses.non_saturating_gan`.

    Args:
        real: logits d(x) of real examples, `(n, ...)`, floating-point. Of several per example, such
            as those of patches, the mean of their values is taken.
        fake: logits d(G(z)) of generated examples, of the same shape.

    Returns:
        The discriminator's and the generator's values, two tensors of shape `(n,)`, at least
        float32.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if logits are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> unsure = np.zeros((1, 1), "float32")
    >>> discriminator, generator = losses.minimax_gan(unsure, unsure)
    >>> round(float(discriminator[0]), 4), round(float(generator[0]), 4)  # 2 log 2, -log 2
    (1.3863, -0.6931)

    Reference:
        - [Goodfellow et al., Generative Adversarial Networks](https://arxiv.org/abs/1406.2661),
          equation 1
    """
    return MinimaxGAN().values(real, fake)


def non_saturating_gan(real: Any, fake: Any) -> tuple[Any, Any]:
    """Non-saturating objective of discriminator and generator, one value per example for each.

        l_D(i) = -log D(x_i) - log(1 - D(G(z_i))),    l_G(i) = -log D(G(z_i))

    Args:
        real: logits of real examples; see `keras_ssl.losses.minimax_gan`.
        fake: logits of generated examples, of the same shape.

    Returns:
        The discriminator's and the generator's values, two tensors of shape `(n,)`, at least
        float32.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if logits are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> unsure = np.zeros((1, 1), "float32")
    >>> discriminator, generator = losses.non_saturating_gan(unsure, unsure)
    >>> round(float(discriminator[0]), 4), round(float(generator[0]), 4)
    (1.3863, 0.6931)

    Reference:
        - [Goodfellow et al., Generative Adversarial Networks](https://arxiv.org/abs/1406.2661),
          section 3
    """
    return NonSaturatingGAN().values(real, fake)


def least_squares_gan(real: Any, fake: Any) -> tuple[Any, Any]:
    """Least-squares objective of discriminator and generator, one value per example for each.

    With d the discriminator's output, which is no logit here:

        l_D(i) = [(d(x_i) - 1)² + d(G(z_i))²] / 2,    l_G(i) = (d(G(z_i)) - 1)² / 2

    Args:
        real: outputs for real examples; see `keras_ssl.losses.minimax_gan`.
        fake: outputs for generated examples, of the same shape.

    Returns:
        The discriminator's and the generator's values, two tensors of shape `(n,)`, at least
        float32.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if outputs are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> real, fake = np.array([[0.5]], "float32"), np.array([[2.0]], "float32")
    >>> [float(one[0]) for one in losses.least_squares_gan(real, fake)]
    [2.125, 0.5]

    Reference:
        - [Mao et al., Least Squares Generative Adversarial
          Networks](https://arxiv.org/abs/1611.04076), equation 9
    """
    return LeastSquaresGAN().values(real, fake)


def hinge_gan(real: Any, fake: Any) -> tuple[Any, Any]:
    """Hinge objective of discriminator and generator, one value per example for each.

        l_D(i) = max(0, 1 - d(x_i)) + max(0, 1 + d(G(z_i))),    l_G(i) = -d(G(z_i))

    Args:
        real: outputs for real examples; see `keras_ssl.losses.minimax_gan`.
        fake: outputs for generated examples, of the same shape.

    Returns:
        The discriminator's and the generator's values, two tensors of shape `(n,)`, at least
        float32.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if outputs are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> real, fake = np.array([[0.5]], "float32"), np.array([[2.0]], "float32")
    >>> [float(one[0]) for one in losses.hinge_gan(real, fake)]
    [3.5, -2.0]

    Reference:
        - [Lim & Ye, Geometric GAN](https://arxiv.org/abs/1705.02894)
        - [Miyato et al., Spectral Normalization for Generative Adversarial
          Networks](https://arxiv.org/abs/1802.05957), equations 16 and 17
    """
    return HingeGAN().values(real, fake)


def wasserstein_gan(real: Any, fake: Any) -> tuple[Any, Any]:
    """Wasserstein objective of critic and generator, one value per example for each.

        l_D(i) = d(G(z_i)) - d(x_i),    l_G(i) = -d(G(z_i))

    -l_D estimates the Wasserstein distance if d has slopes of at most 1: see
    `keras_ssl.losses.gradient_penalty`.

    Args:
        real: the critic's outputs for real examples; see `keras_ssl.losses.minimax_gan`.
        fake: outputs for generated examples, of the same shape.

    Returns:
        The critic's and the generator's values, two tensors of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if outputs are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> real, fake = np.array([[0.5]], "float32"), np.array([[2.0]], "float32")
    >>> [float(one[0]) for one in losses.wasserstein_gan(real, fake)]
    [1.5, -2.0]

    Reference:
        - [Arjovsky et al., Wasserstein GAN](https://arxiv.org/abs/1701.07875)
    """
    return WassersteinGAN().values(real, fake)


def gradient_penalty(gradients: Any) -> Any:
    """How far slopes of a critic are from 1, one value per example.

    With g_i the gradient of the critic's output for its input, at one input of example i:

        l(i) = (|g_i| - 1)²

    WGAN-GP takes inputs at random places between a real and a generated example.

    Args:
        gradients: g, a tensor `(n, ...)`, or a structure of them whose entries count together.

    Returns:
        Tensor of shape `(n,)`, at least float32. A gradient of zeros has the value 1 and no
        gradient itself, since no direction is better than another.

    Raises:
        TypeError: if gradients are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> losses.gradient_penalty(np.array([[3, 4], [0, 1]], "float32")).numpy().tolist()
    [16.0, 0.0]

    Reference:
        - [Gulrajani et al., Improved Training of Wasserstein
          GANs](https://arxiv.org/abs/1704.00028), equation 3
    """
    squares = 0.0
    for one in keras.tree.flatten(gradients):
        check_rank(one, "gradients", 1, "(batch, ...)")
        rows = ops.reshape(at_least_float32(one), (ops.shape(one)[0], -1))
        squares = squares + ops.sum(ops.square(rows), axis=-1)
    # the root has an infinite slope at 0, which would make the gradient NaN
    is_zero = squares <= 0
    norm = ops.where(is_zero, 0.0, ops.sqrt(ops.where(is_zero, 1.0, squares)))
    return ops.square(norm - 1.0)


class GANLoss(Float32Loss):
    """Objective of discriminator and generator: base of the losses of `trainers.GAN`.

    Called with what the discriminator returns for real and for generated examples, it is the
    discriminator's loss; `generator(fake)` is that of the generator. A subclass defines
    `of_discriminator(real, fake)` and `of_generator(fake)`, elementwise.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        real: outputs for real examples, `(batch, ...)`.
        fake: outputs for generated examples, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Example:

    >>> from keras import ops
    >>> from keras_ssl import losses
    >>> class AbsoluteGAN(losses.GANLoss):
    ...     def of_discriminator(self, real, fake):
    ...         return ops.abs(real - 1) + ops.abs(fake)
    ...
    ...     def of_generator(self, fake):
    ...         return ops.abs(fake - 1)
    >>> loss, zeros = AbsoluteGAN(), ops.zeros((4, 1))
    >>> float(loss(zeros, zeros)), float(loss.generator(zeros))
    (1.0, 1.0)
    """

    def of_discriminator(self, real: Any, fake: Any) -> Any:
        """Return the discriminator's loss of each pair of outputs, in the shape of both."""
        raise NotImplementedError

    def of_generator(self, fake: Any) -> Any:
        """Return the generator's loss of each output, in its shape."""
        raise NotImplementedError

    def __call__(self, real: Any, fake: Any, sample_weight: Any = None) -> Any:
        """Compute the discriminator's loss."""
        check_same_shape(real, fake, NAMES)  # before the cast, which would hide integers
        return super().__call__(real, fake, sample_weight=sample_weight)

    def call(self, real: Any, fake: Any) -> Any:
        """Return the discriminator's values of the examples, before the reduction."""
        return _mean_of_examples(self.of_discriminator(real, fake))

    def generator(self, fake: Any, sample_weight: Any = None) -> Any:
        """Compute the generator's loss.

        Args:
            fake: what the discriminator returns for generated examples, `(batch, ...)`.
            sample_weight: optional weights of the examples, `(batch,)`.

        Returns:
            The mean over the examples, or their `(batch,)` values with `reduction=None`.
        """
        check_rank(fake, "fake", 1, "(batch, ...)")
        return _OfGenerator(self)(fake, fake, sample_weight=sample_weight)

    def values(self, real: Any, fake: Any) -> tuple[Any, Any]:
        """Return the discriminator's and the generator's values, two tensors `(batch,)`."""
        check_same_shape(real, fake, NAMES)
        real, fake = at_least_float32(real), at_least_float32(fake)
        return self.call(real, fake), _mean_of_examples(self.of_generator(fake))


class _OfGenerator(Float32Loss):
    """The generator's part of an objective, reduced as the objective."""

    def __init__(self, objective: GANLoss):
        super().__init__(objective.reduction, objective.name, objective.dtype)
        self._objective = objective

    def call(self, fake: Any, _: Any) -> Any:
        return _mean_of_examples(self._objective.of_generator(fake))


def _mean_of_examples(values: Any) -> Any:
    axes = tuple(range(1, len(values.shape)))
    return ops.mean(values, axis=axes) if axes else values


@keras.saving.register_keras_serializable(package="keras_ssl")
class NonSaturatingGAN(GANLoss):
    """Non-saturating objective: the generator learns even if the discriminator is sure.

    See `keras_ssl.losses.non_saturating_gan` for the formula, errors and reference.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        real: logits of real examples, `(batch, ...)`.
        fake: logits of generated examples, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The discriminator's loss, a mean over the examples, or their `(batch,)` values with
        `reduction=None`. `generator(fake)` returns the generator's.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss, unsure = losses.NonSaturatingGAN(), np.zeros((4, 1), "float32")
    >>> round(float(loss(unsure, unsure)), 4), round(float(loss.generator(unsure)), 4)
    (1.3863, 0.6931)
    """

    def of_discriminator(self, real: Any, fake: Any) -> Any:
        """Return -log D(x) - log(1 - D(G(z)))."""
        return ops.softplus(-real) + ops.softplus(fake)

    def of_generator(self, fake: Any) -> Any:
        """Return -log D(G(z))."""
        return ops.softplus(-fake)


@keras.saving.register_keras_serializable(package="keras_ssl")
class MinimaxGAN(NonSaturatingGAN):
    """Minimax objective of the first GAN: the generator maximises the discriminator's loss.

    See `keras_ssl.losses.minimax_gan` for the formula, errors and reference.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        real: logits of real examples, `(batch, ...)`.
        fake: logits of generated examples, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The discriminator's loss, a mean over the examples, or their `(batch,)` values with
        `reduction=None`. `generator(fake)` returns the generator's.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss, unsure = losses.MinimaxGAN(), np.zeros((4, 1), "float32")
    >>> round(float(loss(unsure, unsure)), 4), round(float(loss.generator(unsure)), 4)
    (1.3863, -0.6931)
    """

    def of_generator(self, fake: Any) -> Any:
        """Return log(1 - D(G(z)))."""
        return -ops.softplus(fake)


@keras.saving.register_keras_serializable(package="keras_ssl")
class LeastSquaresGAN(GANLoss):
    """Least-squares objective, which also moves fakes that the discriminator takes for real.

    See `keras_ssl.losses.least_squares_gan` for the formula, errors and reference.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        real: outputs for real examples, `(batch, ...)`.
        fake: outputs for generated examples, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The discriminator's loss, a mean over the examples, or their `(batch,)` values with
        `reduction=None`. `generator(fake)` returns the generator's.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss, zeros = losses.LeastSquaresGAN(), np.zeros((4, 1), "float32")
    >>> float(loss(zeros, zeros)), float(loss.generator(zeros))
    (0.5, 0.5)
    """

    def of_discriminator(self, real: Any, fake: Any) -> Any:
        """Return [(d(x) - 1)² + d(G(z))²] / 2."""
        return 0.5 * (ops.square(real - 1) + ops.square(fake))

    def of_generator(self, fake: Any) -> Any:
        """Return (d(G(z)) - 1)² / 2."""
        return 0.5 * ops.square(fake - 1)


@keras.saving.register_keras_serializable(package="keras_ssl")
class HingeGAN(GANLoss):
    """Hinge objective, in which examples on the right side of the margin do not count.

    See `keras_ssl.losses.hinge_gan` for the formula, errors and references.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        real: outputs for real examples, `(batch, ...)`.
        fake: outputs for generated examples, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The discriminator's loss, a mean over the examples, or their `(batch,)` values with
        `reduction=None`. `generator(fake)` returns the generator's.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss, ones = losses.HingeGAN(), np.ones((4, 1), "float32")
    >>> float(loss(ones, -ones)), float(loss.generator(ones))
    (0.0, -1.0)
    """

    def of_discriminator(self, real: Any, fake: Any) -> Any:
        """Return max(0, 1 - d(x)) + max(0, 1 + d(G(z)))."""
        return ops.relu(1 - real) + ops.relu(1 + fake)

    def of_generator(self, fake: Any) -> Any:
        """Return -d(G(z))."""
        return -fake


@keras.saving.register_keras_serializable(package="keras_ssl")
class WassersteinGAN(GANLoss):
    """Wasserstein objective: the critic tells apart the means of its outputs.

    See `keras_ssl.losses.wasserstein_gan` for the formula, errors and reference. Bound the critic's
    slope by `trainers.GAN(gradient_penalty=10)`.

    Args:
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        real: outputs for real examples, `(batch, ...)`.
        fake: outputs for generated examples, of the same shape.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The critic's loss, a mean over the examples, or their `(batch,)` values with
        `reduction=None`. `generator(fake)` returns the generator's.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss, ones = losses.WassersteinGAN(), np.ones((4, 1), "float32")
    >>> float(loss(ones, -ones)), float(loss.generator(ones))
    (-2.0, -1.0)
    """

    def of_discriminator(self, real: Any, fake: Any) -> Any:
        """Return d(G(z)) - d(x)."""
        return fake - real

    def of_generator(self, fake: Any) -> Any:
        """Return -d(G(z))."""
        return -fake
