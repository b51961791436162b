"""Autoencoders: reconstruct data from a code that is small, made of corrupted data, or sparse."""

from typing import Any

import keras
from keras import ops

from keras_ssl import layers
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.generative._image_networks import pixel_decoder
from keras_ssl.trainers.generative._output_range import check_output_range
from keras_ssl.trainers.generative._reconstruction import keras_loss, reconstruction_errors
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class Autoencoder(SelfSupervisedModel):
    r"""Autoencoder: an encoder and a decoder that return what they get.

    The encoder maps data x to a code, and the decoder reconstructs x from it:

        L = mean over the entries of x of loss(x, decoder(encoder(x)))

    The code is a useful representation if it cannot hold all of x: since it has fewer numbers (an
    undercomplete autoencoder, which with linear networks and squared errors finds the principal
    components), or since it is made of corrupted data, which the decoder has to repair (a
    denoising autoencoder):

        L = mean of loss(x, decoder(encoder(corruption(x))))

    The networks may be of any kind, dense or convolutional, as long as the decoder returns the
    shape of the data.

    Args:
        encoder: layer that maps data to a code, one tensor; the representation.
        decoder: layer that maps a code to data.
        corruption: layer that corrupts data, such as `augment.tabular.RandomMask`,
            `augment.tabular.RandomFeatureNoise` or `augment.RandomPatchMask`. `None` means that
            nothing is corrupted. Layers of Keras, such as `GaussianNoise`, draw the same numbers on
            all replicas.
        augment: layer that makes one view of a batch, which is reconstructed. `None` leaves data as
            it is.
        loss: name of a Keras loss, or a loss, of data and reconstruction. Its values are averaged
            over the entries of an example.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: data.
        training: whether the encoder runs in training mode.

    Input shape:
        Any structure of tensors `(batch, ...)` that the encoder takes and the decoder returns. The
        losses of several tensors are added.

    Output shape:
        That of the code, such as `(batch, features)`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `loss` is not known; before the first step, if the decoder's output has not
            the structure and the shapes of the data, or the decoder ends in a sigmoid or tanh and
            the data has other values.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x = np.random.default_rng(0).random((16, 8)).astype("float32")
    >>> trainer = keras_ssl.trainers.Autoencoder(
    ...     encoder=keras.layers.Dense(2, activation="relu"),
    ...     decoder=keras.layers.Dense(8),
    ...     corruption=keras_ssl.augment.tabular.RandomMask(0.3),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> trainer.encoder(x).shape, trainer.reconstruct(x).shape
    (TensorShape([16, 2]), TensorShape([16, 8]))

    Reference:
        - [Hinton & Salakhutdinov, Reducing the Dimensionality of Data with Neural
          Networks](https://doi.org/10.1126/science.1127647), 2006
        - [Vincent et al., Stacked Denoising
          Autoencoders](https://jmlr.org/papers/v11/vincent10a.html), 2010
        - [Bengio et al., Representation Learning: A Review and New
          Perspectives](https://arxiv.org/abs/1206.5538)
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        corruption: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: Any = "mean_squared_error",
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        check_type("decoder", decoder, keras.layers.Layer)
        if corruption is not None:
            check_type("corruption", corruption, keras.layers.Layer)
        self.decoder = decoder
        self.corruption = corruption
        self.loss_function = keras_loss(loss)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each example, `(batch,)`, and the code of what the encoder saw."""
        x = batch.views
        # evaluation corrupts too: its loss is that of training
        seen = x if self.corruption is None else self.corruption(x, training=True)
        code = self.encoder(seen, training=training)
        output = self.decoder(code, training=training)
        return {"reconstruction": self.errors(x, output), "representation": code}

    def errors(self, x: Any, output: Any) -> Any:
        """Return the error of the reconstruction of each example, float32 `(batch,)`.

        Args:
            x: data, a structure of tensors.
            output: what the decoder returned for it, a structure of the same kind.
        """
        return reconstruction_errors(self.loss_function, x, output)

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if the decoder cannot return values of the data."""
        check_output_range("decoder", self.decoder, x, self.augment)

    def encode(self, x: Any) -> Any:
        """Return the code of data that is not corrupted, what the trainer returns when called."""
        return self(x, training=False)

    def decode(self, code: Any) -> Any:
        """Return the data that belong to a code."""
        return self.decoder(code, training=False)

    def reconstruct(self, x: Any, corrupt: bool = False) -> Any:
        """Return the reconstruction of data.

        Args:
            x: a batch of data.
            corrupt: whether data is corrupted first; with `False` it is encoded as it is.

        Returns:
            What the decoder returns, which has the structure and the shapes of `x`.
        """
        x = self.input_kind.as_floats(keras.tree.map_structure(ops.convert_to_tensor, x))
        if corrupt and self.corruption is not None:
            x = self.corruption(x, training=True)
        return self.decode(self.encode(x))

    @classmethod
    def decoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the decoder of a trainer that is made by its name: to pixels."""
        return pixel_decoder(images.shape, features=images.features())

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(decoder=self.decoder, corruption=self.corruption)
        loss = keras.losses.serialize(self.loss_function)
        return {**super().get_config(), **parts, "loss": loss}


@keras.saving.register_keras_serializable(package="keras_ssl")
class SparseAutoencoder(Autoencoder):
    r"""Sparse autoencoder: a code of many units, few of which are active for an example.

    A penalty of the code h, or an activation that lets only the k largest units pass, keeps the
    code from copying x, even where it has more numbers than x:

        L = mean of loss(x, decoder(h)) + penalty(h),    h = encoder(x)
        L = mean of loss(x, decoder(top_k(h)))

    The penalty's share of the loss is chosen in `compile(loss_weights={"sparsity": ...})`. It is a
    sum over units, while the error is a mean over the entries of x.

    Args:
        encoder: layer that maps data to a code of shape `(batch, ..., units)`. For
            `losses.KLSparsity`, its units must be between 0 and 1, as with a sigmoid.
        decoder: layer that maps a code to data.
        penalty: loss called on the code alone: `losses.KLSparsity`, of the mean activation of units
            over the batch, or `losses.L1Sparsity`.
        top_k: number of units that reach the decoder; see `layers.KSparse`. At least one of
            `penalty` and `top_k` is needed.
        corruption: as in `trainers.Autoencoder`.
        augment: as in `trainers.Autoencoder`.
        loss: as in `trainers.Autoencoder`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: data.
        training: whether the encoder runs in training mode.

    Input shape:
        Any structure of tensors `(batch, ...)` that the encoder takes and the decoder returns.

    Output shape:
        `(batch, ..., units)`: the code, with `top_k` the sparse one. `trainer.encoder` alone
        returns the code before it.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if neither `penalty` nor `top_k` is given, or `top_k` is not positive; before
            the first step, if the decoder's output has not the structure and the shapes of the
            data, there are not more than `top_k` units, or the code of the first batch has values
            that the penalty does not take, as `losses.KLSparsity` those outside of 0 to 1.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x = np.random.default_rng(0).random((16, 8)).astype("float32")
    >>> trainer = keras_ssl.trainers.SparseAutoencoder(
    ...     encoder=keras.layers.Dense(32, activation="sigmoid"),
    ...     decoder=keras.layers.Dense(8),
    ...     penalty=keras_ssl.losses.KLSparsity(0.1),
    ... )
    >>> trainer.compile(optimizer="adam", loss_weights={"sparsity": 0.01})
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['loss', 'reconstruction', 'sparsity']

    Reference:
        - [Ng, Sparse autoencoder](https://web.stanford.edu/class/cs294a/sparseAutoencoder.pdf),
          lecture notes of CS294A, 2011
        - [Makhzani & Frey, k-Sparse Autoencoders](https://arxiv.org/abs/1312.5663)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        penalty: keras.losses.Loss | None = None,
        top_k: int | None = None,
        corruption: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: Any = "mean_squared_error",
        **kwargs: Any,
    ):
        super().__init__(encoder, decoder, corruption, augment, loss, **kwargs)
        if penalty is None and top_k is None:
            raise ValueError(
                "A sparse autoencoder needs a `penalty`, such as `losses.KLSparsity()`, or "
                "`top_k`. Received: penalty=None, top_k=None"
            )
        if penalty is not None:
            check_type("penalty", penalty, keras.losses.Loss)
        self.penalty = penalty
        self.activation = None if top_k is None else layers.KSparse(top_k, name="top_k")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the code of data, sparse if only the largest units pass."""
        return self._sparse(super().call(x, training))

    def _sparse(self, code: Any) -> Any:
        return code if self.activation is None else self.activation(code)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each example, and the code."""
        x = batch.views
        seen = x if self.corruption is None else self.corruption(x, training=True)
        code = self.encoder(seen, training=training)
        sparse = self._sparse(code)
        output = self.decoder(sparse, training=training)
        return {"errors": self.errors(x, output), "code": code, "representation": sparse}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the errors, and the penalty of the codes of the whole batch."""
        named = {"reconstruction": embeddings["errors"]}
        if self.penalty is not None:
            named["sparsity"] = self.penalty(embeddings["code"])
        return named

    def look_at_batch(self, x: Any) -> Any:
        """Return the function that looks at the first batch: codes must suit the penalty."""
        look, check = super().look_at_batch(x), getattr(self.penalty, "check_values", None)
        if check is None or self.augment is not None:
            return look

        def look_at_code(data: Any) -> None:
            if look is not None:
                look(data)
            seen = keras.utils.unpack_x_y_sample_weight(data)[0]
            check(self.encoder(self.input_kind.as_floats(seen), training=False))

        return look_at_code

    @classmethod
    def top_k_for(cls, images: ImageSpec) -> int | None:
        """Return how many units of a trainer that is made by its name are used: a quarter."""
        return None if images.part("penalty") else max(1, images.features() // 4)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        top_k = None if self.activation is None else self.activation.k
        return {**super().get_config(), **serialize_parts(penalty=self.penalty), "top_k": top_k}
