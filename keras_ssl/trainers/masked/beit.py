"""BEiT: predict the tokens that a frozen tokenizer gives to hidden patches."""

from typing import Any

import keras
from keras import ops

from keras_ssl import layers
from keras_ssl.trainers._hidden_patches import take_tokens
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.masked._masked_model import MaskedModel, block_masking_for, mask_token
from keras_ssl.trainers.masked.vqkd import VQKD
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import freeze


@keras.saving.register_keras_serializable(package="keras_ssl")
class BEiT(MaskedModel):
    r"""BEiT: BERT pre-training of image transformers.

    A frozen tokenizer gives every patch of an image a token, the number of a code. Some blocks of
    patches are replaced by a learned mask token before they enter the encoder, and from its output
    of each hidden patch the token k of that patch is predicted:

        p = softmax(head(encoder(patches and mask tokens)))
        L = mean over hidden patches of -log p(k)

    Args:
        encoder: `networks.TokenEncoder`. The paper's has no positions but a bias of the attention,
            `networks.vit(..., positions=None, relative_bias="shared", layer_scale=0.1)`. Only the
            outputs of patches are trained: use their mean as features, `pooling="mean"`.
        tokenizer: layer from images to integers `(batch, patches)`, such as
            `networks.PatchTokenizer`; or a trained `trainers.VQKD`, whose `tokenizer` is then used.
            It is frozen, and saved with the trainer.
        head: layer from the encoder's outputs of patches to a logit per code. `None` means a dense
            layer with as many units as `tokenizer.codes`, or 8,192.
        masking: layer that chooses the hidden patches. `None` means
            `keras_ssl.layers.BlockMasking((14, 14), ratio=0.4)`, for images of 224 pixels and
            patches of 16.
        augment: layer that makes one view of a batch, which tokenizer and encoder see. `None`
            leaves the images unchanged. The paper uses random crops, flips and colour jitter.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, features)`: the features of all patches.

    Raises:
        TypeError: if an argument has the wrong type, or tokens are not integers.
        ValueError: before the first step, if images are not divisible by patches, tokenizer and
            encoder have unlike grids of patches, the masking is for another grid, or the head has
            fewer logits than the tokenizer has codes.

    Example:

    >>> import keras_ssl
    >>> from keras_ssl import layers, networks
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> tokenizer = networks.PatchTokenizer(  # of a trained `trainers.VQKD`
    ...     networks.vit((16, 1, 2), (28, 28, 1), patch_size=7),
    ...     layers.ProjectionHead((8,)),
    ...     layers.VectorQuantizer(32, "cosine"),
    ... )
    >>> trainer = keras_ssl.trainers.BEiT(
    ...     encoder=networks.vit(
    ...         (32, 2, 4), (28, 28, 1), patch_size=7, positions=None, relative_bias="shared"
    ...     ),
    ...     tokenizer=tokenizer,
    ...     masking=layers.BlockMasking((4, 4), ratio=0.4, min_tokens=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [BEiT: BERT Pre-Training of Image Transformers](https://arxiv.org/abs/2106.08254),
          Bao et al., 2021
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
        **kwargs: Any,
    ):
        masking = layers.BlockMasking((14, 14), ratio=0.4) if masking is None else masking
        super().__init__(encoder, masking, augment, **kwargs)
        if isinstance(tokenizer, VQKD):
            tokenizer = tokenizer.tokenizer
        check_type("tokenizer", tokenizer, keras.layers.Layer)
        if head is None:
            small = keras.initializers.TruncatedNormal(stddev=0.02)
            codes = getattr(tokenizer, "codes", 8192)
            head = keras.layers.Dense(codes, kernel_initializer=small, name="head")
        check_type("head", head, keras.layers.Layer)
        self.mask_token = mask_token()
        self.head = head
        self.tokenizer = tokenizer
        self.tokenizer.trainable = False
        freeze(self.tokenizer)

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the tokenizer."""
        return [*super().frozen_parts(), self.tokenizer]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the cross-entropy of each hidden patch, `(batch, hidden patches)`."""
        tokens = self._tokenize(batch.views)
        logits, hidden = self.logits_by_loss(batch.views, training)
        tokens = ops.take_along_axis(tokens, hidden, axis=1)
        return {
            name: keras.losses.sparse_categorical_crossentropy(
                tokens, ops.cast(one, "float32"), from_logits=True
            )
            for name, one in logits.items()
        }

    def _tokenize(self, images: Any) -> Any:
        """Return the tokens of images, int32 `(batch, patches)`."""
        grid = self.encoder.grid(images.shape)
        tokens = self.tokenizer(images)
        dtype = keras.backend.standardize_dtype(tokens.dtype)
        if not keras.backend.is_int_dtype(dtype):
            raise TypeError(
                "`tokenizer` must return integers, such as `trainer.tokenizer` of a trained "
                f"`trainers.VQKD`. Received: tokens of dtype {dtype}"
            )
        has_grid = hasattr(self.tokenizer, "grid")
        of_tokenizer = self.tokenizer.grid(images.shape) if has_grid else grid
        if of_tokenizer != grid or tuple(tokens.shape[1:]) != (grid[0] * grid[1],):
            received = f"a grid of {of_tokenizer} and " if has_grid else ""
            raise ValueError(
                "`tokenizer` must return a token for each patch of `encoder`, whose grid is "
                f"{grid} for images of shape {tuple(images.shape)}. Received: {received}tokens of "
                f"shape {tuple(tokens.shape)}"
            )
        return ops.stop_gradient(ops.cast(tokens, "int32"))

    def predict_hidden(self, images: Any, training: bool = False) -> tuple[Any, Any]:
        """Hide patches of images and predict their tokens.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the networks run in training mode.

        Returns:
            The logits, `(batch, hidden patches, codes)`, and the numbers of the hidden patches,
            int32 `(batch, hidden patches)`.
        """
        logits, hidden = self.logits_by_loss(images, training)
        return logits["prediction"], hidden

    def logits_by_loss(self, images: Any, training: bool) -> tuple[dict[str, Any], Any]:
        """Return what `predict_hidden` returns, the logits in a dictionary by names of losses."""
        outputs, hidden = self.encode_with_mask_tokens(images, self.mask_token, training)
        logits = {
            name: self.head(take_tokens(tokens, hidden))
            for name, tokens in self.read_from(outputs, training).items()
        }
        codes, found = getattr(self.tokenizer, "codes", 1), logits["prediction"].shape[-1]
        if found < codes:
            raise ValueError(
                f"`head` must return a logit for each of the {codes} codes of `tokenizer`. "
                f"Received: {found} logits"
            )
        return logits, hidden

    def read_from(self, outputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the vectors of patches from which tokens are predicted, by the name of the loss.

        Args:
            outputs: what the encoder returned.
            training: whether networks run in training mode.
        """
        return {"prediction": outputs["patch_tokens"]}

    @classmethod
    def masking_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the masking of a trainer that is made by its name, for its encoder's grid."""
        return block_masking_for(images, ratio=0.4)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(tokenizer=self.tokenizer, head=self.head)
        return {**super().get_config(), **parts}
