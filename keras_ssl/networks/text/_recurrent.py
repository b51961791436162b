"""What recurrent networks of text share: arguments, embeddings, and layers in both directions."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import RecurrentLayer
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.recurrent.cells import CELLS, make_cell
from keras_ssl.networks.text._inputs import TextInputs


def recurrent_arguments(
    poolings: tuple,
    *,
    vocabulary_size: int,
    width: int,
    depth: int,
    cell: str,
    pooling: str | None,
    dropout_rate: float,
    seed: int | None,
    both_directions: bool,
) -> dict[str, Any]:
    """Return the arguments that recurrent networks have in common, or raise.

    Args:
        poolings: the values that `pooling` may have.
        vocabulary_size: number of token ids.
        width: number of features of a token.
        depth: number of recurrent layers.
        cell: name of the cell.
        pooling: how features of a sequence are made.
        dropout_rate: dropout rate.
        seed: integer seed, or `None`.
        both_directions: whether each of two directions has half of `width`.
    """
    for name, value, allowed in (("pooling", pooling, poolings), ("cell", cell, tuple(CELLS))):
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {list(allowed)}. Received: {name}={value!r}")
    width = checks.integer("width", width, minimum=2 if both_directions else 1)
    if both_directions and width % 2:
        raise ValueError(
            f"`width` must be even, since each direction has half of it. Received: width={width}"
        )
    return {
        "vocabulary_size": checks.integer("vocabulary_size", vocabulary_size, minimum=1),
        "width": width,
        "depth": checks.integer("depth", depth, minimum=1),
        "cell": cell,
        "pooling": pooling,
        "dropout_rate": checks.below_one("dropout_rate", dropout_rate),
        "seed": checks.integer("seed", seed, optional=True),
    }


def make_embedding(
    name: str, size: int, width: int, seed: int | None, dtype: Any, number: int = 1
) -> keras.layers.ReversibleEmbedding:
    """Return an embedding of tokens, whose transpose gives logits.

    Args:
        name: its name.
        size: number of token ids.
        width: number of features of a token.
        seed: integer seed of the network, or `None`.
        dtype: dtype policy.
        number: which embedding of the network it is, from 1.
    """
    small = keras.initializers.RandomNormal(stddev=0.1, seed=seed)
    return keras.layers.ReversibleEmbedding(
        size,
        width,
        embeddings_initializer=initializer_copy(small, number),
        reverse_dtype=dtype.compute_dtype,
        name=name,
        dtype=dtype,
    )


def make_both_directions(
    cell: str, width: int, depth: int, seeds: Iterator[int | None], name: str, dtype: Any
) -> list[keras.layers.Bidirectional]:
    """Return layers that read sequences in both directions.

    Args:
        cell: name of the cell.
        width: number of features of a token, half of which each direction has.
        depth: number of layers.
        seeds: seeds, of which each direction of a layer takes one.
        name: name of the layers, before their numbers.
        dtype: dtype policy.
    """

    def half(**kwargs: Any) -> RecurrentLayer:
        made = make_cell(cell, width // 2, seed=next(seeds), dtype=dtype)
        return RecurrentLayer(made, return_sequences=True, dtype=dtype, **kwargs)

    return [
        keras.layers.Bidirectional(
            half(), backward_layer=half(go_backwards=True), name=f"{name}_{number + 1}", dtype=dtype
        )
        for number in range(depth)
    ]


def run_both_directions(
    x: Any, dropouts: list[Any], blocks: list[Any], mask: Any, training: bool | None
) -> list[Any]:
    """Return all tokens after each layer.

    Args:
        x: embeddings `(batch, length, width)`.
        dropouts: dropout of the inputs of each layer.
        blocks: the layers.
        mask: booleans `(batch, length)`, or `None`.
        training: whether to apply dropout.
    """
    outputs = []
    for dropout, layer in zip(dropouts, blocks, strict=True):
        x = layer(dropout(x, training=training), mask=mask, training=training)
        x = ops.copy(x)  # without a mask, which is given to each layer
        outputs.append(x)
    return outputs


def refuse_documents(given: TextInputs) -> None:
    """Raise a `ValueError` if rows hold several documents.

    Args:
        given: the inputs of a network.
    """
    if given.document_ids is not None:
        raise ValueError(
            "`document_ids` cannot be used: a state goes over from one packed document to the "
            "next. Expected one text per row. Received: inputs with 'document_ids'"
        )
