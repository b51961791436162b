"""Perceiver IO: arrays of any form read into a few latents, and written from them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import TransformerEncoderBlock
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.transformer._cross_block import CrossBlock
from keras_ssl.layers.transformer._gelu import get_activation, serialize_activation
from keras_ssl.layers.transformer.blocks import make_norm, normalize

_KEYS = ("inputs", "padding_mask", "queries")
_POOLINGS = ("mean", None)


@keras.saving.register_keras_serializable(package="keras_ssl")
class PerceiverIO(keras.Model):
    r"""Perceiver IO, which reads and writes arrays of any length; see `networks.perceiver_io`.

    Learned latents z attend to the inputs x once, then to each other in blocks of self-attention,
    so the cost grows linearly with the number of inputs. Outputs are read from the latents by
    queries q, one for each:

        z ← z + Attention(Norm(z), Norm(x));  z ← z + FeedForward(Norm(z))
        z ← Block_depth(... Block_1(z)), `repeats` times with the same weights
        y ← q + Attention(Norm(q), Norm(z));  y ← y + FeedForward(Norm(y))

    Without queries, the features are the mean of the normalised latents. Inputs have no order: add
    positions to their features, or by a `preprocessor`.

    Args:
        input_shape: `(n, features)` of an example, n `None` for any number; with a `preprocessor`,
            whatever that takes.
        num_latents: number of latents.
        width: number of features of a latent.
        depth: number of blocks of self-attention.
        num_heads: number of heads of their attention, a divisor of `width`.
        repeats: how often the blocks are run one after the other.
        cross_heads: number of heads of the attention to inputs and to latents, a divisor of
            `width`.
        hidden_dim: width of the hidden layer of the feed-forward networks; four times `width` by
            default.
        pooling: how features are made: `"mean"` of the latents, or `None` for all of them.
        num_queries: number of learned queries, each `width` wide, or `None`.
        query_width: width of queries that come with the inputs, or `None`.
        query_residual: whether outputs start from their queries, or from what these read alone.
        output_dim: number of features of an output, to which a linear layer maps; without it, the
            width of the query.
        preprocessor: layer that inputs go through first, to `(batch, n, features)`, such as a
            `keras.Sequential` of an embedding and positions. It must keep the places of padding.
        activation: activation function of the feed-forward networks, as of `layers.FeedForward`.
        epsilon: small number added to variances.
        dropout_rate: dropout rate of the outputs and hidden layers of both parts of a block.
        attention_dropout_rate: dropout rate of the attention's scores.
        remat: whether each block of self-attention is computed again in the backward pass, as of
            `layers.TransformerEncoderBlock`.
        seed: integer seed of dropout, and of initial latents and queries.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: an array, or a dictionary of `"inputs"` and optionally `"padding_mask"`, booleans or
            integers `(batch, n)`, 0 for inputs that are not read; with a `query_width`, also of
            `"queries"`, `(batch, m, query_width)`.
        return_intermediates: whether to return all that `encode` returns and the `"outputs"`, in a
            dictionary.
        training: whether to apply dropout.

    Input shape:
        `(batch, n, features)`.

    Output shape:
        `(batch, width)`, or `(batch, num_latents, width)` with `pooling=None`; with queries,
        `(batch, m, output_dim)`, one output for each.

    Raises:
        TypeError: if a number is not an integer, or `preprocessor` no layer.
        ValueError: if an argument is out of range, there are two kinds of queries, or inputs do not
            fit.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks
    >>> inputs = np.ones((2, 50, 6), "float32")
    >>> encoder = networks.PerceiverIO((None, 6), num_latents=8, width=32, depth=2, num_heads=4)
    >>> encoder({"inputs": inputs, "padding_mask": np.arange(50) < [[50], [30]]}).shape
    TensorShape([2, 32])
    >>> model = networks.PerceiverIO((None, 6), 8, 32, 2, 4, query_width=3, output_dim=1)
    >>> model({"inputs": inputs, "queries": np.ones((2, 100, 3), "float32")}).shape
    TensorShape([2, 100, 1])

    Reference:
        - [Jaegle et al., Perceiver IO](https://arxiv.org/abs/2107.14795)
        - [Jaegle et al., Perceiver](https://arxiv.org/abs/2103.03206)
    """

    def __init__(
        self,
        input_shape: tuple[int | None, ...],
        num_latents: int,
        width: int,
        depth: int,
        num_heads: int,
        *,
        repeats: int = 1,
        cross_heads: int = 1,
        hidden_dim: int | None = None,
        pooling: str | None = "mean",
        num_queries: int | None = None,
        query_width: int | None = None,
        query_residual: bool = True,
        output_dim: int | None = None,
        preprocessor: keras.layers.Layer | None = None,
        activation: Any = "gelu",
        epsilon: float = 1e-6,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        remat: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if pooling not in _POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {list(_POOLINGS)}. Received: pooling={pooling!r}"
            )
        if preprocessor is not None and not isinstance(preprocessor, keras.layers.Layer):
            raise TypeError(
                "`preprocessor` must be a Keras layer or `None`. "
                f"Received: preprocessor={preprocessor!r} of type {type(preprocessor)}"
            )
        self._arguments = {
            "input_shape": _checked_shape(input_shape, preprocessor),
            "num_latents": checks.integer("num_latents", num_latents, minimum=1),
            "width": checks.integer("width", width, minimum=1),
            "depth": checks.integer("depth", depth, minimum=1),
            "num_heads": checks.integer("num_heads", num_heads, minimum=1),
            "repeats": checks.integer("repeats", repeats, minimum=1),
            "cross_heads": checks.integer("cross_heads", cross_heads, minimum=1),
            "hidden_dim": checks.integer("hidden_dim", hidden_dim, minimum=1, optional=True),
            "pooling": pooling,
            "num_queries": checks.integer("num_queries", num_queries, minimum=1, optional=True),
            "query_width": checks.integer("query_width", query_width, minimum=1, optional=True),
            "query_residual": bool(query_residual),
            "output_dim": checks.integer("output_dim", output_dim, minimum=1, optional=True),
            "activation": serialize_activation(get_activation(activation)),
            "epsilon": checks.positive("epsilon", epsilon),
            "dropout_rate": checks.below_one("dropout_rate", dropout_rate),
            "attention_dropout_rate": checks.below_one(
                "attention_dropout_rate", attention_dropout_rate
            ),
            "remat": bool(remat),
            "seed": checks.integer("seed", seed, optional=True),
        }
        for name, heads in (("num_heads", num_heads), ("cross_heads", cross_heads)):
            if width % heads:
                raise ValueError(
                    f"`{name}` must be a divisor of `width`. Received: {name}={heads}, "
                    f"width={width}"
                )
        self._check_queries()
        self.width, self.pooling, self.preprocessor = width, pooling, preprocessor
        like = {"dtype": self.dtype_policy}
        self.input_norm = make_norm("layer", epsilon=epsilon, name="input_norm", **like)
        self.reader = self._make_cross_block(0, "reader")
        self.blocks = [
            TransformerEncoderBlock(
                num_heads,
                self._hidden_dim,
                activation=activation,
                epsilon=epsilon,
                dropout_rate=dropout_rate,
                attention_dropout_rate=attention_dropout_rate,
                remat=remat,
                seed=self._shifted_seed(20 + 10 * number),
                name=f"block_{number + 1}",
                **like,
            )
            for number in range(depth)
        ]
        self.norm = make_norm("layer", epsilon=epsilon, name="norm", **like)
        self.writer = self.output_layer = None
        if self.has_queries:
            self.writer = self._make_cross_block(10, "writer", query_residual=query_residual)
        if output_dim is not None:
            self.output_layer = keras.layers.Dense(output_dim, name="output_layer", **like)
        self._initializer = keras.initializers.TruncatedNormal(stddev=0.02, seed=seed)
        self.build((None, *self._arguments["input_shape"]))

    def _check_queries(self) -> None:
        a = self._arguments
        if a["num_queries"] is not None and a["query_width"] is not None:
            raise ValueError(
                "Queries are learned or come with the inputs: pass one of `num_queries` and "
                f"`query_width`. Received: num_queries={a['num_queries']}, "
                f"query_width={a['query_width']}"
            )
        if a["output_dim"] is not None and not self.has_queries:
            raise ValueError(
                "`output_dim` is that of outputs, which need `num_queries` or `query_width`. "
                f"Received: output_dim={a['output_dim']} without either"
            )

    @property
    def has_queries(self) -> bool:
        """Whether there are outputs, read from the latents by queries."""
        return any(self._arguments[name] is not None for name in ("num_queries", "query_width"))

    @property
    def _hidden_dim(self) -> int:
        return self._arguments["hidden_dim"] or 4 * self._arguments["width"]

    @property
    def _query_width(self) -> int:
        return self._arguments["query_width"] or self._arguments["width"]

    def _shifted_seed(self, by: int) -> int | None:
        seed = self._arguments["seed"]
        return None if seed is None else seed + by

    def _make_cross_block(self, number: int, name: str, **kwargs: Any) -> CrossBlock:
        a = self._arguments
        return CrossBlock(
            a["cross_heads"],
            a["width"] // a["cross_heads"],
            self._hidden_dim,
            seed=self._shifted_seed(number),
            name=name,
            dtype=self.dtype_policy,
            **{
                name: a[name]
                for name in ("activation", "epsilon", "dropout_rate", "attention_dropout_rate")
            },
            **kwargs,
        )

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        a = self._arguments
        shape = (None, *a["input_shape"])
        if self.preprocessor is not None:
            if not self.preprocessor.built:
                self.preprocessor.build(shape)
            shape = tuple(self.preprocessor.compute_output_shape(shape))
        if len(shape) != 3 or shape[-1] is None or shape[-1] < 2:
            raise ValueError(
                "Inputs must have shape (batch, n, features) behind the `preprocessor`, with at "
                "least 2 features, since the normalisation of one leaves nothing. Pass a "
                "`preprocessor` such as `keras.layers.Dense(64)`. "
                f"Received: input_shape={a['input_shape']}, and shape {shape}"
            )
        latents = (None, a["num_latents"], a["width"])
        self.latents = self.add_weight(
            name="latents", shape=latents[1:], initializer=initializer_copy(self._initializer, 1)
        )
        self.input_norm.build(shape)
        self.reader.build(latents, shape)
        for layer in (*self.blocks, self.norm):
            layer.build(latents)
        self.queries = None
        if a["num_queries"] is not None:
            self.queries = self.add_weight(
                name="queries",
                shape=(a["num_queries"], a["width"]),
                initializer=initializer_copy(self._initializer, 2),
            )
        if self.writer is not None:
            self.writer.build((None, a["num_queries"], self._query_width), latents)
        if self.output_layer is not None:
            self.output_layer.build((None, None, self._query_width))
        self.built = True

    def encode(self, inputs: Any, training: bool | None = None) -> dict[str, Any]:
        """Return the latents that have read inputs, and the features made of them.

        Args:
            inputs: as `call` takes them; queries have no influence.
            training: whether to apply dropout.

        Returns:
            Dictionary of

            - `"latents"`: `(batch, num_latents, width)`, normalised.
            - `"features"`: their mean, `(batch, width)`, or with `pooling=None` all of them.
        """
        given = self._read(inputs)
        x, mask = given["inputs"], given["padding_mask"]
        if self.preprocessor is not None:
            x = self.preprocessor(x)
        x = ops.cast(x, self.compute_dtype)
        if mask is not None:
            # whatever padding holds, NaN included
            x = ops.where(mask[:, :, None], x, ops.zeros_like(x))
        latents = self._of_batch(self.latents, x)
        z = self.reader(latents, normalize(self.input_norm, x, training), mask, training=training)
        for _ in range(self._arguments["repeats"]):
            for block in self.blocks:
                z = block(z, training=training)
        z = normalize(self.norm, z, training)
        return {"latents": z, "features": z if self.pooling is None else ops.mean(z, axis=1)}

    def decode(self, latents: Any, queries: Any = None, training: bool | None = None) -> Any:
        """Return the outputs that queries read from latents.

        Many queries may be asked in parts: the outputs of one do not depend on the others.

        Args:
            latents: `(batch, num_latents, width)`, as `encode` returns them.
            queries: `(batch, m, query_width)`, or `None` for the learned ones.
            training: whether to apply dropout.

        Returns:
            `(batch, m, output_dim)`.

        Raises:
            ValueError: if there are no queries, or queries beside the learned ones.
        """
        self._check_given(queries)
        if queries is None:
            queries = self._of_batch(self.queries, latents)
        y = self.writer(ops.cast(queries, self.compute_dtype), latents, training=training)
        return y if self.output_layer is None else self.output_layer(y)

    def call(
        self, inputs: Any, return_intermediates: bool = False, training: bool | None = None
    ) -> Any:
        """Return features, or outputs if there are queries, or all of them."""
        queries = self._read(inputs)["queries"]
        if self.has_queries:
            self._check_given(queries)
        found = self.encode(inputs, training=training)
        if self.has_queries:
            found["outputs"] = self.decode(found["latents"], queries, training=training)
        if return_intermediates:
            return found
        return found["outputs" if self.has_queries else "features"]

    def _of_batch(self, weight: Any, like: Any) -> Any:
        """Return learned vectors once for each example."""
        weight = ops.cast(weight, self.compute_dtype)
        return ops.broadcast_to(weight[None], (ops.shape(like)[0], *weight.shape))

    def _check_given(self, queries: Any) -> None:
        """Raise a `ValueError` unless queries are there where they are expected."""
        if not self.has_queries:
            if queries is None:
                message = "Outputs need `num_queries` or `query_width`. Received: neither"
            else:
                message = "Without `query_width`, inputs have no 'queries'. Received: queries"
        elif (queries is None) == (self.queries is None):
            expected = "learned" if queries is not None else "in the inputs, as 'queries'"
            message = f"Queries are expected to be {expected}. Received: queries={queries!r}"
        elif queries is not None and (
            len(queries.shape) != 3 or queries.shape[-1] != self._query_width
        ):
            message = (
                f"`queries` must have shape (batch, m, {self._query_width}). "
                f"Received: shape {tuple(queries.shape)}"
            )
        else:
            return
        raise ValueError(message)

    def _read(self, inputs: Any) -> dict[str, Any]:
        """Return inputs, mask and queries as tensors, checked; `None` for what was not given."""
        given = dict(inputs) if isinstance(inputs, dict) else {"inputs": inputs}
        if "inputs" not in given or not set(given) <= set(_KEYS):
            raise ValueError(
                "`inputs` must be an array, or a dictionary with 'inputs' and any others of "
                f"{list(_KEYS)}. Received: a dictionary of {sorted(given)}"
            )
        given = {
            name: one
            if one is None or isinstance(one, keras.KerasTensor)
            else ops.convert_to_tensor(one)
            for name, one in {**dict.fromkeys(_KEYS), **given}.items()
        }
        x, mask = given["inputs"], given["padding_mask"]
        expected = (None, *self._arguments["input_shape"])
        if not _fits(x.shape, expected):
            raise ValueError(
                f"Inputs must have shape {expected}, None for any size. "
                f"Received: shape {tuple(x.shape)}"
            )
        if mask is not None:
            if not _fits(mask.shape, tuple(x.shape[:2])):
                raise ValueError(
                    "`padding_mask` must have shape (batch, n) of the inputs, "
                    f"{tuple(x.shape[:2])}. Received: shape {tuple(mask.shape)}"
                )
            given["padding_mask"] = ops.cast(mask, "bool")
        if given["queries"] is not None:
            self._check_given(given["queries"])
        return given

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """Return the shape of the features or outputs of inputs of a shape."""
        a = self._arguments
        shapes = input_shape if isinstance(input_shape, dict) else {"inputs": input_shape}
        batch = shapes["inputs"][0]
        if self.has_queries:
            count = a["num_queries"]
            if count is None:
                count = shapes["queries"][1] if "queries" in shapes else None
            return (batch, count, a["output_dim"] or self._query_width)
        if self.pooling is None:
            return (batch, a["num_latents"], a["width"])
        return (batch, a["width"])

    def compute_output_spec(
        self, inputs: Any, return_intermediates: bool = False, training: bool | None = None
    ) -> Any:
        """Return the outputs of symbolic inputs, without computing them."""
        if return_intermediates:
            return keras.Operation.compute_output_spec(
                self, inputs, return_intermediates=True, training=training
            )
        queries = self._read(inputs)["queries"]
        if self.has_queries:
            self._check_given(queries)
        shape = keras.tree.map_structure(lambda one: tuple(one.shape), inputs)
        return keras.KerasTensor(self.compute_output_shape(shape), dtype=self.compute_dtype)

    def get_config(self) -> dict:
        """Return the constructor's arguments."""
        preprocessor = keras.saving.serialize_keras_object(self.preprocessor)
        base = keras.layers.Layer.get_config(self)
        return {**base, **self._arguments, "preprocessor": preprocessor}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "PerceiverIO":
        """Make the network that `config` describes."""
        preprocessor = keras.saving.deserialize_keras_object(
            config["preprocessor"], custom_objects=custom_objects
        )
        return cls(**{**config, "preprocessor": preprocessor})


def _checked_shape(shape: Any, preprocessor: Any) -> tuple[int | None, ...]:
    """Return the shape of an example, or raise a `ValueError`."""
    is_tuple = isinstance(shape, (tuple, list)) and all(
        one is None or (isinstance(one, (int, np.integer)) and one > 0) for one in shape
    )
    if not is_tuple or not shape or (preprocessor is None and len(shape) != 2):
        raise ValueError(
            "`input_shape` must be (n, features) of an example, n an integer or None, or what the "
            f"`preprocessor` takes. Received: input_shape={shape!r}"
        )
    return tuple(None if one is None else int(one) for one in shape)


def _fits(shape: Any, expected: tuple) -> bool:
    """Return whether a shape is the expected one, as far as sizes are known."""
    pairs = zip(shape, expected, strict=False)
    return len(shape) == len(expected) and all(None in pair or pair[0] == pair[1] for pair in pairs)


def perceiver_io(
    size: tuple[int, int, int, int] = (256, 512, 6, 8),
    input_shape: tuple[int | None, ...] = (None, 64),
    **kwargs: Any,
) -> PerceiverIO:
    """Build a Perceiver IO, an encoder of arrays of any length, with outputs of any form.

    | Returns | Arguments | Output |
    | --- | --- | --- |
    | features, as a trainer's encoder | none | `(batch, width)` |
    | tokens for other networks | `pooling=None` | `(batch, latents, width)` |
    | a fixed number of outputs | `num_queries`, `output_dim` | `(batch, num_queries, output_dim)` |
    | outputs at given places | `query_width`, `output_dim` | `(batch, m, output_dim)` |

    Args:
        size: `(latents, width, blocks, heads)`.
        input_shape: `(n, features)` of an example, n `None` for any number; with a `preprocessor`,
            whatever that takes.
        **kwargs: other arguments of `networks.PerceiverIO`, such as `num_queries`.

    Returns:
        `networks.PerceiverIO`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    Token ids, whose places are learned:

    >>> import keras, numpy as np
    >>> from keras_ssl import layers, networks
    >>> embedding = keras.Sequential(
    ...     [keras.layers.Embedding(100, 16), layers.LearnedPositionalEmbedding(20)]
    ... )
    >>> encoder = networks.perceiver_io((4, 32, 1, 4), (20,), preprocessor=embedding)
    >>> encoder(np.ones((2, 20), "int32")).shape
    TensorShape([2, 32])

    Reference:
        - [Jaegle et al., Perceiver IO](https://arxiv.org/abs/2107.14795)
    """
    if not isinstance(size, (tuple, list)) or len(size) != 4:
        raise ValueError(f"`size` must be (latents, width, blocks, heads). Received: size={size!r}")
    return PerceiverIO(input_shape, *size, **kwargs)
