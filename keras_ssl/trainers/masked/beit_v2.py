"""BEiT v2: BEiT with a class token that must know the whole image."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, layers
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.masked.beit import BEiT
from keras_ssl.trainers.parts import serialize_parts


@keras.saving.register_keras_serializable(package="keras_ssl")
class BEiTv2(BEiT):
    r"""BEiT v2: BEiT with patch aggregation.

    BEiT trains the outputs of patches only. Here its class token is trained as well: with those of
    the patches after an early block l, the class token after the last block L goes through a small
    decoder, and from its outputs the same head predicts the tokens k of hidden patches again. The
    class token has to hold what the patches do not know yet after the early block:

        p = softmax(head(patches after block L))
        p' = softmax(head(decoder([class token after block L, patches after block l])))
        L = mean over hidden patches of -log p(k) - log p'(k)

    The decoder is followed by a layer normalization, and is not used after training. In the
    authors' code that normalization is the last one of the encoder, and the decoder's blocks have
    the encoder's relative bias; a `TokenEncoder` need not have either. The paper's tokens are those
    of `trainers.VQKD`.

    Args:
        encoder: `networks.TokenEncoder` with a class token before all other tokens, whose `encode`
            returns `"blocks"`, such as `networks.vit(..., positions=None,
            relative_bias="shared", layer_scale=0.1)`.
        tokenizer: layer from images to integers `(batch, patches)`, or a trained `trainers.VQKD`;
            see `trainers.BEiT`.
        head: layer from the outputs of patches to a logit per code; see `trainers.BEiT`.
        masking: layer that chooses the hidden patches. `None` means
            `keras_ssl.layers.BlockMasking((14, 14), ratio=0.4)`.
        augment: layer that makes one view of a batch; see `trainers.BEiT`.
        decoder: layer from the class token and the tokens of patches, `(batch, 1 + patches,
            width)`, to vectors as wide. `None` means two blocks of
            `layers.TransformerEncoderBlock(12, 3072)`, for an encoder of the size "base".
        early_block: l, the number of the block, from 1, after which patches go to the decoder.
            `None` means three quarters of the blocks, the 9th of 12 as in the paper's base model;
            its large one has the 21st of 24.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, features)`: the features of the encoder; those of its class token by default.

    Raises:
        TypeError: if an argument has the wrong type, or tokens are not integers.
        ValueError: as `trainers.BEiT`, or if the encoder returns no class token or blocks, or
            `early_block` is not before its last block.

    Example:

    >>> import keras, keras_ssl
    >>> from keras_ssl import layers, networks
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> tokenizer = networks.PatchTokenizer(  # of a trained `trainers.VQKD`
    ...     networks.vit((16, 1, 2), (28, 28, 1), patch_size=7),
    ...     layers.ProjectionHead((8,)),
    ...     layers.VectorQuantizer(32, "cosine"),
    ... )
    >>> trainer = keras_ssl.trainers.BEiTv2(
    ...     encoder=networks.vit((32, 2, 4), (28, 28, 1), patch_size=7),
    ...     tokenizer=tokenizer,
    ...     masking=layers.BlockMasking((4, 4), ratio=0.4, min_tokens=2),
    ...     decoder=layers.TransformerEncoderBlock(num_heads=4, hidden_dim=64),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['aggregation', 'loss', 'prediction']

    Reference:
        - [BEiT v2: Masked Image Modeling with Vector-Quantized Visual Tokenizers](
          https://arxiv.org/abs/2208.06366), Peng et al., 2022
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        tokenizer: keras.layers.Layer,
        head: keras.layers.Layer | None = None,
        masking: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        decoder: keras.layers.Layer | None = None,
        early_block: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, tokenizer, head, masking, augment, **kwargs)
        if decoder is None:
            blocks = [layers.TransformerEncoderBlock(12, 3072) for _ in range(2)]
            decoder = keras.Sequential(blocks, name="decoder")
        check_type("decoder", decoder, keras.layers.Layer)
        self.decoder = decoder
        self.decoder_norm = keras.layers.LayerNormalization(epsilon=1e-6, name="decoder_norm")
        self.early_block = checks.integer("early_block", early_block, minimum=1, optional=True)

    def read_from(self, outputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the outputs of patches and those of the decoder, by the name of the loss.

        Args:
            outputs: what the encoder returned.
            training: whether networks run in training mode.
        """
        blocks = outputs.get("blocks")
        if blocks is None or "class_token" not in outputs:
            raise ValueError(
                "`encoder.encode` must return 'blocks' and 'class_token', which patch aggregation "
                f"needs. Received: {sorted(outputs)}"
            )
        early = self.early_block or max(3 * len(blocks) // 4, 1)
        if early >= len(blocks):
            raise ValueError(
                f"`early_block` must be before the last of the encoder's {len(blocks)} blocks. "
                f"Received: early_block={early}"
            )
        patches = blocks[early - 1][:, self.encoder.extra_tokens :]
        tokens = ops.concatenate([blocks[-1][:, :1], patches], axis=1)
        decoded = self.decoder_norm(self.decoder(tokens, training=training)[:, 1:])
        return {**super().read_from(outputs, training), "aggregation": decoded}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(decoder=self.decoder)
        return {**super().get_config(), **parts, "early_block": self.early_block}
