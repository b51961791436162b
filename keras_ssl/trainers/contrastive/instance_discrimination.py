"""Instance discrimination: classify each example as itself, against a memory bank of all."""

from typing import Any

import keras
from keras import ops

from keras_ssl import augment, checks, distribute, layers
from keras_ssl.layers import MemoryBank, ProjectionHead
from keras_ssl.losses import NCE
from keras_ssl.ops import l2_normalize
from keras_ssl.ops.schedules import serialize, value_now
from keras_ssl.trainers._indexed import check_indices_of_arrays, indices_of, without_index
from keras_ssl.trainers.checks import check_type, check_views
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class InstanceDiscrimination(JointEmbedding):
    r"""Instance discrimination with a memory bank and noise-contrastive estimation.

    Each of the n examples of the data set is a class. A view of an example is embedded as `z =
    g(f(x))` of length 1, and the memory bank holds for each example i an embedding `v_i` from
    earlier epochs. The probability that z belongs to example i is

        P(i | z) = exp(z·v_i / τ) / Z,    Z ≈ n mean over j of exp(z·v_j / τ)

    where Z is estimated once, on the first batch. Instead of summing over all examples, NCE
    contrasts the entry of the example with m entries drawn uniformly as noise, the same for all
    examples of a batch. The proximal term with weight λ limits the change of an embedding since
    its last visit:

        L = NCE + λ ||z - v_i||²

    After the loss, the entries of the batch move towards the new embeddings.

    For a small data set use `noise_samples=None`, which compares with all n entries, and
    `loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)`: this is the non-parametric
    softmax of the paper.

    The data must hold the index of each example, `{"image": x, "index": index}`; see
    `keras_ssl.data.with_index`.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`.
        bank: `keras_ssl.layers.MemoryBank(n)`.
        projector: layer `g`. `None` means the linear one of the paper,
            `keras_ssl.layers.ProjectionHead((128,))`.
        augment: layer that makes one view of a batch. `None` leaves the input unchanged.
        loss: loss called `loss(labels, scores)`, with the scores log(P / P_n) of the candidates of
            each example and the column of its own entry. `None` means `keras_ssl.losses.NCE()`.
        temperature: τ, above 0, or a schedule of it by optimizer steps.
        noise_samples: m, how many entries are drawn as noise. `None` compares with all entries.
        proximal_weight: λ, at least 0.
        seed: integer seed of the noise.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes, or a dictionary of it and `"index"`.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors. Indices: `(batch,)`, integers from 0 to
        n - 1.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object, a number has the wrong type, or, before the
            first step, indices are not integers.
        ValueError: if a number is out of range. Before the first step, if the data has no indices,
            or arrays hold an index that is not in the bank.
        tf.errors.InvalidArgumentError: in the step, if a `tf.data.Dataset` holds such an index. Not
            raised under XLA.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.InstanceDiscrimination(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
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
    uses_index = True

    def __init__(
        self,
        encoder: keras.layers.Layer,
        bank: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        temperature: float | keras.optimizers.schedules.LearningRateSchedule = 0.07,
        noise_samples: int | None = 4096,
        proximal_weight: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        temperature = checks.positive_or_schedule("temperature", temperature)
        checks.number("proximal_weight", proximal_weight, minimum=0)
        if noise_samples is not None:
            noise_samples = checks.integer("noise_samples", noise_samples, minimum=1)
        projector = ProjectionHead((128,)) if projector is None else projector
        super().__init__(encoder, projector, augment, NCE() if loss is None else loss, **kwargs)
        check_type("bank", bank, MemoryBank)
        self.bank = bank
        self.temperature = temperature
        self.noise_samples = noise_samples
        self.proximal_weight = float(proximal_weight)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.log_normalizer = _LogNormalizer()

    def check_views(self, views: Any) -> None:
        """Raise unless there is one view, or a tuple of one."""
        if isinstance(views, (tuple, list)):
            check_views(views, count=1)

    def to_encode(self, x: Any) -> Any:
        """Return the batch without its indices."""
        return without_index(x)

    def check_data(self, data: Any) -> None:
        """Raise if arrays hold indices that are not in the bank."""
        check_indices_of_arrays(data, self.bank.size)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the embeddings, the indices and the representations."""
        index = indices_of(batch.x, self.bank.size)
        (view,) = batch.views if isinstance(batch.views, (tuple, list)) else (batch.views,)
        h, z = self.project(view, training)
        return {"z": z, "index": index, "representation": h}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss over the candidates, then update the bank."""
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
        """Return the column of each example's own entry and the scores of its candidates."""
        temperature = ops.cast(value_now(self.temperature), z.dtype)
        if self.noise_samples is None:
            scores = ops.matmul(z, ops.transpose(self.bank.embeddings)) / temperature
            return index, scores - self.log_normalizer(scores, training=training)
        # all replicas have the same seed and draw the same noise
        drawn = keras.random.randint(
            (self.noise_samples,), 0, self.bank.size, seed=self.seed_generator
        )
        noise = ops.matmul(z, ops.transpose(self.bank.rows(drawn))) / temperature
        positive = ops.sum(z * own, axis=-1, keepdims=True) / temperature
        scores = ops.concatenate([positive, noise], axis=1)
        return ops.zeros_like(index), scores - self.log_normalizer(noise, training=training)

    @classmethod
    def bank_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the memory of a trainer that is made by its name: one entry per image."""
        return layers.MemoryBank(images.count)

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees."""
        return augment.SimCLRViews(images.size, count=1)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(bank=self.bank)
        settings = {
            "temperature": serialize(self.temperature),
            "noise_samples": self.noise_samples,
            "proximal_weight": self.proximal_weight,
            "seed": self.seed,
        }
        return {**super().get_config(), **parts, **settings}


class _LogNormalizer(keras.layers.Layer):
    """Logarithm of the mean of exp(score) over the first training batch of all replicas.

    Before that, each batch gets its own estimate. No gradient flows through it.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", "name": "log_normalizer", **kwargs})

    def build(self, input_shape: Any) -> None:
        # all replicas assign the same value, so no exchange is needed
        settings = {"trainable": False, "aggregation": "only_first_replica"}
        self.estimate = self.add_weight(name="estimate", initializer="zeros", **settings)
        self.is_known = self.add_weight(
            name="is_known", dtype="int32", initializer="zeros", **settings
        )

    def call(self, scores: Any, training: bool | None = None) -> Any:
        count = ops.cast(ops.size(scores), "float32")
        of_replica = ops.logsumexp(ops.stop_gradient(scores)) - ops.log(count)
        of_all = ops.logsumexp(distribute.all_gather(of_replica[None]))
        of_all = of_all - ops.log(float(distribute.replica_count()))
        known = ops.convert_to_tensor(self.estimate)
        estimate = ops.where(ops.cast(self.is_known, "bool"), known, of_all)
        if training:
            self.estimate.assign(estimate)
            self.is_known.assign(1)
        return estimate

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return ()
