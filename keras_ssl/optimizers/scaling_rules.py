"""How the learning rate grows with the batch."""

from keras_ssl import checks


def linear_scaling(base_learning_rate: float, batch_size: int, reference: int = 256) -> float:
    """Learning rate in proportion to the batch: `base_learning_rate * batch_size / reference`.

    SimCLR trains with a base learning rate of 0.3 and LARS.

    Args:
        base_learning_rate: the learning rate for a batch of `reference` examples.
        batch_size: examples an optimizer step sees, over all replicas.
        reference: batch size at which the base learning rate holds.

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
    """Learning rate in proportion to the square root of the batch.

    It is `base_learning_rate * sqrt(batch_size / reference)`. SimCLR uses it with a base learning
    rate of 0.075 for small batches and short training.

    Args:
        base_learning_rate: the learning rate for a batch of `reference` examples.
        batch_size: examples an optimizer step sees, over all replicas.
        reference: batch size at which the base learning rate holds; 1 as in SimCLR.

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
