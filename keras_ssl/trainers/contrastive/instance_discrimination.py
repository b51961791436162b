"""Instance discrimination: every image is a class of its own, and a memory holds all of them."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import MemoryBank, ProjectionHead
from keras_ssl.losses import NCE
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers._indexed import check_indices_of_arrays, indices_of, without_index
from keras_ssl.trainers.checks import check_type, check_views
from keras_ssl.trainers.contrastive.log_normalizer import LogNormalizer
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class InstanceDiscrimination(JointEmbedding):
    r"""Instance discrimination with a memory bank and noise-contrastive estimation.

    Every one of n images is a class. An image, once augmented, is embedded, `z = g(f(x))`, at
    length 1. The memory bank holds the embedding `v_i` of every image i from when it last came.
    That z belongs to image i has the probability

        P(i | z) = exp(z·v_i / τ) / Z,    Z ≈ n mean over j of exp(z·v_j / τ)

    with the constant Z as the first batch finds it. NCE makes the image's own entry probable, and
    improbable m others drawn from all n alike, the noise, without a sum over all images. One draw
    of noise serves the whole batch. Then the entries of the batch's images move towards their new
    embeddings. λ holds embeddings back that move far, since an image comes only once an epoch:

        L = NCE + λ ||z - v_i||²

    A data set that is small enough needs no estimate: with `noise_samples=None` the candidates are
    all n entries, and `loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)` is then
    the paper's non-parametric softmax.

    Each image must come with its index in the data set, `{"image": image, "index": index}`:
    `keras_ssl.data.with_index` puts it there.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        bank: layer that holds an embedding of each of the n images, called
            `bank(z, indices, training=...)`: `keras_ssl.layers.MemoryBank(n)`.
        projector: layer `g`. `None` means the paper's, a linear one:
            `keras_ssl.layers.ProjectionHead((128,))`.
        augment: layer that makes a view of a batch: `keras_ssl.augment.Views(pipeline, count=1)`,
            or any Keras layer from images to images. `None` means that images are ready views.
        loss: loss called `loss(labels, scores)`, with the scores log(P / P_n) of each image's
            candidates and the column of its own entry. `None` means `keras_ssl.losses.NCE()`.
        temperature: τ, above 0.
        noise_samples: m, how many entries are drawn as noise. `None` compares with all entries.
        proximal_weight: λ, at least 0.
        seed: integer seed of the draw.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of images, or `{"image": images, "index": indices}`.
        training: whether the encoder runs in training mode.

    Input shape:
        Images as the encoder takes them, as a rule `(batch, height, width, channels)`; indices
        `(batch,)`, integers from 0 to n - 1.

    Output shape:
        What the encoder returns, `(batch, features)`.

    Raises:
        TypeError: if a part is not a Keras object, a number is none, or, before the first step,
            indices are not integers.
        ValueError: if a number is out of its range. Before the first step, if the data has no
            indices, images are of another rank, or an index of arrays is outside of the bank.
        tf.errors.InvalidArgumentError: if one of other data is, in its step. XLA leaves that out.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.InstanceDiscrimination(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(28, 28, 1), width=4),
    ...     bank=keras_ssl.layers.MemoryBank(16),
    ...     augment=keras.layers.RandomFlip("horizontal"),
    ...     noise_samples=8,
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> data = {"image": images.numpy(), "index": np.arange(16)}
    >>> history = trainer.fit(data, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Unsupervised Feature Learning via Non-Parametric Instance Discrimination](
          https://arxiv.org/abs/1805.01978), Wu et al., 2018
    """

    view_count = 1

    def __init__(
        self,
        encoder: keras.layers.Layer,
        bank: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        temperature: float = 0.07,
        noise_samples: int | None = 4096,
        proximal_weight: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        checks.positive("temperature", temperature)
        checks.number("proximal_weight", proximal_weight, minimum=0)
        if noise_samples is not None:
            noise_samples = checks.integer("noise_samples", noise_samples, minimum=1)
        projector = ProjectionHead((128,)) if projector is None else projector
        super().__init__(encoder, projector, augment, NCE() if loss is None else loss, **kwargs)
        check_type("bank", bank, MemoryBank)
        self.bank = bank
        self.temperature = float(temperature)
        self.noise_samples = noise_samples
        self.proximal_weight = float(proximal_weight)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.log_normalizer = LogNormalizer()

    def check_views(self, views: Any) -> None:
        """Raise unless there is one view of every example, or a tuple of one."""
        if isinstance(views, (tuple, list)):
            check_views(views, count=1)

    def to_encode(self, x: Any) -> Any:
        """Return a batch without the indices of its examples."""
        return without_index(x)

    def check_data(self, data: Any) -> None:
        """Raise unless the indices of arrays have a place in the bank."""
        check_indices_of_arrays(data, self.bank.size)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the embedding of the view, its example's index, and its representation."""
        index = indices_of(batch.x, self.bank.size)
        (view,) = batch.views if isinstance(batch.views, (tuple, list)) else (batch.views,)
        h, z = self.project(view, training)
        return {"z": z, "index": index, "representation": h}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss over the candidates, and let the embeddings into the bank."""
        z, index = l2_normalize(embeddings["z"]), embeddings["index"]
        own = self.bank(z, index, training=False)
        labels, scores = self._candidates(z, own, index, training)
        losses = {"contrastive": self.loss_function(labels, scores)}
        if self.proximal_weight:
            distance = ops.sum(ops.square(z - own), axis=-1)
            losses["proximal"] = self.proximal_weight * distance
        self.bank(z, index, training=training)
        return losses

    def _candidates(self, z: Any, own: Any, index: Any, training: bool) -> tuple[Any, Any]:
        """Return the column of each example's own entry, and the scores of its candidates."""
        if self.noise_samples is None:
            scores = ops.matmul(z, ops.transpose(self.bank.embeddings)) / self.temperature
            return index, scores - self.log_normalizer(scores, training=training)
        # replicas hold equal seeds, and draw the same
        drawn = keras.random.randint(
            (self.noise_samples,), 0, self.bank.size, seed=self.seed_generator
        )
        noise = ops.matmul(z, ops.transpose(self.bank.rows(drawn))) / self.temperature
        positive = ops.sum(z * own, axis=-1, keepdims=True) / self.temperature
        scores = ops.concatenate([positive, noise], axis=1)
        return ops.zeros_like(index), scores - self.log_normalizer(noise, training=training)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(bank=self.bank)
        numbers_of_method = {
            "temperature": self.temperature,
            "noise_samples": self.noise_samples,
            "proximal_weight": self.proximal_weight,
            "seed": self.seed,
        }
        return {**super().get_config(), **parts, **numbers_of_method}
