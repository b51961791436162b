"""The objectives of word2vec: how a vector predicts words."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses import neg
from keras_ssl.trainers._noise import NoiseDistribution
from keras_ssl.trainers.engine.table_rows import RowsEmbedding


class WordObjective(keras.layers.Layer):
    """Base of the objectives of `trainers.Word2Vec`: holds an output vector for every word.

    A subclass implements `call(h, targets, pairs)`, which gets vectors `(batch, centers, dim)`,
    the indices of words `(batch, targets)` and a float tensor `(batch, centers, targets)` that is 1
    where a vector predicts a word, and returns the sum of the losses of each vector's
    predictions, `(batch, centers)`. `self.outputs(words)` returns output vectors.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Example:

    Squared distances of scores from 1, without noise:

    >>> import keras
    >>> from keras_ssl import trainers
    >>> class Squares(trainers.WordObjective):
    ...     def call(self, h, targets, pairs):
    ...         scores = keras.ops.einsum("bid,bjd->bij", h, self.outputs(targets))
    ...         return keras.ops.sum(pairs * keras.ops.square(scores - 1), axis=2)
    >>> trainer = trainers.Word2Vec([5, 3, 2], dim=4, objective=Squares())
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    def create(self, words: int, dim: int) -> None:
        """Create all weights for a number of words and a width of vectors."""
        if self.built:
            raise ValueError(
                "An objective holds the output vectors of one trainer. Make a new one for each. "
                f"Received: {self.name}, which has {self.outputs.input_dim} vectors already"
            )
        self.outputs = RowsEmbedding(words, dim, "zeros", name="outputs")
        self.outputs.build()
        self.built = True

    def set_counts(self, counts: Any) -> None:
        """Take note of how often each word occurs."""

    @property
    def is_ready(self) -> bool:
        """Whether all is there that a step needs."""
        return True


@keras.saving.register_keras_serializable(package="keras_ssl")
class FullSoftmax(WordObjective):
    """Full softmax: the probability of a word among all words.

    For vectors h and the output vector c_v of every word v:

        L = -log P(w | h),    P(w | h) = exp(h·c_w) / Σ_v exp(h·c_v)

    Time and memory grow with the number of words, so it is for small vocabularies, and to compare
    the approximations with.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_ssl import trainers
    >>> trainer = trainers.Word2Vec([5, 3, 2], dim=4, objective=trainers.FullSoftmax())

    Reference:
        - [Mikolov et al., Efficient Estimation of Word Representations in Vector Space](
          https://arxiv.org/abs/1301.3781)
    """

    def call(self, h: Any, targets: Any, pairs: Any) -> Any:
        table = ops.cast(ops.convert_to_tensor(self.outputs.embeddings), h.dtype)
        logits = ops.cast(ops.matmul(h, ops.transpose(table)), "float32")
        scores = ops.einsum("bid,bjd->bij", h, ops.take(table, targets, axis=0))
        predictions = ops.sum(pairs, axis=2)
        return predictions * ops.logsumexp(logits, axis=2) - ops.sum(pairs * scores, axis=2)


@keras.saving.register_keras_serializable(package="keras_ssl")
class NegativeSampling(WordObjective):
    """Negative sampling: tell words that occur from k random ones.

    For vectors h and output vectors c (`losses.neg`):

        L = -log σ(h·c_w) - k mean over noise v of log σ(-h·c_v),    v ~ P_n

    P_n is proportional to a power of the words' counts. The noise is shared by all vectors of a
    row, so that it is read once and its scores are one matrix product: as many words are drawn
    for a row as `noise_per_row` says, and their mean is taken. Its expectation does not depend
    on their number.

    Args:
        noise_per_pair: k, how many words of noise are contrasted with each word; positive.
        noise_per_row: how many are drawn for each row of the data.
        noise_exponent: the power in P_n. With 0, all words are equally probable.
        seed: integer seed of the noise.
        **kwargs: arguments of `keras.layers.Layer`.

    Raises:
        TypeError: if an argument is not a number.
        ValueError: if a number is out of range.

    Example:

    >>> from keras_ssl import trainers
    >>> objective = trainers.NegativeSampling(noise_per_pair=15)
    >>> trainer = trainers.Word2Vec([5, 3, 2], dim=4, objective=objective)

    Reference:
        - [Mikolov et al., Distributed Representations of Words and Phrases and their
          Compositionality](https://arxiv.org/abs/1310.4546)
        - [Ji et al., Parallelizing Word2Vec in Shared and Distributed Memory](
          https://arxiv.org/abs/1604.04661), for shared noise
    """

    def __init__(
        self,
        noise_per_pair: float = 5.0,
        noise_per_row: int = 32,
        noise_exponent: float = 0.75,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.noise_per_pair = checks.positive("noise_per_pair", noise_per_pair)
        self.noise_per_row = checks.integer("noise_per_row", noise_per_row, minimum=1)
        self.noise_exponent = checks.number("noise_exponent", noise_exponent, minimum=0)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def create(self, words: int, dim: int) -> None:
        """Create output vectors and the distribution of noise."""
        super().create(words, dim)
        self.noise = NoiseDistribution(words, name="noise")

    def set_counts(self, counts: Any) -> None:
        """Set the distribution of noise from how often each word occurs."""
        self.noise.set_weights_of(counts**self.noise_exponent)

    @property
    def is_ready(self) -> bool:
        """Whether the distribution of noise is known."""
        return self.noise.is_known

    def call(self, h: Any, targets: Any, pairs: Any) -> Any:
        noise = distribute.draw_per_example(
            lambda rows: self.noise.draw((rows, self.noise_per_row), self.seed_generator),
            ops.shape(h)[0],
        )
        scores = ops.concatenate([self.scores(h, targets), self.scores(h, noise)], axis=2)
        labels = ops.where(pairs > 0, 1, -1)
        of_noise = ops.zeros((*ops.shape(h)[:2], self.noise_per_row), labels.dtype)
        labels = ops.concatenate([labels, of_noise], axis=2)
        return neg(labels, scores, self.noise_per_pair)

    def scores(self, h: Any, words: Any) -> Any:
        """Return the scores that vectors `(batch, n, dim)` give to words `(batch, m)`."""
        return ops.einsum("bid,bjd->bij", h, self.outputs(words))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "noise_per_pair": self.noise_per_pair,
            "noise_per_row": self.noise_per_row,
            "noise_exponent": self.noise_exponent,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class NoiseContrastive(NegativeSampling):
    """Noise-contrastive estimation: learn probabilities of words that need no sum over all.

    The model is log P(w | h) = h·c_w + b_w, with a bias b for each word, and is trained as if it
    were normalised. With P_n as the noise, for which see `trainers.NegativeSampling`:

        L = -log σ(s_w) - k mean over noise v of log σ(-s_v),    s_w = log P(w | h) - log(k P_n(w))

    With much noise, P tends to the frequencies of words given h, sum 1 included. Biases begin at
    log P_n.

    Args:
        noise_per_pair: k, how many words of noise are contrasted with each word; positive.
        noise_per_row: how many are drawn for each row of the data.
        noise_exponent: the power in P_n. If it is greater than 0, it changes the efficiency of the
            estimator and not what it estimates.
        seed: integer seed of the noise.
        **kwargs: arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_ssl import trainers
    >>> objective = trainers.NoiseContrastive(noise_per_pair=25)
    >>> trainer = trainers.Word2Vec([5, 3, 2], dim=4, objective=objective)

    Reference:
        - [Mnih & Kavukcuoglu, Learning Word Embeddings Efficiently with Noise-contrastive
          Estimation](https://papers.nips.cc/paper/5165-learning-word-embeddings-efficiently-with-noise-contrastive-estimation)
    """

    def create(self, words: int, dim: int) -> None:
        """Create output vectors, biases and the distribution of noise."""
        super().create(words, dim)
        self.biases = RowsEmbedding(words, 1, "zeros", name="biases")
        self.biases.build()

    def set_counts(self, counts: Any) -> None:
        """Set the distribution of noise, and biases, from how often each word occurs."""
        super().set_counts(counts)
        every = ops.arange(len(counts), dtype="int32")
        self.biases.embeddings.assign(self.noise.log_probabilities(every)[:, None])

    def scores(self, h: Any, words: Any) -> Any:
        """Return log ratios of the probabilities of words and of the noise, times k."""
        log_noise = self.noise.log_probabilities(words) + math.log(self.noise_per_pair)
        biases = ops.cast(self.biases(words)[..., 0], "float32") - log_noise
        return ops.cast(super().scores(h, words), "float32") + ops.expand_dims(biases, 1)
