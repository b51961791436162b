"""Rules that scale the learning rate with the batch size."""

from keras_ssl import checks


def linear_scaling(base_learning_rate: float, batch_size: int, reference: int = 256) -> float:
    """Learning rate proportional to the batch size.

    It is `base_learning_rate * batch_size / reference`. SimCLR uses it with LARS and a base
    learning rate of 0.3.

    Args:
        base_learning_rate: the learning rate for a batch of `reference` examples.
        batch_size: examples per optimizer step, over all replicas.
        reference: batch size for which the base learning rate is meant.

    Returns:
        The learning rate for `batch_size`.

    Raises:
        ValueError: if `batch_size` or `reference` is not positive.

    Example:

    >>> from keras_ssl import optimizers
    >>> optimizers.linear_scaling(0.3, batch_size=4096)
    4.8

    Reference:
        - [Goyal et al., Accurate, Large Minibatch SGD](https://arxiv.org/abs/1706.02677)
    """
    checks.positive("batch_size", batch_size)
    checks.positive("reference", reference)
    return float(base_learning_rate * batch_size / reference)


def square_root_scaling(base_learning_rate: float, batch_size: int, reference: int = 1) -> float:
    """Learning rate proportional to the square root of the batch size.

    It is `base_learning_rate * sqrt(batch_size / reference)`. SimCLR uses it with a base learning
    rate of 0.075 for small batches and short training.

    Args:
        base_learning_rate: the learning rate for a batch of `reference` examples.
        batch_size: examples per optimizer step, over all replicas.
        reference: batch size for which the base learning rate is meant; 1 as in SimCLR.

    Returns:
        The learning rate for `batch_size`.

    Raises:
        ValueError: if `batch_size` or `reference` is not positive.

    Example:

    >>> from keras_ssl import optimizers
    >>> optimizers.square_root_scaling(0.075, batch_size=4096)
    4.8

    Reference:
        - [Chen et al., A Simple Framework for Contrastive Learning of Visual
          Representations, appendix B.1](https://arxiv.org/abs/2002.05709)
    """
    checks.positive("batch_size", batch_size)
    checks.positive("reference", reference)
    return float(base_learning_rate * (batch_size / reference) ** 0.5)
