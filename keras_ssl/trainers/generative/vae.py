"""VAE: encode data as distributions of latent variables, from which new data can be drawn."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, losses
from keras_ssl.augment._value_range import keeps_range
from keras_ssl.ops import at_least_float32, schedules
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.engine.data_batches import input_batches
from keras_ssl.trainers.generative._image_networks import pixel_decoder
from keras_ssl.trainers.generative._reconstruction import check_same_structure, check_shapes
from keras_ssl.trainers.generative._samples import check_is_built, generate
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch

LIKELIHOODS = {"bernoulli": losses.BernoulliNLL, "gaussian": losses.GaussianNLL}


@keras.saving.register_keras_serializable(package="keras_ssl")
class VAE(SelfSupervisedModel):
    r"""VAE: variational autoencoder.

    From the encoder's features h of data x, a linear map computes the mean μ and the variance σ² of
    each latent variable. Latent variables z are drawn from these normal distributions, and the
    decoder maps them to the parameters of a distribution of x. The loss is the negative evidence
    lower bound, in nats per example:

        z = μ + σ ε,    ε ~ N(0, 1)
        L = -log p(x | z) + β KL(N(μ, σ²) || N(0, 1))

    New data is what the decoder makes of latent variables drawn from N(0, 1). With β > 1, latent
    variables become more independent, and reconstructions blurred (β-VAE). Free bits λ keep latent
    variables in use: one that costs less than λ in the mean over the batch costs λ, without a
    gradient. They count in training alone: the loss of `evaluate` and of validation is the bound.

    Args:
        encoder: layer that maps data to features, `(batch, features)` or a feature map.
        decoder: layer that maps latent variables, `(batch, latent_dim)` or a map of them, to data:
            to logits for a Bernoulli likelihood, to means for a Gaussian one.
        latent_dim: number of latent variables; of a feature map, at each of its positions.
        likelihood: `"bernoulli"` for data in [0, 1], `"gaussian"` with standard deviation 1, or a
            loss such as `losses.GaussianNLL(std=0.1)`: a subclass of `losses.Likelihood`.
        beta: β, a number of at least 0 or a schedule of optimizer steps, such as a warm-up.
        free_bits: λ, in nats per latent variable.
        augment: layer that makes one view of a batch, such as one that draws binary images. The
            view is encoded and decoded. `None` leaves data as it is.
        seed: integer seed of ε.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: data.
        training: whether the encoder runs in training mode.

    Input shape:
        Any structure of tensors `(batch, ...)` that the encoder takes and the decoder returns. The
        log-likelihoods of several tensors are added.

    Output shape:
        That of μ: `(batch, latent_dim)` or `(batch, ..., latent_dim)`. `trainer.encoder` alone
        returns the features h.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range or `likelihood` is unknown; before the first
            step, if the decoder's output has not the structure and the shapes of the data, or
            values of the data are impossible under the likelihood.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x = np.random.default_rng(0).random((16, 8)).astype("float32")
    >>> trainer = keras_ssl.trainers.VAE(
    ...     encoder=keras.layers.Dense(16, activation="relu"),
    ...     decoder=keras.layers.Dense(8),
    ...     latent_dim=2,
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['kl', 'loss', 'reconstruction']
    >>> trainer.sample(4, seed=0).shape, trainer.reconstruct(x).shape
    ((4, 8), TensorShape([16, 8]))
    >>> trainer.importance_weighted_bound(x, draws=8).shape
    (16,)

    Reference:
        - [Kingma & Welling, Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
        - [Higgins et al., beta-VAE](https://openreview.net/forum?id=Sy2fzU9gl), 2017
        - [Kingma et al., Improving Variational Inference with Inverse Autoregressive
          Flow](https://arxiv.org/abs/1606.04934): free bits
        - [Burda et al., Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519): the
          bound for evaluation, active units
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        latent_dim: int,
        likelihood: Any = "bernoulli",
        beta: float | keras.optimizers.schedules.LearningRateSchedule = 1.0,
        free_bits: float = 0.0,
        augment: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        check_type("decoder", decoder, keras.layers.Layer)
        self.decoder = decoder
        self.latent_dim = checks.integer("latent_dim", latent_dim, minimum=1)
        self.likelihood = _likelihood(likelihood)
        self.beta = beta if schedules.is_schedule(beta) else checks.number("beta", beta, minimum=0)
        self.divergence = losses.GaussianKL(free_bits)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)
        # variances and their logarithms need the digits
        self.to_posterior = keras.layers.Dense(
            2 * self.latent_dim, dtype="float32", name="to_posterior"
        )

    def posterior(self, x: Any, training: bool = False) -> tuple[Any, Any]:
        """Return the distributions of the latent variables of data.

        Args:
            x: data.
            training: whether the encoder runs in training mode.

        Returns:
            μ and log σ², float32 tensors `(batch, ..., latent_dim)`.
        """
        h = self.encoder(self.input_kind.as_floats(x), training=training)
        mean, log_variance = ops.split(self.to_posterior(h), 2, axis=-1)
        return mean, log_variance

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the means of the latent variables."""
        return self.posterior(x, training)[0]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return -log p(x | z) of each example, and the distributions of its latent variables."""
        x = batch.views
        mean, log_variance = self.posterior(x, training)
        noise = distribute.draw_per_example(
            lambda rows: keras.random.normal(
                (rows, *ops.shape(mean)[1:]), dtype="float32", seed=self.seed_generator
            ),
            ops.shape(mean)[0],
        )
        z = mean + ops.exp(0.5 * log_variance) * noise
        outputs = self.decoder(z, training=training)
        return {
            "errors": self.negative_log_likelihood(x, outputs),
            "mean": mean,
            "log_variance": log_variance,
            "representation": mean,
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return -log p(x | z), and the divergence; free bits, of the whole batch, in training."""
        divergence = self.divergence if training else losses.GaussianKL()
        kl = divergence(embeddings["mean"], embeddings["log_variance"])
        return {"reconstruction": embeddings["errors"], "kl": kl}

    def loss_weight(self, name: str) -> Any:
        """Return the factor of a named loss in the total loss: that of "kl" holds β."""
        weight = super().loss_weight(name)
        return weight * schedules.value_now(self.beta, "beta") if name == "kl" else weight

    def negative_log_likelihood(self, x: Any, outputs: Any) -> Any:
        """Return -log p(x | z) of each example.

        Args:
            x: data, a structure of tensors.
            outputs: what the decoder returned, a structure of the same kind.

        Returns:
            float32 tensor `(batch,)`, in nats.
        """
        check_same_structure(x, outputs)
        total = 0.0
        for one, output in zip(keras.tree.flatten(x), keras.tree.flatten(outputs), strict=True):
            check_shapes(one, output)
            output = at_least_float32(output)
            total = total + self.likelihood.call(ops.cast(one, output.dtype), output)
        return ops.cast(total, "float32")

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if values of the data are impossible under the likelihood."""
        if self.augment is None or keeps_range(self.augment):
            for one in keras.tree.flatten(x):
                self.likelihood.check_values(one)

    # Use

    def encode(self, x: Any) -> Any:
        """Return the means of the latent variables, what the trainer returns when called."""
        return self(x, training=False)

    def decode(self, z: Any) -> Any:
        """Return the expected data of latent variables: probabilities, or means."""
        return keras.tree.map_structure(self.likelihood.mean, self.decoder(z, training=False))

    def reconstruct(self, x: Any) -> Any:
        """Return the expected data of the means of the latent variables of `x`."""
        return self.decode(self.encode(x))

    def sample(self, n: int, seed: int | None = None, batch_size: int = 256) -> Any:
        """Draw latent variables and return the expected data that belong to them.

        Args:
            n: number of examples.
            seed: integer seed of the latent variables. The same seed gives the same examples, on
                any number of replicas; `None` draws others at each call.
            batch_size: number of examples that are decoded at a time.

        Returns:
            NumPy array `(n, ...)`, or a structure of them, as the decoder returns.

        Raises:
            ValueError: if `n` is not positive, the trainer is not built, or the latent variables
                are maps of unknown size.
        """
        check_is_built(self)
        shape = self._state.representation_spec.shape[1:]
        if None in shape:
            raise ValueError(
                "VAE.sample needs a known shape of the latent variables: use an encoder of images "
                "of one size, or call `decode` on random numbers of the shape that you want. "
                f"Received: latent variables of shape {(None, *shape)}"
            )
        n = checks.integer("n", n, minimum=1)
        z = keras.random.normal((n, *shape), dtype="float32", seed=keras.random.SeedGenerator(seed))
        return generate(self.decode, z, batch_size)

    # Evaluation

    def importance_weighted_bound(
        self, x: Any, draws: int = 64, batch_size: int = 256, seed: int = 0
    ) -> np.ndarray:
        """Return a lower bound of the log-likelihood of each example, tighter than that trained on.

            log 1/K Σ_k p(x | z_k) p(z_k) / q(z_k | x),    z_k ~ q(z | x)

        With one draw, its expectation is the evidence lower bound; with many, it comes close to
        log p(x).

        Args:
            x: data: arrays, or a dataset of batches, whose labels are left aside. It is not
                augmented.
            draws: K, the number of latent variables that are drawn for each example.
            batch_size: examples per batch, if `x` is an array.
            seed: integer seed of the draws.

        Returns:
            Array `(examples,)`, in nats.

        Raises:
            ValueError: if `draws` is not positive, or values are impossible under the likelihood.
        """
        draws = checks.integer("draws", draws, minimum=1)
        generator = keras.random.SeedGenerator(seed)
        bounds = []
        for batch in input_batches(x, batch_size):
            batch = self.input_kind.as_floats(batch)
            for one in keras.tree.flatten(batch):
                self.likelihood.check_values(one)
            mean, log_variance = self.posterior(batch)
            weights = [self._log_weight(batch, mean, log_variance, generator) for _ in range(draws)]
            weights = np.stack([ops.convert_to_numpy(one) for one in weights]).astype("float64")
            largest = weights.max(axis=0)
            bounds.append(largest + np.log(np.mean(np.exp(weights - largest), axis=0)))
        return np.concatenate(bounds)

    def _log_weight(self, x: Any, mean: Any, log_variance: Any, seed: Any) -> Any:
        """Return log p(x | z) + log p(z) - log q(z | x) of one draw of z for each example."""
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=seed)
        z = mean + ops.exp(0.5 * log_variance) * noise
        ratio = 0.5 * (ops.square(noise) - ops.square(z) + log_variance)
        ratio = ops.sum(ratio, axis=tuple(range(1, len(ratio.shape))))
        return ratio - self.negative_log_likelihood(x, self.decoder(z, training=False))

    def active_units(self, x: Any, threshold: float = 0.01, batch_size: int = 256) -> int:
        """Return how many latent variables depend on the data.

        A variable is active if the variance of its mean μ over the examples is above a threshold.
        With few active ones, the posterior has collapsed.

        Args:
            x: data: arrays, or a dataset of batches, whose labels are left aside.
            threshold: variance above which a variable counts.
            batch_size: examples per batch, if `x` is an array.

        Returns:
            The number of active variables.
        """
        means = [ops.convert_to_numpy(self.encode(one)) for one in input_batches(x, batch_size)]
        return int(np.sum(np.var(np.concatenate(means), axis=0) > threshold))

    @classmethod
    def latent_dim_for(cls, images: ImageSpec) -> int:
        """Return the number of latent variables of a trainer that is made by its name."""
        return 64

    @classmethod
    def decoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the decoder of a trainer that is made by its name: to pixels."""
        return pixel_decoder(images.shape, features=images.part("latent_dim"))

    @classmethod
    def likelihood_for(cls, images: ImageSpec) -> keras.losses.Loss:
        """Return the likelihood of a trainer that is made by its name: of pixels up to 255."""
        return losses.GaussianNLL(25.5)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {
            **super().get_config(),
            **serialize_parts(decoder=self.decoder, likelihood=self.likelihood),
            "latent_dim": self.latent_dim,
            "beta": schedules.serialize(self.beta),
            "free_bits": self.divergence.free_bits,
            "seed": self.seed,
        }


def _likelihood(likelihood: Any) -> losses.Likelihood:
    if likelihood in LIKELIHOODS:
        return LIKELIHOODS[likelihood]()
    if not isinstance(likelihood, losses.Likelihood):
        raise (ValueError if isinstance(likelihood, str) else TypeError)(
            f"`likelihood` must be one of {sorted(LIKELIHOODS)} or a `keras_ssl.losses.Likelihood`,"
            f" such as `losses.GaussianNLL(0.1)`. Received: likelihood={likelihood!r}"
        )
    return likelihood
