"""VQKD: learn a codebook of patches from the features of a teacher."""

from contextlib import suppress
from typing import Any

import keras
from keras import ops

from keras_ssl import layers
from keras_ssl.networks import PatchTokenizer, TokenEncoder, token_encoder
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers._linear_to_targets import LinearToTargets
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_trained_teacher, check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.masked._masked_model import check_images
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import freeze


@keras.saving.register_keras_serializable(package="keras_ssl")
class VQKD(SelfSupervisedModel):
    r"""VQKD: vector-quantized knowledge distillation, the tokenizer of BEiT v2.

    The encoder's output of each patch is replaced by the nearest code z of a codebook. From the
    codes, a small transformer reconstructs the direction of a frozen teacher's features t of the
    patches:

        g_i = projector(encoder(image)_i),  z_i = nearest code of g_i
        L = mean over patches of 1 - cos(decoder(z)_i, t_i) + c |g_i - z_i|² / width

    where c is the quantizer's weight of commitment. Vectors and codes have length 1. The decoder's
    gradient passes to the encoder as if nothing had been quantized; codes are moving averages of
    the vectors that they replace, and those that are hardly used are drawn anew.

    `trainer.tokenizer`, or `trainer.tokenize(images)`, maps images to the numbers of codes, which
    `trainers.BEiT` and `trainers.BEiTv2` predict. The logs hold `codebook_use`, the perplexity of
    the codes divided by their number: 1 if all are used equally often.

    Args:
        encoder: `networks.TokenEncoder`, such as `networks.vit(...)`.
        teacher: trained `networks.TokenEncoder`, whose `"patch_tokens"` are the target, or another
            layer with weights from images to `(batch, patches, features)`. It is frozen, and sees
            the same images, in the same order of patches.
        projector: layer that maps the encoder's outputs of patches to the width of a code. `None`
            means `ProjectionHead((768, 32), normalization=False, activation="tanh")`.
        quantizer: `layers.VectorQuantizer`. `None` means `layers.VectorQuantizer(8192, "cosine",
            momentum=0.99, commitment=1.0)`.
        decoder: layer called `decoder(codes, grid=(rows, columns), training=...)` on
            `(batch, patches, code width)`. `None` means `layers.TokenDecoder(width=768, depth=3,
            num_heads=12)`. A linear map to the width of the teacher's features follows.
        augment: layer that makes one view of a batch. `None` leaves the images unchanged. The paper
            uses random crops, flips and colour jitter.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, features)`: the features of the encoder.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the teacher has no weights or shares them with the encoder; before the first
            step, if images are not divisible by patches, teacher and encoder have unlike grids of
            patches, or the decoder returns another number of vectors.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.VQKD(
    ...     encoder=keras_ssl.networks.vit((16, 1, 2), (28, 28, 1), patch_size=7),
    ...     teacher=keras_ssl.networks.vit((24, 1, 2), (28, 28, 1), patch_size=7),  # a trained one
    ...     projector=keras_ssl.layers.ProjectionHead((16, 8), normalization=False),
    ...     quantizer=keras_ssl.layers.VectorQuantizer(32, "cosine", commitment=1.0),
    ...     decoder=keras_ssl.layers.TokenDecoder(width=16, depth=1, num_heads=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['codebook_use', 'commitment', 'distillation', 'loss']
    >>> trainer.tokenize(images).shape
    TensorShape([16, 16])

    Reference:
        - [BEiT v2: Masked Image Modeling with Vector-Quantized Visual Tokenizers](
          https://arxiv.org/abs/2208.06366), Peng et al., 2022
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        teacher: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        quantizer: layers.VectorQuantizer | None = None,
        decoder: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(token_encoder(encoder), augment, **kwargs)
        check_trained_teacher(teacher, encoder)
        if projector is None:
            projector = layers.ProjectionHead((768, 32), normalization=False, activation="tanh")
        if quantizer is None:
            quantizer = layers.VectorQuantizer(8192, "cosine", momentum=0.99, commitment=1.0)
        if decoder is None:
            decoder = layers.TokenDecoder(width=768, depth=3, num_heads=12)
        check_type("decoder", decoder, keras.layers.Layer)
        self.projector = projector
        self.quantizer = quantizer
        self.tokenizer = PatchTokenizer(self.encoder, projector, quantizer, name="tokenizer")
        self.decoder = decoder
        self.to_targets = LinearToTargets(name="to_targets")
        with suppress(TypeError):  # another layer returns the features of patches itself
            teacher = token_encoder(teacher)
        self.teacher = teacher
        self.teacher.trainable = False
        freeze(self.teacher)

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of images, which patches divide."""
        check_images(views, self.encoder)

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the teacher."""
        return [*super().frozen_parts(), self.teacher]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the vectors to quantize, `(batch, rows, columns, width)`, and the targets."""
        outputs, vectors = self.tokenizer.project(batch.views, training)
        targets = self._targets(batch.views, tuple(vectors.shape[1:3]))
        return {"vectors": vectors, "targets": targets, "representation": outputs["features"]}

    def _targets(self, images: Any, grid: tuple[int, int]) -> Any:
        """Return the teacher's features of patches, `(batch, patches, features)`."""
        teacher = self.teacher
        if isinstance(teacher, TokenEncoder):
            of_teacher = teacher.grid(images.shape)
            if of_teacher != grid:
                raise ValueError(
                    "`teacher` and `encoder` must divide images into the same grid of patches. "
                    f"Received: grids of {of_teacher} and {grid} for images of shape "
                    f"{tuple(images.shape)}"
                )
            tokens = teacher.encode(teacher.embed(images), grid, training=False)["patch_tokens"]
        else:
            tokens = teacher(images, training=False)
        if len(tokens.shape) != 3 or tokens.shape[1] != grid[0] * grid[1]:
            raise ValueError(
                "`teacher` must return features of the patches of `encoder`, of shape (batch, "
                f"patches, features), for a grid of {grid}. Received: shape {tuple(tokens.shape)}"
            )
        return ops.stop_gradient(tokens)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return 1 - cosine for each patch, and the quantizer's loss for each example."""
        vectors, targets = embeddings["vectors"], embeddings["targets"]
        rows, columns, width = vectors.shape[1:]
        quantized, _, commitment = self.quantizer(vectors, training=training)
        quantized = ops.reshape(quantized, (-1, rows * columns, width))
        decoded = self.decoder(quantized, grid=(rows, columns), training=training)
        if len(decoded.shape) != 3 or decoded.shape[1] != rows * columns:
            raise ValueError(
                f"`decoder` must return a vector for each of {rows * columns} patches. Received: "
                f"shape {tuple(decoded.shape)}"
            )
        predicted = self.to_targets(decoded, targets)
        cosine = ops.sum(l2_normalize(predicted) * l2_normalize(targets), axis=-1)
        return {"distillation": 1 - cosine, "commitment": commitment}

    def tokenize(self, images: Any) -> Any:
        """Return the number of the code of each patch.

        Args:
            images: `(batch, height, width, channels)`.

        Returns:
            int32 `(batch, patches)`.
        """
        return self.tokenizer(images)

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the values of all metrics, and the use of the codebook."""
        use = self.quantizer.perplexity() / self.quantizer.codes
        return {**super().get_metrics_result(), "codebook_use": use}

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the vision transformer of a trainer that is made by its name."""
        return images.token_encoder()

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees: a crop and a flip."""
        return images.crop()

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        names = ("teacher", "projector", "quantizer", "decoder")
        parts = serialize_parts(**{name: getattr(self, name) for name in names})
        return {**super().get_config(), **parts}
