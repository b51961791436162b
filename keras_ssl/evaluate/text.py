"""What models of text are worth: perplexity, and the geometry of sentence embeddings."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._compiled import compiled_with
from keras_ssl.evaluate._units import unit_features
from keras_ssl.evaluate.features import extract_features


def perplexity(model: keras.Model, data: Any, batch_size: int = 64, verbose: int = 0) -> float:
    r"""Compute the perplexity of texts under a language model.

    With p the model's probability of a token, and M the tokens of all texts that it predicts:

    $$\mathrm{PPL} = \exp\Big(-\frac{1}{M} \sum_t \log p(\mathrm{token}_t)\Big)$$

    It is the number of equally likely tokens among which the model would be as unsure, and depends
    on the vocabulary: compare models with the same tokenizer only. In contrast to the loss of
    `evaluate`, texts with more tokens count for more, however the data is batched.

    Args:
        model: trainer that predicts tokens: `trainers.CausalLM`, `trainers.Seq2Seq`, or another one
            with `token_errors`. Of a masked model, it is that of hidden tokens, drawn anew.
        data: data as of the model's `fit`: a batched `tf.data.Dataset`, or arrays.
        batch_size: texts per batch of arrays.
        verbose: 1 for a progress bar, 0 for silence.

    Returns:
        The perplexity, at least 1.

    Raises:
        TypeError: if the model has no `token_errors`.
        ValueError: if the data is empty, or does not fit.

    Example:

    >>> import numpy as np, keras_ssl
    >>> encoder = keras_ssl.networks.gpt2((16, 1, 2), vocabulary_size=50, max_length=8)
    >>> trainer = keras_ssl.trainers.CausalLM(encoder)
    >>> x = np.arange(90).reshape(10, 9) % 50
    >>> 45 < keras_ssl.evaluate.perplexity(trainer, x) < 55  # untrained: one of 50
    True
    """
    if not hasattr(model, "token_errors"):
        raise TypeError(
            "`model` must be a trainer that predicts tokens, such as `trainers.CausalLM`. "
            f"Received: model={model}"
        )
    batches = as_batches(data, "data", batch_size)
    sums = compiled_with(model, model.token_errors)
    bar = keras.utils.Progbar(batches.count, unit_name="batch", verbose=verbose)
    error, count = 0.0, 0.0
    for step, (x, _, _) in enumerate(batches.with_weights()):
        model.check_values(keras.tree.map_structure(np.asarray, x))
        of_batch = sums(keras.tree.map_structure(ops.convert_to_tensor, x))
        errors, counts = map(ops.convert_to_numpy, of_batch)
        error += float(np.sum(errors, dtype="float64"))
        count += float(np.sum(counts, dtype="float64"))
        if verbose:
            bar.update(step + 1)
    if not count:
        raise ValueError("Expected texts with tokens to predict. Received: none")
    return float(np.exp(error / count))


def sentence_similarity(
    encoder: keras.layers.Layer | Callable,
    first: Any,
    second: Any,
    scores: Any,
    batch_size: int = 256,
) -> float:
    """Compute the rank correlation of cosines of sentence embeddings and people's judgement.

    It is Spearman's ρ between the cosines of the embeddings of two sentences and how similar people
    find them, as for the STS benchmarks.

    Args:
        encoder: as of `extract_features`, from texts to a vector for each.
        first: the first sentence of each pair, as data of the encoder: token ids, or a dictionary.
        second: the second sentences.
        scores: numbers `(pairs,)`, how similar they are.
        batch_size: sentences per batch.

    Returns:
        ρ, from -1 to 1.

    Raises:
        ValueError: if the numbers of sentences and scores differ, there are fewer than two, or all
            scores are equal.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> first, second = np.eye(3), np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 0]])
    >>> evaluate.sentence_similarity(evaluate.raw_pixels, first, second, [5, 3, 1])
    1.0

    Reference:
        - [Gao et al., SimCSE](https://arxiv.org/abs/2104.08821), appendix B
    """
    from scipy.stats import spearmanr

    scores = np.asarray(scores, "float64").reshape(-1)
    one, other = (extract_features(encoder, x, batch_size)[0] for x in (first, second))
    if not len(one) == len(other) == len(scores):
        raise ValueError(
            "`first`, `second` and `scores` must be equally many. "
            f"Received: {len(one)}, {len(other)} and {len(scores)}"
        )
    if len(scores) < 2 or np.ptp(scores) == 0:
        raise ValueError(f"`scores` must hold two different numbers or more. Received: {scores}")
    one, other = unit_features(one, "first", "float64"), unit_features(other, "second", "float64")
    return float(spearmanr(np.sum(one * other, axis=1), scores).statistic)


def alignment(first: Any, second: Any, power: float = 2.0) -> float:
    r"""Compute how far apart the features of positive pairs are, on the unit sphere.

    $$\mathrm{align} = \frac{1}{n} \sum_i \lVert z_i - z'_i \rVert^\alpha$$

    with features normalised to length 1. Less is better, at equal `uniformity`.

    Args:
        first: features `(n, dimensions)`.
        second: features of their positive partners, of the same shape.
        power: α, above 0.

    Returns:
        The mean, from 0 to 2^α.

    Raises:
        ValueError: if features are no finite matrices of one shape, or a row is 0.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> round(evaluate.alignment(np.eye(2), np.eye(2)[::-1]), 4)
    2.0

    Reference:
        - [Wang & Isola, Understanding Contrastive Representation Learning through Alignment and
          Uniformity on the Hypersphere](https://arxiv.org/abs/2005.10242)
    """
    power = checks.positive("power", power)
    first, second = (
        unit_features(first, "first", "float64"),
        unit_features(second, "second", "float64"),
    )
    if first.shape != second.shape:
        raise ValueError(
            f"`first` and `second` must have one shape. Received: {first.shape} and {second.shape}"
        )
    return float(np.mean(np.linalg.norm(first - second, axis=1) ** power))


def uniformity(features: Any, t: float = 2.0) -> float:
    r"""Compute how evenly features are spread on the unit sphere.

    $$\mathrm{uniform} = \log \frac{2}{n (n - 1)} \sum_{i < j} e^{-t \lVert z_i - z_j \rVert^2}$$

    with features normalised to length 1. Less is better, at equal `alignment`; 0 means that all are
    equal.

    Args:
        features: `(n, dimensions)`, of two examples or more.
        t: t, above 0.

    Returns:
        The logarithm, at most 0.

    Raises:
        ValueError: if features are no finite matrix of two rows or more, or a row is 0.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> evaluate.uniformity(np.array([[1.0, 0], [-1, 0]]))  # at a distance of 2
    -8.0

    Reference:
        - [Wang & Isola, Understanding Contrastive Representation Learning through Alignment and
          Uniformity on the Hypersphere](https://arxiv.org/abs/2005.10242)
    """
    t = checks.positive("t", t)
    features = unit_features(features, "features", "float64")
    count = len(features)
    if count < 2:
        raise ValueError(f"`features` must hold two examples or more. Received: {count}")
    total = 0.0
    for start in range(0, count - 1, _ROWS):
        rows = features[start : start + _ROWS]
        # of unit vectors, the squared distance is 2 - 2 cos
        kernel = np.exp(2 * t * (np.minimum(rows @ features[start:].T, 1) - 1))
        total += float(np.sum(np.triu(kernel, k=1)))
    return float(np.log(2 * total / (count * (count - 1))))


_ROWS = 1024  # of similarities at a time
