"""Blocks of transformers: attention and a feed-forward network, each with a residual connection."""

import inspect
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers.attention import MultiHeadAttention
from keras_ssl.layers.normalization import SyncBatchNormalization
from keras_ssl.layers.normalization._layer_normalization import LayerNormalization
from keras_ssl.layers.transformer._gelu import get_activation, serialize_activation
from keras_ssl.layers.transformer._recompute import recompute
from keras_ssl.layers.transformer.feed_forward import DropPath, FeedForward, LayerScale

_NORMALIZATIONS = {
    "layer": LayerNormalization,
    "rms": keras.layers.RMSNormalization,
    "batch": SyncBatchNormalization,
}
# which are called on queries and values, also where both are the same
_OF_KERAS = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


def make_norm(kind: str, **kwargs: Any) -> keras.layers.Layer:
    """Return a normalisation: `"layer"`, `"rms"` or `"batch"`."""
    if kind not in _NORMALIZATIONS:
        raise ValueError(f"`norm` must be one of {list(_NORMALIZATIONS)}. Received: norm={kind!r}")
    return _NORMALIZATIONS[kind](**kwargs)


def normalize(norm: keras.layers.Layer, x: Any, training: bool | None) -> Any:
    """Call a layer that `make_norm` returned; Keras' RMS normalisation takes no `training`."""
    if isinstance(norm, keras.layers.RMSNormalization):
        return norm(x)
    return norm(x, training=training)


class _Residual(keras.layers.Layer):
    """What stands around a part of a block: normalisation, scale, dropout and the connection."""

    def __init__(
        self,
        norm: str,
        norm_first: bool,
        epsilon: float,
        dropout_rate: float,
        drop_path_rate: float,
        layer_scale: float | None,
        seeds: tuple[int | None, int | None],
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        shared = {"dtype": self.dtype_policy}
        self.norm_first = norm_first
        self.norm = make_norm(norm, epsilon=epsilon, name="norm", **shared)
        self.dropout = keras.layers.Dropout(dropout_rate, seed=seeds[0], **shared)
        self.drop_path = DropPath(drop_path_rate, seed=seeds[1], **shared)
        self.layer_scale = None
        if layer_scale is not None:
            self.layer_scale = LayerScale(layer_scale, name="layer_scale", **shared)

    def build(self, input_shape: tuple) -> None:
        for part in (self.norm, self.layer_scale):
            if part is not None:
                part.build(input_shape)
        self.built = True

    def enter(self, x: Any, training: bool | None) -> Any:
        """Return what goes into the part."""
        return normalize(self.norm, x, training) if self.norm_first else x

    def leave(self, x: Any, outputs: Any, training: bool | None) -> Any:
        """Return what comes out of the part, with the connection."""
        outputs = self.dropout(outputs, training=training)
        if self.layer_scale is not None:
            outputs = self.layer_scale(outputs)
        x = x + self.drop_path(outputs, training=training)
        return x if self.norm_first else normalize(self.norm, x, training)


@keras.saving.register_keras_serializable(package="keras_ssl")
class TransformerEncoderBlock(keras.layers.Layer):
    r"""Self-attention and a feed-forward network, each with a norm and a residual connection.

    With the normalisation first, as in vision transformers and GPT-2:

        x ← x + DropPath(γ_1 Attention(Norm(x)))
        x ← x + DropPath(γ_2 FeedForward(Norm(x)))

    and last, as in the original transformer and BERT, `x ← Norm(x + ...)`. With
    `use_causal_mask=True` it is also the block of a language model.

    Args:
        num_heads: number of heads of the attention.
        hidden_dim: width of the hidden layer of the feed-forward network.
        attention: layer to use in place of `MultiHeadAttention(num_heads)`: one of Keras' own, or
            any layer that is called on the tokens and takes the call arguments below that you use,
            padding as `query_mask`.
        feed_forward: layer to use in place of `FeedForward(hidden_dim, activation)`, such as a
            gated one, SwiGLU.
        activation: activation function of the default feed-forward network, as of `FeedForward`.
        norm: `"layer"`, `"rms"` or `"batch"`: kind of normalisation.
        norm_first: whether to normalise the inputs of attention and feed-forward network, or else
            the sums after their residual connections.
        epsilon: small number added to variances.
        dropout_rate: dropout rate of the outputs of both parts and of the default feed-forward
            network's hidden layer.
        attention_dropout_rate: dropout rate of the default attention's scores.
        drop_path_rate: rate of `DropPath` of both parts.
        layer_scale: initial value of a `LayerScale` of both parts, or `None` for none.
        remat: whether to recompute activations in the backward pass, with the same dropout, instead
            of keeping them. In training, only the input of the block then stays in memory, and the
            block takes about a third longer.
        seed: integer seed of dropout.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        mask: booleans `(batch, tokens)`, `False` for padding, which is not attended to. Keras
            passes the mask of the tokens by itself.
        inputs_mask: the same, under the name that Keras uses if there are other tensors.
        attention_mask: as of `MultiHeadAttention`, as the following.
        segments: the document of each token.
        use_causal_mask: whether tokens attend only to themselves and those before.
        cache: keys and values of earlier tokens, returned anew after the tokens.
        cache_index: position of the first token in the cache.
        return_attention_scores: whether to return the scores after the tokens.
        training: whether to apply dropout and to use the statistics of the batch.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        That of the input.

    Raises:
        TypeError: if a number is not an integer, or a part no layer.
        ValueError: if a number is out of range, `norm` unknown, or an attention layer of your own
            does not take an argument of the call.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> block = layers.TransformerEncoderBlock(num_heads=4, hidden_dim=64, drop_path_rate=0.1)
    >>> block(np.ones((2, 10, 16), "float32")).shape
    TensorShape([2, 10, 16])
    >>> gated = layers.FeedForward(42, "silu", gated=True)
    >>> block = layers.TransformerEncoderBlock(4, 64, feed_forward=gated, norm="rms")
    >>> x, scores = block(np.ones((2, 10, 16), "float32"), return_attention_scores=True)
    >>> scores.shape
    TensorShape([2, 4, 10, 10])

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
        - [Xiong et al., On Layer Normalization in the Transformer
          Architecture](https://arxiv.org/abs/2002.04745)
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        *,
        attention: keras.layers.Layer | None = None,
        feed_forward: keras.layers.Layer | None = None,
        activation: Any = "gelu",
        norm: str = "layer",
        norm_first: bool = True,
        epsilon: float = 1e-6,
        dropout_rate: float = 0.0,
        attention_dropout_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        layer_scale: float | None = None,
        remat: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_heads = checks.integer("num_heads", num_heads, minimum=1)
        self.hidden_dim = checks.integer("hidden_dim", hidden_dim, minimum=1)
        self.activation = get_activation(activation)
        self.norm = norm
        self.norm_first = bool(norm_first)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.attention_dropout_rate = checks.below_one(
            "attention_dropout_rate", attention_dropout_rate
        )
        self.drop_path_rate = checks.below_one("drop_path_rate", drop_path_rate)
        if layer_scale is not None:
            layer_scale = checks.number("layer_scale", layer_scale)
        self.layer_scale = layer_scale
        self.remat = bool(remat)
        self.seed = checks.integer("seed", seed, optional=True)
        self._given = {"attention": attention, "feed_forward": feed_forward}
        for name, part in self._given.items():
            if part is not None and not isinstance(part, keras.layers.Layer):
                raise TypeError(
                    f"`{name}` must be a Keras layer or `None`. "
                    f"Received: {name}={part!r} of type {type(part)}"
                )
        self.attention = self._make_attention("attention") if attention is None else attention
        if feed_forward is None:
            feed_forward = FeedForward(
                self.hidden_dim,
                self.activation,
                dropout_rate=self.dropout_rate,
                seed=self._next_seed(),
                dtype=self.dtype_policy,
                name="feed_forward",
            )
        self.feed_forward = feed_forward
        self.attention_residual = self._make_residual("attention_residual")
        self.feed_forward_residual = self._make_residual("feed_forward_residual")

    def _next_seed(self) -> int | None:
        """Return another seed for each part that draws, so that their masks differ."""
        if self.seed is None:
            return None
        self._seeds_used = getattr(self, "_seeds_used", -1) + 1
        return self.seed + self._seeds_used

    def _make_attention(self, name: str) -> MultiHeadAttention:
        return MultiHeadAttention(
            self.num_heads,
            dropout_rate=self.attention_dropout_rate,
            seed=self._next_seed(),
            dtype=self.dtype_policy,
            name=name,
        )

    def _make_residual(self, name: str) -> _Residual:
        return _Residual(
            self.norm,
            self.norm_first,
            self.epsilon,
            self.dropout_rate,
            self.drop_path_rate,
            self.layer_scale,
            (self._next_seed(), self._next_seed()),
            dtype=self.dtype_policy,
            name=name,
        )

    def build(self, input_shape: tuple) -> None:
        if not self.attention.built:
            is_of_keras = isinstance(self.attention, _OF_KERAS)
            self.attention.build(*[input_shape] * (2 if is_of_keras else 1))
        for part in (self.attention_residual, self.feed_forward, self.feed_forward_residual):
            if not part.built:
                part.build(input_shape)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        inputs_mask: Any = None,
        attention_mask: Any = None,
        segments: Any = None,
        use_causal_mask: bool = False,
        cache: dict[str, Any] | None = None,
        cache_index: Any = 0,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        return self._run(
            [inputs],
            training,
            query_mask=mask if inputs_mask is None else inputs_mask,
            attention_mask=attention_mask,
            segments=segments,
            use_causal_mask=use_causal_mask,
            cache=cache,
            cache_index=cache_index,
            return_attention_scores=return_attention_scores,
        )

    def _run(
        self,
        tensors: list[Any],
        training: bool | None,
        *,
        context_mask: Any = None,
        memory: dict[str, Any] | None = None,
        return_context_scores: bool = False,
        cache: dict[str, Any] | None = None,
        cache_index: Any = 0,
        **arguments: Any,
    ) -> Any:
        """Return the tokens after all parts, and scores and cache if asked for.

        `tensors` are the tokens and, in a decoder, their context; the others are arguments of
        self-attention.
        """
        if cache is not None:
            arguments |= {"cache": cache, "cache_index": cache_index}

        def parts(x: Any, *context: Any) -> list[Any]:
            x, *extras = self._attend("attention", x, [], arguments, training)
            if context or memory is not None:
                of_context = {
                    "value_mask": context_mask,
                    "memory": memory,
                    "return_attention_scores": return_context_scores,
                }
                x, *scores = self._attend("cross_attention", x, [*context], of_context, training)
                extras += scores
            residual = self.feed_forward_residual
            outputs = self.feed_forward(residual.enter(x, training), training=training)
            return [residual.leave(x, outputs, training), *extras]

        if self.remat and training and cache is None:
            outputs = recompute(self, parts, tensors)
        else:
            outputs = parts(*tensors)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def _attend(
        self,
        name: str,
        x: Any,
        context: list[Any],
        arguments: dict[str, Any],
        training: bool | None,
    ) -> list[Any]:
        """Return the tokens after an attention, and what else it returns."""
        layer, residual = getattr(self, name), getattr(self, f"{name}_residual")
        entered = residual.enter(x, training)
        # an attention layer of one's own needs to know only what is asked for
        arguments = {
            key: one for key, one in arguments.items() if one is not None and one is not False
        }
        if name == "attention" and isinstance(layer, _OF_KERAS):
            context = [entered]
            arguments["value_mask"] = arguments.pop("query_mask", None)
        _check_takes(name, layer, arguments)
        outputs = layer(entered, *context, training=training, **arguments)
        outputs, *extras = outputs if isinstance(outputs, tuple) else (outputs,)
        return [residual.leave(x, outputs, training), *extras]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        # Keras takes tensors alone by position
        of_extras = ("return_attention_scores", "return_context_scores")
        if any(kwargs.get(one) for one in of_extras) or kwargs.get("cache") is not None:
            return keras.Operation.compute_output_spec(self, inputs, *args, **kwargs)
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "attention": keras.saving.serialize_keras_object(self._given["attention"]),
            "feed_forward": keras.saving.serialize_keras_object(self._given["feed_forward"]),
            "num_heads": self.num_heads,
            "hidden_dim": self.hidden_dim,
            "activation": serialize_activation(self.activation),
            "norm": self.norm,
            "norm_first": self.norm_first,
            "epsilon": self.epsilon,
            "dropout_rate": self.dropout_rate,
            "attention_dropout_rate": self.attention_dropout_rate,
            "drop_path_rate": self.drop_path_rate,
            "layer_scale": self.layer_scale,
            "remat": self.remat,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict) -> "TransformerEncoderBlock":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("attention", "feed_forward", "cross_attention")
            if config.get(name) is not None
        }
        return cls(**{**config, **parts})


@keras.saving.register_keras_serializable(package="keras_ssl")
class TransformerDecoderBlock(TransformerEncoderBlock):
    r"""Causal self-attention, attention to a context, and a feed-forward network.

    The decoder block of the original transformer, for translation: a `TransformerEncoderBlock` with
    a causal mask and, between its two parts, `x ← x + DropPath(γ Attention(Norm(x), context))`.

    Args:
        num_heads: number of heads of both attentions.
        hidden_dim: width of the hidden layer of the feed-forward network.
        cross_attention: layer to use in place of `MultiHeadAttention(num_heads)` for the context,
            called on tokens and context.
        **kwargs: other arguments of `TransformerEncoderBlock`.

    Call arguments:
        inputs: tokens.
        context: what they attend to, such as the outputs of an encoder; `None` with `memory`.
        inputs_mask: booleans `(batch, tokens)`, `False` for padding.
        context_mask: booleans `(batch, positions)`, `False` for padding. Keras passes both.
        attention_mask: of the self-attention, as the following; see `TransformerEncoderBlock`.
        segments: the document of each token.
        use_causal_mask: whether tokens attend only to themselves and those before.
        cache: keys and values of earlier tokens, returned anew after the tokens.
        cache_index: position of the first token in the cache.
        return_attention_scores: whether to return the scores after the tokens.
        training: whether to apply dropout and to use the statistics of the batch.
        memory: keys and values of the context, from `cross_attention.project_context(context)`, in
            place of `context`, so that decoding projects it once.
        return_context_scores: whether to return the scores of the attention to the context, after
            all else.

    Input shape:
        `(batch, tokens, width)` and `(batch, positions, context width)`.

    Output shape:
        That of the tokens.

    Raises:
        TypeError: as `TransformerEncoderBlock`.
        ValueError: as `TransformerEncoderBlock`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> block = layers.TransformerDecoderBlock(num_heads=4, hidden_dim=64)
    >>> block(np.ones((2, 5, 16), "float32"), np.ones((2, 9, 32), "float32")).shape
    TensorShape([2, 5, 16])

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
    """

    def __init__(
        self,
        num_heads: int,
        hidden_dim: int,
        *,
        cross_attention: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(num_heads, hidden_dim, **kwargs)
        if cross_attention is not None and not isinstance(cross_attention, keras.layers.Layer):
            raise TypeError(
                "`cross_attention` must be a Keras layer or `None`. Received: "
                f"cross_attention={cross_attention!r} of type {type(cross_attention)}"
            )
        self._given["cross_attention"] = cross_attention
        if cross_attention is None:
            cross_attention = self._make_attention("cross_attention")
        self.cross_attention = cross_attention
        self.cross_attention_residual = self._make_residual("cross_attention_residual")

    def build(self, inputs_shape: tuple, context_shape: tuple) -> None:
        super().build(inputs_shape)
        if not self.cross_attention.built:
            self.cross_attention.build(inputs_shape, context_shape)
        self.cross_attention_residual.build(inputs_shape)

    def call(
        self,
        inputs: Any,
        context: Any = None,
        inputs_mask: Any = None,
        context_mask: Any = None,
        attention_mask: Any = None,
        segments: Any = None,
        use_causal_mask: bool = True,
        cache: dict[str, Any] | None = None,
        cache_index: Any = 0,
        return_attention_scores: bool = False,
        training: bool | None = None,
        memory: dict[str, Any] | None = None,
        return_context_scores: bool = False,
    ) -> Any:
        if (context is None) == (memory is None):
            raise ValueError(
                "Expected one of `context` and `memory`. Received: "
                f"{'neither' if context is None else 'both'}"
            )
        return self._run(
            [inputs] if context is None else [inputs, context],
            training,
            context_mask=context_mask,
            memory=memory,
            return_context_scores=return_context_scores,
            query_mask=inputs_mask,
            attention_mask=attention_mask,
            segments=segments,
            use_causal_mask=use_causal_mask,
            cache=cache,
            cache_index=cache_index,
            return_attention_scores=return_attention_scores,
        )

    def compute_output_shape(self, inputs_shape: tuple, context_shape: tuple) -> tuple:
        return tuple(inputs_shape)

    def get_config(self) -> dict:
        cross_attention = keras.saving.serialize_keras_object(self._given["cross_attention"])
        return {**super().get_config(), "cross_attention": cross_attention}


def _check_takes(name: str, layer: keras.layers.Layer, arguments: dict[str, Any]) -> None:
    """Raise a `ValueError` unless an attention layer takes the arguments of a call."""
    parameters = inspect.signature(layer.call).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    unknown = sorted(set(arguments) - set(parameters))
    if unknown:
        raise ValueError(
            f"`{name}` must be a layer that takes what the block is called with, as "
            f"`keras_ssl.layers.MultiHeadAttention` does. Received: {name}={layer!r}, whose `call` "
            f"does not take {unknown}"
        )
