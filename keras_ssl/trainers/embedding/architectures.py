"""The architectures of word2vec: which vector predicts which words."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_ssl")
class SkipGram:
    """Skip-gram: the vector of a word predicts each word in its window.

    Call arguments:
        vectors_of: function from indices of words to their vectors.
        words: the words of rows and their surroundings, integers `(batch, words)`.
        pairs: float tensor `(batch, centers, words)`, 1 where the word is in the window of the
            center. The centers are the middle of the row.

    Returns:
        A tuple of what predicts, `(batch, centers, dim)`; of what is predicted, integers `(batch,
        targets)`; and of `(batch, centers, targets)`, 1 where a vector predicts a target.

    Example:

    >>> from keras_ssl import trainers
    >>> trainer = trainers.Word2Vec([5, 3, 2], dim=4, architecture=trainers.SkipGram())

    Reference:
        - [Mikolov et al., Efficient Estimation of Word Representations in Vector Space](
          https://arxiv.org/abs/1301.3781)
    """

    def __call__(self, vectors_of: Callable, words: Any, pairs: Any) -> tuple[Any, Any, Any]:
        """Return vectors, the words that they predict, and who predicts whom."""
        return vectors_of(centers_of(words, pairs.shape[1])), words, pairs

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments: none."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return the architecture that `config` describes."""
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_ssl")
class CBOW:
    """Continuous bag of words: the mean of the vectors in a window predicts the word amid it.

    Call arguments and results are those of `trainers.SkipGram`. A word without contexts predicts
    nothing.

    Example:

    >>> from keras_ssl import trainers
    >>> trainer = trainers.Word2Vec([5, 3, 2], dim=4, architecture=trainers.CBOW())

    Reference:
        - [Mikolov et al., Efficient Estimation of Word Representations in Vector Space](
          https://arxiv.org/abs/1301.3781)
    """

    def __call__(self, vectors_of: Callable, words: Any, pairs: Any) -> tuple[Any, Any, Any]:
        """Return means, the words that they predict, and who predicts whom."""
        contexts = ops.sum(pairs, axis=2, keepdims=True)
        vectors = vectors_of(words)
        shares = ops.cast(pairs / ops.maximum(contexts, 1.0), vectors.dtype)
        centers = pairs.shape[1]
        predicts = ops.eye(centers, dtype=pairs.dtype) * ops.cast(contexts > 0, pairs.dtype)
        return ops.matmul(shares, vectors), centers_of(words, centers), predicts

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments: none."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return the architecture that `config` describes."""
        return cls(**config)


def centers_of(words: Any, centers: int) -> Any:
    """Return the words in the middle of rows, those whose windows are given."""
    window = (words.shape[1] - centers) // 2
    return words[:, window : window + centers]
