"""VQ-VAE: an autoencoder whose code consists of vectors of a learned codebook."""

import math
from typing import Any

import keras

from keras_ssl import layers, networks
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.generative._image_networks import pixel_decoder
from keras_ssl.trainers.generative._output_range import check_output_range
from keras_ssl.trainers.generative._reconstruction import keras_loss, reconstruction_errors
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class VQVAE(SelfSupervisedModel):
    r"""VQ-VAE: vector-quantized variational autoencoder.

    The encoder maps data to vectors, one or a map of them. Each vector h is replaced by the nearest
    code e of a codebook, and the decoder reconstructs the data from codes:

        L = mean of loss(x, decoder(e)) + c |h - sg(e)|²,    e = nearest code of h = encoder(x)

    The decoder's gradient passes to the encoder as if nothing had been replaced, and the second
    term, of weight c, keeps the encoder's vectors near their codes. Codes are moving averages of
    the vectors that they replace. An example thus becomes a few integers, `encode(x)`, that another
    model can learn to predict.

    The logs hold `codebook_use`, the perplexity of the codes divided by their number: 1 if all are
    used equally often.

    Args:
        encoder: layer that maps data to vectors, `(batch, ..., width)`.
        decoder: layer that maps codes, of the same shape, to data.
        quantizer: `layers.VectorQuantizer`, which holds the codebook and c. `None` means the
            paper's 512 codes, with moving averages: `layers.VectorQuantizer(512)`.
        augment: layer that makes one view of a batch, which is reconstructed. `None` leaves data as
            it is.
        loss: name of a Keras loss, or a loss, of data and reconstruction. Its values are averaged
            over the entries of an example.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: data.
        training: whether the encoder runs in training mode.

    Input shape:
        Any structure of tensors `(batch, ...)` that the encoder takes and the decoder returns.

    Output shape:
        `(batch, ..., width)`: the encoder's vectors before they are replaced.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `loss` is not known; before the first step, if the encoder does not return
            one tensor of vectors, the decoder's output has not the structure and the shapes of the
            data, or the decoder ends in a sigmoid or tanh and the data has other values.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x = np.random.default_rng(0).random((16, 8, 8, 1)).astype("float32")
    >>> trainer = keras_ssl.trainers.VQVAE(
    ...     encoder=keras.layers.Conv2D(4, 4, strides=4),
    ...     decoder=keras.layers.Conv2DTranspose(1, 4, strides=4),
    ...     quantizer=keras_ssl.layers.VectorQuantizer(8, seed=0),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['codebook_use', 'commitment', 'loss', 'reconstruction']
    >>> trainer.encode(x).shape, trainer.decode(trainer.encode(x)).shape
    (TensorShape([16, 2, 2]), TensorShape([16, 8, 8, 1]))

    Reference:
        - [van den Oord et al., Neural Discrete Representation
          Learning](https://arxiv.org/abs/1711.00937)
        - [Razavi et al., Generating Diverse High-Fidelity Images with
          VQ-VAE-2](https://arxiv.org/abs/1906.00446)
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        quantizer: layers.VectorQuantizer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: Any = "mean_squared_error",
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        check_type("decoder", decoder, keras.layers.Layer)
        quantizer = layers.VectorQuantizer(512) if quantizer is None else quantizer
        check_type("quantizer", quantizer, layers.VectorQuantizer)
        self.decoder = decoder
        self.quantizer = quantizer
        self.loss_function = keras_loss(loss)

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if the decoder cannot return values of the data."""
        check_output_range("decoder", self.decoder, x, self.augment)

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one tensor of vectors."""
        if not hasattr(features, "shape") or len(features.shape) < 2:
            raise ValueError(
                "`encoder` must return vectors of shape (batch, ..., width). "
                f"Received: {keras.tree.map_structure(lambda one: tuple(one.shape), features)}"
            )

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the vectors of data, and the data itself to compare reconstructions with."""
        vectors = self.encoder(batch.views, training=training)
        self.check_representation(vectors)
        return {"vectors": vectors, "x": batch.views, "representation": vectors}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the error of each example, and how far its vectors are from their codes."""
        # codes move once in a step, by the vectors of the whole batch
        codes, _, commitment = self.quantizer(embeddings["vectors"], training=training)
        x, output = embeddings["x"], self.decoder(codes, training=training)
        errors = reconstruction_errors(self.loss_function, x, output)
        return {"reconstruction": errors, "commitment": commitment}

    def encode(self, x: Any) -> Any:
        """Return the numbers of the codes of data, int32 `(batch, ...)`."""
        return self.quantizer(self(x, training=False), training=False)[1]

    def decode(self, numbers: Any) -> Any:
        """Return the data that belong to codes.

        Args:
            numbers: numbers of codes, integers `(batch, ...)`.
        """
        return self.decoder(self.quantizer.lookup(numbers), training=False)

    def reconstruct(self, x: Any) -> Any:
        """Return the reconstruction of data from its codes."""
        return self.decode(self.encode(x))

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the values of all metrics, and the use of the codebook."""
        use = self.quantizer.perplexity() / self.quantizer.codes
        return {**super().get_metrics_result(), "codebook_use": use}

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the encoder of a trainer that is made by its name: to feature maps."""
        if images.network is None:
            return networks.conv_encoder(images.shape, channels=64)
        return images.feature_maps()

    @classmethod
    def decoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the decoder of a trainer that is made by its name: to pixels."""
        maps = images.part("encoder").compute_output_shape((None, *images.shape))
        levels = round(math.log2(images.size / maps[1]))
        widths = tuple(32 * 2**level for level in range(levels))
        return pixel_decoder(images.shape, widths, channels=maps[-1])

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(decoder=self.decoder, quantizer=self.quantizer)
        return {**super().get_config(), **parts, "loss": keras.losses.serialize(self.loss_function)}
