"""A classifier on frozen tokens that learns where to look."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import Batches, ShuffledArrays, as_batches
from keras_ssl.evaluate._forward import Forward, forward_function
from keras_ssl.evaluate._labels import class_labels, classes_of
from keras_ssl.evaluate._metrics import check_metrics, measure
from keras_ssl.evaluate._tokens import PatchTokens, mean_and_scale
from keras_ssl.evaluate.features import labelled_features
from keras_ssl.evaluate.random_encoder import seeded
from keras_ssl.layers import AttentionPooling
from keras_ssl.networks import TokenEncoder
from keras_ssl.optimizers import NO_WEIGHT_DECAY


def attentive_probe(
    encoder: keras.layers.Layer | Callable,
    train: Any,
    test: Any,
    num_heads: int = 8,
    epochs: int = 20,
    optimizer: keras.optimizers.Optimizer | None = None,
    batch_size: int = 256,
    seed: int = 0,
    verbose: int = 0,
    metric: str = "accuracy",
) -> float:
    r"""Compute the accuracy of a linear classifier on attention-pooled tokens of a frozen encoder.

    Methods that predict masked patches do not train a vector of the whole image, and the mean of
    the tokens hides what they know. The probe learns which tokens count. With the tokens $t_j$,
    standardised to mean 0 and variance 1 over all tokens of the training examples, and a learned
    query $q$, each head h computes

    $$a_h = \sum_j \mathrm{softmax}_j\Big(\frac{(W_h^q q) \cdot (W_h^k t_j)}{\sqrt{d}}\Big)
    W_h^v t_j$$

    and a linear classifier gets $W^o [a_1, \dots, a_H]$: `layers.AttentionPooling` and a dense
    layer, trained with the cross-entropy in float32. The encoder is not trained, and no
    augmentation is applied. Each example goes through the encoder once; the tokens are kept in
    memory, 4 bytes for each number.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch, that returns tokens or
            a feature map. Of a `networks.TokenEncoder`, such as `networks.vit`, the tokens of
            the patches are used, whatever it returns by itself. For precomputed tokens, pass
            `keras.layers.Identity()` and the tokens in place of the inputs.
        train: labelled data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `(x, y)`,
            or a tuple of arrays. Labels are integers or strings; examples with the label -1, which
            means no label, are left out.
        test: labelled data in the same form.
        num_heads: number of heads of the attention, a divisor of the tokens' width.
        epochs: passes over the training tokens.
        optimizer: a Keras optimizer, which cannot be used again. `None` means `AdamW` with a
            learning rate that falls from 0.01 to 0 by half a cosine, and a weight decay of 0.1 of
            the kernels.
        batch_size: examples per batch in training, and for the encoder if the data is arrays.
        seed: seed of the initial weights and of the order of the examples. The caller's random
            state is neither used nor changed.
        verbose: as in `keras.Model.fit`.
        metric: `"accuracy"`, `"balanced_accuracy"`, `"macro_f1"`, or `"top_5_accuracy"` or any
            other number, see `keras_ssl.evaluate.LinearProbe`.

    Returns:
        The accuracy on `test`, from 0 to 1, or the value of `metric`.

    Raises:
        TypeError: if labels are neither integers nor strings, or integer arguments no integers.
        ValueError: if data is empty, infinite, not batched or without labels, there is only one
            class, `encoder` does not return tokens, tokens are not finite, or an argument is out of
            range.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> tokens = np.random.default_rng(0).normal(size=(64, 9, 8))
    >>> y = np.arange(64) % 2
    >>> tokens[np.arange(64), np.arange(64) % 9, 0] = np.where(y, 9.0, -9.0)  # one of nine tells
    >>> evaluate.attentive_probe(keras.layers.Identity(), (tokens, y), (tokens, y), batch_size=8)
    1.0

    Reference:
        - [Chen et al., Context Autoencoder for Self-Supervised Representation
          Learning](https://arxiv.org/abs/2202.03026)
        - [El-Nouby et al., Scalable Pre-training of Large Autoregressive Image
          Models](https://arxiv.org/abs/2401.08541)
    """
    checks.integer("num_heads", num_heads, minimum=1)
    checks.integer("epochs", epochs, minimum=1)
    check_metrics("classification", [metric])
    batches = as_batches(train, "train", batch_size, labelled=class_labels)
    test_batches = as_batches(test, "test", batch_size, labelled=class_labels)
    is_token_encoder = isinstance(encoder, TokenEncoder)
    forward = forward_function(PatchTokens(encoder) if is_token_encoder else encoder)
    _check_tokens(forward, batches, num_heads)
    tokens, labels = _tokens(forward, batches, verbose)
    test_tokens, test_labels = _tokens(forward, test_batches, verbose)
    classes = classes_of(labels)
    mean, scale = mean_and_scale(tokens)
    for one in (tokens, test_tokens):  # in place, since they may fill the memory
        one -= mean.astype("float32")
        one /= scale.astype("float32")
    with seeded(seed):
        model = _classifier(num_heads, len(classes), tokens.shape[1:])
        if optimizer is None:
            optimizer = _default_optimizer(epochs * -(-len(tokens) // batch_size))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"])
        pairs = ShuffledArrays((tokens, np.searchsorted(classes, labels)), batch_size, seed)
        model.fit(pairs, epochs=epochs, verbose=verbose)
    scores = model.predict(test_tokens, batch_size=batch_size, verbose=0)
    predicted = classes[np.argmax(scores, axis=1)]
    found = measure("classification", [metric], test_labels, predicted, scores, classes)
    return found[metric]


def _check_tokens(forward: Forward, batches: Batches, num_heads: int) -> None:
    """Raise a `ValueError` unless the encoder returns tokens of a width that heads divide."""
    forward(batches.first()[0])
    shape = forward.shape
    if len(shape) < 2 or shape[-1] is None:
        raise ValueError(
            "`encoder` must return tokens (batch, tokens, width) or a feature map (batch, rows, "
            "columns, width), such as a transformer with `pooling=None`. For vectors, use "
            f"`linear_probe`. Received: an output of shape {(None, *shape)}"
        )
    if shape[-1] % num_heads:
        raise ValueError(
            "`num_heads` must be a divisor of the width of the tokens. "
            f"Received: num_heads={num_heads} and tokens of width {shape[-1]}"
        )


def _tokens(forward: Forward, batches: Batches, verbose: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of the labelled examples, `(examples, tokens, width)`, and the labels."""
    features, labels = labelled_features(forward, batches, verbose)
    return features.reshape(len(features), -1, forward.shape[-1]), labels


def _classifier(num_heads: int, classes: int, shape: tuple[int, int]) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape, dtype="float32"),
            AttentionPooling(num_heads, dtype="float32"),
            keras.layers.Dense(classes, kernel_initializer="zeros", dtype="float32"),
        ]
    )


def _default_optimizer(steps: int) -> keras.optimizers.Optimizer:
    rate = keras.optimizers.schedules.CosineDecay(0.01, steps)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=[NO_WEIGHT_DECAY])
    return optimizer
