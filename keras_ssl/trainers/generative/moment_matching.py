"""Moment matching: a generator that makes its examples' distribution that of the data."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks, losses
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.generative._image_networks import pixel_generator
from keras_ssl.trainers.generative._output_range import check_output_range
from keras_ssl.trainers.generative._samples import generate, generate_like, numbers_to_sample
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import freeze


@keras.saving.register_keras_serializable(package="keras_ssl")
class MomentMatching(SelfSupervisedModel):
    r"""Moment matching: a generator without a discriminator.

    The generator maps random numbers z ~ N(0, 1) to examples. The loss compares a batch of them
    with a batch of data directly, by the maximum mean discrepancy, which is 0 in the mean if and
    only if both have the same distribution:

        L = MMD²({φ(x_i)}, {φ(G(z_i))})

    with φ the features of a trained encoder, or the data itself. There is no game, and one
    optimizer. Since the discrepancy sees distances alone, features of a few dimensions, such as the
    code of an autoencoder, work better than pixels, and batches should be of some hundred examples.

    Args:
        generator: layer called on z, float32 `(batch, latent_dim)`, that returns what is shaped as
            the data.
        latent_dim: number of random numbers that an example is made of.
        encoder: layer with weights from data to features, which is frozen, or `None` to compare the
            data itself.
        loss: loss called on two samples, `(batch, dim)`. `None` means `losses.MMD()`.
        augment: layer that makes one view of a batch, which is taken for the data.
        seed: integer seed of z.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: data.
        training: not used: the encoder runs in inference mode.

    Input shape:
        Any structure of tensors `(batch, ...)` that the generator returns.

    Output shape:
        `(batch, dim)`: the features that are compared, flattened.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if `latent_dim` is not positive, or the encoder has no weights; before the first
            step, if the generator's output has not the structure and the shapes of the data, or a
            batch holds a single example, or the generator ends in a sigmoid or tanh and the data
            has other values.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    >>> trainer = keras_ssl.trainers.MomentMatching(
    ...     keras.Sequential([keras.layers.Dense(16, "relu"), keras.layers.Dense(2)]), latent_dim=4
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, batch_size=16, verbose=0)
    >>> trainer.sample(3, seed=0).shape
    (3, 2)

    Reference:
        - [Li et al., Generative Moment Matching Networks](https://arxiv.org/abs/1502.02761)
        - [Dziugaite et al., Training generative neural networks via Maximum Mean Discrepancy
          optimization](https://arxiv.org/abs/1505.03906)
    """

    view_count = 1
    minimum_batch = 2

    def __init__(
        self,
        generator: keras.layers.Layer,
        latent_dim: int,
        encoder: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        augment: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("generator", generator, keras.layers.Layer)
        loss = losses.MMD() if loss is None else loss
        check_type("loss", loss, keras.losses.Loss)
        if encoder is not None:
            if not encoder.built or not encoder.weights:
                raise ValueError(
                    "`encoder` must be a trained model, and this one has no weights yet. "
                    f"Received: encoder={encoder}"
                )
            self.encoder.trainable = False
            freeze(self.encoder)
        self.generator = generator
        self.latent_dim = checks.integer("latent_dim", latent_dim, minimum=1)
        self.loss_function = loss
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the encoder."""
        return [] if self.encoder is None else [self.encoder]

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the features of data that are compared, `(batch, dim)`."""
        x = self.input_kind.as_floats(x)
        features = x if self.encoder is None else self.encoder(x, training=False)
        rows = ops.shape(keras.tree.flatten(x)[0])[0]
        flat = [
            ops.reshape(at_least_float32(one), (rows, math.prod(one.shape[1:])))
            for one in keras.tree.flatten(features)
        ]
        return ops.concatenate(flat, axis=-1)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the features of data and of as many generated examples."""
        x = batch.views
        fake = generate_like(
            x,
            lambda z: self.generator(z, training=training),
            self.latent_dim,
            self.seed_generator,
        )
        real = self.call(x)
        return {"real": real, "fake": self.call(fake), "representation": real}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the discrepancy of both samples."""
        return {"discrepancy": self.loss_function(embeddings["real"], embeddings["fake"])}

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if the generator cannot return values of the data."""
        check_output_range("generator", self.generator, x, self.augment)

    def sample(self, n: int, seed: int | None = None, batch_size: int = 256) -> Any:
        """Draw random numbers and return the examples that the generator makes of them.

        Args:
            n: number of examples.
            seed: integer seed. The same seed gives the same examples, on any number of replicas;
                `None` draws others at each call.
            batch_size: number of examples that are generated at a time.

        Returns:
            NumPy array `(n, ...)`, or a structure of them, as the generator returns.

        Raises:
            ValueError: if `n` is not positive, or the trainer is not built.
        """
        z = numbers_to_sample(self, n, keras.random.SeedGenerator(seed))
        return generate(lambda one: self.generator(one, training=False), z, batch_size)

    @classmethod
    def latent_dim_for(cls, images: ImageSpec) -> int:
        """Return how many random numbers a trainer that is made by its name draws."""
        return 100

    @classmethod
    def generator_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the generator of a trainer that is made by its name: to pixels."""
        return pixel_generator(images.shape, images.part("latent_dim"))

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> None:
        """Return no encoder: pixels are compared."""
        if images.network is not None:
            raise ValueError("`encoder` must be a trained model, from a file")
        return None

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(generator=self.generator, loss=self.loss_function)
        own = {"latent_dim": self.latent_dim, "seed": self.seed}
        return {**super().get_config(), **parts, **own}
