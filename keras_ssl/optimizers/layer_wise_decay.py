"""Learning rates that fall from the output of a network to its input."""

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl import checks


def layer_wise_decay(
    encoder: keras.layers.Layer,
    decay: float = 0.75,
    blocks: Sequence[keras.layers.Layer | Sequence[keras.layers.Layer]] | None = None,
) -> dict[str, float]:
    """Factors of the learning rate of an encoder's variables, by the depth of their block.

    Early layers of a pretrained encoder are more general than late ones, so fine-tuning moves them
    less. With L blocks and the decay d, the factors are those of BEiT and MAE:

        d^(L + 1)        for what comes before the first block: patches, class token, positions
        d^(L + 1 - i)    for block i = 1 ... L
        1                for what comes after the last block, and for the classifier

    "Before" and "after" are in the order of `encoder.trainable_variables`: that of the computation
    in a `keras.Sequential` or functional model, in which weights of a model itself come first, and
    of the attributes in a subclassed one. What lies between two blocks counts to the earlier one. A
    variable that several blocks share, such as BEiT's relative positions, has the factor 1.

    The result names variables one by one, those that are trainable now. It cannot know an order
    that is not the one above: pass `blocks` for parallel branches or where attributes are set in
    another order than they are used. If two variables have one path, as may happen in a
    subclassed model, they cannot have two factors.

    Args:
        encoder: a `keras.Model` or Keras layer, built.
        decay: d, above 0 and at most 1.
        blocks: the layers of the encoder in the order of their depth, or lists of the layers of a
            stage each. `None` means the attribute `encoder.blocks`, which `networks.vit` has,
            and KerasHub's ViT and DINOv2 by `networks.token_encoder`.

    Returns:
        Regular expressions with their factors, for `compile(learning_rate_multipliers=...)` of all
        trainers that hold the layer as their `encoder`, and for
        `evaluate.fine_tune(layer_decay=...)`.

    Raises:
        TypeError: if `encoder` or a block is not a Keras layer.
        ValueError: if `decay` is out of range, the encoder is not built, has no `blocks`, or lacks
            a layer of `blocks`, or if variables of different blocks have the same path.

    Example:

    >>> import keras
    >>> from keras_ssl import optimizers
    >>> encoder = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(2)])
    >>> encoder.build((None, 8))
    >>> factors = optimizers.layer_wise_decay(encoder, 0.5, blocks=encoder.layers)
    >>> list(factors.values())
    [0.25, 0.5]

    The stages of a ResNet:

    >>> from keras_ssl import networks
    >>> encoder = networks.resnet18(width=4)
    >>> stages = [
    ...     [layer for layer in encoder.layers if layer.name.startswith(f"stage{i}_")]
    ...     for i in (1, 2, 3, 4)
    ... ]
    >>> list(optimizers.layer_wise_decay(encoder, 0.5, blocks=stages).values())
    [0.03125, 0.0625, 0.125, 0.25, 0.5]

    Reference:
        - [Bao et al., BEiT: BERT Pre-Training of Image
          Transformers](https://arxiv.org/abs/2106.08254)
        - [Clark et al., ELECTRA](https://arxiv.org/abs/2003.10555)
    """
    decay = checks.positive("decay", decay, maximum=1)
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(f"`encoder` must be a keras.Model or a Keras layer. Received: {encoder!r}")
    variables = encoder.trainable_variables
    if not variables:
        raise ValueError(
            "`encoder` must be built and have trainable weights: call it on a batch first. "
            f"Received: {encoder!r}"
        )
    blocks = _check_blocks(encoder, blocks)
    depths = _depths(variables, blocks)
    paths: dict[str, int] = {}
    for variable, depth in zip(variables, depths, strict=True):
        if paths.setdefault(variable.path, depth) != depth:
            raise ValueError(
                "Variables of different blocks must have different paths: give their layers names. "
                f"Received: {variable.path!r} in block {paths[variable.path]} and in block {depth}"
            )
    factors = {}
    for depth in sorted(set(depths) - {len(blocks) + 1}):
        alike = "|".join(re.escape(path) for path, one in paths.items() if one == depth)
        factors[f"^encoder/(?:{alike})$"] = decay ** (len(blocks) + 1 - depth)
    return factors


def _check_blocks(encoder: keras.layers.Layer, blocks: Any) -> list[list[keras.layers.Layer]]:
    """Return blocks as lists of layers."""
    given = blocks
    blocks = list(getattr(encoder, "blocks", None) or []) if blocks is None else list(blocks)
    if not blocks:
        raise ValueError(
            "`blocks` must hold the layers of `encoder` in the order of their depth, or lists of "
            "the layers of a stage each, unless the encoder has them as `encoder.blocks`. "
            f"Received: blocks={given!r} and {encoder!r}"
        )
    blocks = [list(one) if isinstance(one, (list, tuple)) else [one] for one in blocks]
    for layer in (layer for block in blocks for layer in block):
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                f"`blocks` must hold Keras layers, or lists of them. Received: {layer!r}"
            )
    return blocks


def _depths(variables: list[keras.Variable], blocks: list[list[keras.layers.Layer]]) -> list[int]:
    """Return the depth of each variable: 0 before the first block, then the block's number."""
    holders: dict[int, set] = {id(variable): set() for variable in variables}
    for number, block in enumerate(blocks, start=1):
        for variable in (v for layer in block for v in layer.trainable_variables):
            if id(variable) not in holders:
                raise ValueError(
                    "`blocks` must hold layers of `encoder`. Received: a layer with "
                    f"{variable.path!r}, which the encoder does not have"
                )
            holders[id(variable)].add(number)
    after = len(blocks) + 1
    numbers = [holders[id(variable)] for variable in variables]
    of_one = [place for place, found in enumerate(numbers) if len(found) == 1]
    last = of_one[-1] if of_one else len(numbers)
    depths, depth = [], 0
    for place, found in enumerate(numbers):
        if len(found) == 1:
            (depth,) = found
        depths.append(after if len(found) > 1 or place > last else depth)
    return depths
