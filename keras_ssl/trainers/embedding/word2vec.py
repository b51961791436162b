"""word2vec: vectors of words that predict the words around them."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type, describe
from keras_ssl.trainers.embedding.architectures import SkipGram, centers_of
from keras_ssl.trainers.embedding.objectives import NegativeSampling, WordObjective
from keras_ssl.trainers.engine.assertions import assert_in_range
from keras_ssl.trainers.engine.table_rows import RowsEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class Word2Vec(SelfSupervisedModel):
    r"""word2vec: one vector for each word, learned from the words around it.

    A word in a text has a window of words around it. In skip-gram, the vector of the word predicts
    each word in its window; in the continuous bag of words, their mean predicts the word. What is
    predicted has vectors of its own, which only serve training. With the default objective,
    negative sampling, the loss of skip-gram is

        L = Σ over words w and contexts v of -log σ(z_w·c_v) - k mean over i of log σ(-z_w·c_{n_i})

    with k words of noise, n_i ~ P_n, for every pair. The loss of a batch is the sum over pairs
    divided by the number of words. So the learning rate of word2vec, which is meant for one pair,
    corresponds to that rate times the number of words in a batch of
    `keras_ssl.data.word_windows`, `batch_size * centers`.

    Words are read, compared and updated as rows of weights, so that a step of SGD does not depend
    on the size of the vocabulary. Other optimizers of Keras update whole tables in every step.

    Args:
        counts: how often each word occurs, nonnegative integers `(words,)`, as
            `keras_ssl.data.WordVocabulary` has them. They are saved with the weights; a
            configuration holds their number instead.
        dim: width of the vectors.
        architecture: `trainers.SkipGram()`, which is the default, `trainers.CBOW()`, or another
            object that is called as these are.
        objective: `trainers.NegativeSampling()`, which is the default,
            `trainers.NoiseContrastive()`, `trainers.FullSoftmax()`, or another
            `trainers.WordObjective`.
        seed: integer seed of the initial vectors.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: indices of words, or a batch of `keras_ssl.data.word_windows`, which stands for the words
            whose windows it gives.

    Input shape:
        Integers of any shape. For training, a dictionary of `"words"`
        `(batch, centers + 2 * window)`, `"left"` and `"right"`, `(batch, centers)`.

    Output shape:
        The shape of the indices, `(..., dim)`. `trainer.embeddings` holds the vectors of all words.

    Raises:
        TypeError: if `counts` or, before the first step, the data do not hold integers, or a part
            is of the wrong type.
        ValueError: if `counts` has no positive number, or a number is out of range. Before the
            first step, if the data is of another form, or arrays have an index out of range.
        tf.errors.InvalidArgumentError: by the step, if other data has an index out of range, and
            the step is not compiled by XLA.

    Example:

    >>> import keras
    >>> from keras_ssl import data, trainers
    >>> lines = ["the cat sat on the mat", "the dog sat on the mat"] * 20
    >>> vocabulary = data.WordVocabulary.from_lines(lines)
    >>> text = data.word_windows(*vocabulary.encode(lines), window=2, subsample=None, seed=0)
    >>> trainer = trainers.Word2Vec(vocabulary.counts, dim=8, seed=0)
    >>> rate = 0.025 * 16 * 32
    >>> decay = keras.optimizers.schedules.PolynomialDecay(rate, 2 * len(text))
    >>> trainer.compile(keras.optimizers.SGD(decay))
    >>> history = trainer.fit(text, epochs=2, verbose=0)
    >>> trainer.embeddings.shape
    TensorShape([6, 8])

    Reference:
        - [Mikolov et al., Efficient Estimation of Word Representations in Vector Space](
          https://arxiv.org/abs/1301.3781)
        - [Mikolov et al., Distributed Representations of Words and Phrases and their
          Compositionality](https://arxiv.org/abs/1310.4546)
    """

    learns_from = "words and their contexts"

    def __init__(
        self,
        counts: Any,
        dim: int = 100,
        architecture: Callable[..., tuple[Any, Any, Any]] | None = None,
        objective: WordObjective | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        counts, self.words = _check_counts(counts)
        dim = checks.integer("dim", dim, minimum=1)
        architecture = SkipGram() if architecture is None else architecture
        if not callable(architecture):
            raise TypeError(
                "`architecture` must be callable, such as `trainers.SkipGram()`. "
                f"Received: {architecture!r}"
            )
        objective = NegativeSampling(seed=seed) if objective is None else objective
        check_type("objective", objective, WordObjective)
        # initialised as in the authors' code
        start = keras.initializers.RandomUniform(-0.5 / dim, 0.5 / dim, seed=seed)
        super().__init__(RowsEmbedding(self.words, dim, start, name="embedding"), **kwargs)
        self.encoder.build()
        self.dim, self.seed = dim, seed
        self.architecture, self.objective = architecture, objective
        objective.create(self.words, dim)
        if counts is not None:
            objective.set_counts(counts)

    @property
    def embeddings(self) -> Any:
        """The vectors of all words, `(words, dim)`."""
        return self.encoder.embeddings.value

    def compile(self, *args: Any, jit_compile: bool | str = "auto", **kwargs: Any) -> None:
        """Configure training, as every trainer; `jit_compile="auto"` means no XLA.

        Args:
            *args: as in `trainers.SelfSupervisedModel.compile`.
            jit_compile: as there. XLA copies whole tables in every step.
            **kwargs: as there.
        """
        super().compile(*args, jit_compile=jit_compile is True, **kwargs)

    def to_encode(self, x: Any) -> Any:
        """Return the words whose windows `x` gives."""
        return centers_of(x["words"], x["left"].shape[1]) if isinstance(x, Mapping) else x

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs, for `keras.KerasTensor`s of a batch."""
        _check_shapes(x)
        super().build_step(x, y)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the losses of the words of each row: sums over the pairs of a word."""
        words = assert_in_range(
            batch.x["words"], self.words, _out_of_range(self.words, "another index")
        )
        pairs = window_pairs(batch.x["left"], batch.x["right"], words.shape[1])
        return {"prediction": self.objective(*self.architecture(self.encoder, words, pairs))}

    def check_data(self, data: Any) -> None:
        """Raise a `ValueError` if counts are missing, or arrays have an index out of range."""
        if not self.objective.is_ready:
            raise ValueError(
                "The trainer must know how often words occur: a trainer made from a configuration "
                "does not until weights are loaded. Received: no weights"
            )
        words = data.get("words") if isinstance(data, Mapping) else None
        if isinstance(words, np.ndarray) and words.size and words.dtype.kind in "iu":
            low, high = words.min(), words.max()
            if low < 0 or high >= self.words:
                raise ValueError(_out_of_range(self.words, f"indices from {low} to {high}"))

    def get_config(self) -> dict:
        """Return the constructor's arguments, with the number of words in place of counts."""
        return {
            **keras.layers.Layer.get_config(self),
            "counts": {"words": self.words},
            "dim": self.dim,
            "seed": self.seed,
            **serialize_parts(architecture=self.architecture, objective=self.objective),
        }


def window_pairs(left: Any, right: Any, words: int) -> Any:
    """Return 1 where a word is in the window of a center, `(batch, centers, words)`, float32."""
    centers = left.shape[1]
    apart = np.arange(words)[None] - (words - centers) // 2 - np.arange(centers)[:, None]
    apart = apart.astype("int32")
    left, right = (ops.cast(size, "int32")[..., None] for size in (left, right))
    is_inside = ops.logical_and(apart >= -left, apart <= right)
    return ops.cast(ops.logical_and(is_inside, apart != 0), "float32")


def _check_counts(counts: Any) -> tuple[np.ndarray | None, int]:
    """Return the counts as floats, unless a configuration has only their number, and that."""
    if isinstance(counts, Mapping) and set(counts) == {"words"}:
        return None, checks.integer("counts['words']", counts["words"], minimum=1)
    counts = np.asarray(counts)
    if counts.dtype.kind not in "iu":
        raise TypeError(
            "`counts` must hold how often each word occurs, integers. "
            f"Received: {counts!r} of dtype {counts.dtype}"
        )
    if counts.ndim != 1 or not counts.any() or counts.min() < 0:
        raise ValueError(
            "`counts` must have shape (words,), and hold positive numbers and no negative one. "
            f"Received: {counts!r}"
        )
    return counts.astype("float64"), len(counts)


def _check_shapes(x: Any) -> None:
    names = ("words", "left", "right")
    if not isinstance(x, Mapping) or set(x) != set(names):
        raise ValueError(
            'Expected `x` to be a dictionary of "words", "left" and "right", as from '
            f"`keras_ssl.data.word_windows`. Received: {describe(x)}"
        )
    if any(not keras.backend.is_int_dtype(x[name].dtype) for name in names):
        raise TypeError(f"Words and sizes of windows must be integers. Received: {describe(x)}")
    words, left, right = (tuple(x[name].shape) for name in names)
    is_fine = len(words) == len(left) == 2 and left == right and None not in (words[1], left[1])
    if not is_fine or words[1] <= left[1] or (words[1] - left[1]) % 2:
        raise ValueError(
            'Expected "words" of shape (batch, centers + 2 * window), and "left" and "right" of '
            f"shape (batch, centers), with known sizes of rows. Received: {describe(x)}"
        )


def _out_of_range(words: int, found: str) -> str:
    return (
        f"Indices must be words of the vocabulary, from 0 to {words - 1}: encode the text by the "
        f"vocabulary whose counts the trainer has. Received: {found}"
    )
