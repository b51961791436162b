"""What networks of a source and a target share: what they are called on."""

from typing import Any

import keras
from keras import ops

from keras_ssl.networks.text._inputs import TextInputs, read_inputs
from keras_ssl.networks.text.text_encoder import TextEncoder

PAIR_KEYS = ("token_ids", "padding_mask")


class PairNetwork(TextEncoder):
    """Base of encoders of a source and decoders of a target.

    A subclass defines `encode`, as `TextEncoder` does, of a source, and `decode(inputs, context,
    context_mask)` of a target. If the source is no text, it names what `encode` takes in
    `source_keys`, and defines `read`, and `as_source` for `trainers.Seq2Seq`.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Attributes:
        source_keys: the keys of a source, of which the first is needed.
    """

    source_keys: tuple[str, ...] = PAIR_KEYS
    source_vocabulary_size: int

    def read(self, inputs: Any) -> TextInputs:
        """Return a source as tensors, checked, as `TextEncoder.read`.

        Args:
            inputs: as `encode` takes them.
        """
        return read_inputs(inputs, PAIR_KEYS, self.source_vocabulary_size)

    def decode(self, inputs: Any, context: Any, context_mask: Any = None, **kwargs: Any) -> dict:
        """Return the features of the tokens of a target, all at once.

        Args:
            inputs: token ids `(batch, length)` of the target, or a dictionary of `"token_ids"` and
                `"padding_mask"`.
            context: what `encode` returned as `"tokens"`.
            context_mask: `(batch, positions)`, 0 for padding of the source.
            **kwargs: `return_attention_scores`, `training`.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `decode`.")

    def call(
        self, inputs: Any, return_intermediates: bool = False, training: bool | None = None
    ) -> Any:
        """Return the features of a source, or of a target that follows a source."""
        if not has_target(inputs):
            return super().call(inputs, return_intermediates, training)
        source, target = _split(inputs, self.source_keys)
        encoded = self.encode(source, training=training)
        outputs = self.decode(
            target, encoded["tokens"], source.get("padding_mask"), training=training
        )
        return {**outputs, "encoder": encoded} if return_intermediates else outputs["features"]

    def logits(self, features: Any) -> Any:
        """Return the logits of the token that follows, by the embeddings of the target's tokens.

        Args:
            features: features of tokens of a target, `(..., width)`.

        Returns:
            Logits `(..., vocabulary_size)`.
        """
        return self.token_embedding(features, reverse=True)

    def read_context(self, context: Any) -> Any:
        """Return a source as `read` does; decoding needs one.

        Args:
            context: what `make_cache` gets.
        """
        if context is None:
            raise ValueError("`context` must be the source, as `encode` takes it. Received: None")
        return self.read(context)

    def encode_context(self, context: Any, batch_size: int) -> tuple[Any, Any]:
        """Return the tokens of a source to decode from, and its padding mask.

        Args:
            context: the source, as `encode` takes it.
            batch_size: number of targets, which the source must have as rows.
        """
        self.read_context(context)
        source = context if isinstance(context, dict) else {self.source_keys[0]: context}
        tokens = self.encode(source, training=False)["tokens"]
        if tokens.shape[0] not in (batch_size, None):
            raise ValueError(
                f"`context` must have {batch_size} rows, one for each target. "
                f"Received: {tokens.shape[0]}"
            )
        mask = source.get("padding_mask")
        mask = ops.ones(ops.shape(tokens)[:2]) if mask is None else mask
        return tokens, ops.cast(mask, "bool")

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """Return the shape of the features of token ids of a shape."""
        if has_target(input_shape):
            return (*input_shape["decoder_token_ids"], self.width)
        return super().compute_output_shape(input_shape)

    def compute_output_spec(
        self, inputs: Any, return_intermediates: bool = False, training: bool | None = None
    ) -> Any:
        """Return the features of symbolic inputs, without computing them."""
        if not has_target(inputs):
            return super().compute_output_spec(inputs, return_intermediates, training)
        return keras.Operation.compute_output_spec(
            self, inputs, return_intermediates=return_intermediates, training=training
        )


def has_target(inputs: Any) -> bool:
    """Return whether inputs, or their shapes, are of a source and a target."""
    return isinstance(inputs, dict) and "decoder_token_ids" in inputs


def _split(
    inputs: dict[str, Any], source_keys: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs of encoder and decoder, without their prefixes."""
    sides = {"encoder": source_keys, "decoder": PAIR_KEYS}
    names = [f"{side}_{key}" for side, keys in sides.items() for key in keys]
    needed = f"encoder_{source_keys[0]}"
    if set(inputs) - set(names) or needed not in inputs:
        raise ValueError(
            f"`inputs` with a target must have '{needed}' and 'decoder_token_ids', and "
            f"otherwise only keys of {names}. Received: {sorted(inputs)}"
        )
    source, target = (
        {key: inputs[f"{side}_{key}"] for key in keys if f"{side}_{key}" in inputs}
        for side, keys in sides.items()
    )
    return source, target
