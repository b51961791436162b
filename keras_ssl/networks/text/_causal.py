"""What language models share, whose tokens see those before them and nothing else."""

from typing import Any

from keras_ssl.networks.text.text_encoder import TextEncoder


class CausalNetwork(TextEncoder):
    """Base of language models: logits by the embeddings of the tokens, and no context.

    Args:
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.
    """

    def logits(self, features: Any) -> Any:
        """Return the logits of the token that follows, by the embeddings of all tokens.

        Args:
            features: features of tokens, `(..., width)`.

        Returns:
            Logits `(..., vocabulary_size)`.
        """
        return self.token_embedding(features, reverse=True)

    def read_context(self, context: Any) -> None:
        """Raise a `ValueError` unless there is no context, since there is nothing else to see.

        Args:
            context: what `make_cache` gets.
        """
        if context is not None:
            raise ValueError(
                f"`context` must be None: {type(self).__name__} sees its own tokens alone. "
                f"Received: {context!r}"
            )
