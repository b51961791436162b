"""Deep InfoMax: maximise the mutual information of local features and the representation."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import EncodeAndDotProduct
from keras_ssl.losses import JensenShannonMI
from keras_ssl.trainers._layer_outputs import LayerOutputs, positions_of
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_one_view, check_type
from keras_ssl.trainers.image_spec import ImageSpec, maps_of
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class DeepInfoMax(SelfSupervisedModel):
    r"""Deep InfoMax: maximise mutual information between input and representation.

    The encoder computes a map of local features, `C(x)`, and from it the representation of the
    whole input, `y = E(x)`. Critics score pairs of the two. From the scores of pairs of the same
    example and of different examples, `l` estimates the negated mutual information:

        L = α l(T_G(C(x), y)) + β mean over positions p of l(T_L(C(x)_p, y))

    The global term alone is DIM(G) of the paper. The local term alone, the default, is DIM(L): it
    makes y encode what all positions have in common. No random views are needed. The third term of
    the paper, adversarial matching of the distribution of y to a prior, is not implemented.

    The map is the output of a layer of the encoder. The critics are discarded after training.

    Args:
        encoder: functional or sequential `keras.Model` that maps a batch to `(batch, features)`.
        map_layer: name of the layer of the encoder whose output is the map, `(batch, ...,
            channels)`, such as `"stage3_block2_output"` of `keras_ssl.networks.resnet18`.
        augment: layer that makes one view of a batch. `None`, as in the paper, leaves the input
            unchanged.
        global_critic: layer `T_G`, which sees the whole map as one position. `None` means
            `keras_ssl.layers.EncodeAndDotProduct()` if α is above 0.
        local_critic: layer `T_L`. `None` means `keras_ssl.layers.EncodeAndDotProduct()` if β is
            above 0. A critic is called on features `(batch, positions, channels)` and `(batch,
            features)` and returns two factors, whose dot products are the scores. The paper also
            uses `keras_ssl.layers.ConcatAndConvolve`.
        loss: `l`, called `loss(local_factors, global_factors)`. `None` means
            `keras_ssl.losses.JensenShannonMI()`; the paper also has `keras_ssl.losses.InfoNCEMI()`.
        global_weight: α, at least 0.
        local_weight: β, at least 0.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object, or a weight is not a number.
        ValueError: if the encoder has no layer `map_layer`, a weight is negative, both are 0, or
            the weight of a given critic is 0; before the first step, if the layer does not return
            a map, there are several views, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.DeepInfoMax(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     map_layer="stage3_block1_output",
    ...     local_critic=keras_ssl.layers.EncodeAndDotProduct(64),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Learning Deep Representations by Mutual Information Estimation and Maximization](
          https://arxiv.org/abs/1808.06670), Hjelm et al., 2019
    """

    minimum_batch = 2  # the representation of an example needs the map of another as its negative
    view_count = 1

    def __init__(
        self,
        encoder: keras.Model,
        map_layer: str,
        augment: keras.layers.Layer | None = None,
        global_critic: keras.layers.Layer | None = None,
        local_critic: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        global_weight: float = 0.0,
        local_weight: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.Model)
        loss = JensenShannonMI() if loss is None else loss
        check_type("loss", loss, keras.losses.Loss)
        self.map_layer = map_layer
        self.loss_function = loss
        self.global_critic = _critic("global", global_critic, global_weight)
        self.local_critic = _critic("local", local_critic, local_weight)
        if not global_weight and not local_weight:
            raise ValueError(
                "`global_weight` or `local_weight` must be above 0. "
                f"Received: global_weight={global_weight}, local_weight={local_weight}"
            )
        self.global_weight, self.local_weight = float(global_weight), float(local_weight)
        self._outputs = LayerOutputs("encoder", encoder, [map_layer])

    def check_views(self, views: Any) -> None:
        """Raise unless there is one view."""
        check_one_view(views, self.encoder)

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per example."""
        check_features(features)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the maps and the representations."""
        y, by_layer = self._outputs(batch.views, training=training)
        return {"map": by_layer[self.map_layer], "summary": y, "representation": y}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the weighted estimate of each critic."""
        c = positions_of(embeddings["map"], self.map_layer)
        whole = ops.reshape(c, (-1, 1, c.shape[1] * c.shape[2]))  # the map as one position
        losses = {}
        for name, critic, weight, local in (
            ("global", self.global_critic, self.global_weight, whole),
            ("local", self.local_critic, self.local_weight, c),
        ):
            if weight:
                factors = critic(local, embeddings["summary"], training=training)
                losses[name] = weight * self.loss_function(*factors)
        return losses

    @classmethod
    def map_layer_for(cls, images: ImageSpec) -> str:
        """Return the layer of a trainer that is made by its name: the last with feature maps."""
        return maps_of(images.part("encoder")).name

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            global_critic=self.global_critic,
            local_critic=self.local_critic,
            loss=self.loss_function,
        )
        weights = {"global_weight": self.global_weight, "local_weight": self.local_weight}
        return {**super().get_config(), **parts, "map_layer": self.map_layer, **weights}


def _critic(name: str, critic: Any, weight: Any) -> keras.layers.Layer | None:
    """Return the critic of a term, `None` if its weight is 0."""
    checks.number(f"{name}_weight", weight, minimum=0)
    if critic is None:
        return EncodeAndDotProduct() if weight else None
    check_type(f"{name}_critic", critic, keras.layers.Layer)
    if not weight:
        raise ValueError(
            f"`{name}_critic` has no effect: `{name}_weight` must be above 0 to use it. "
            f"Received: {name}_critic={critic}, {name}_weight={weight}"
        )
    return critic
