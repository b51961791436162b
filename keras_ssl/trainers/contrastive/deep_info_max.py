"""Deep InfoMax: a summary of an image that tells its places from another image's."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import EncodeAndDotProduct
from keras_ssl.losses import JensenShannonMI
from keras_ssl.trainers._layer_outputs import LayerOutputs
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_one_view, check_type
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class DeepInfoMax(SelfSupervisedModel):
    r"""Deep InfoMax: maximise mutual information between input and representation.

    One pass of the encoder gives a map of local features, `C(x)`, and behind it the
    representation of the whole image, `y = E(x)`. Critics tell pairs of both that come from one
    image from pairs that do not, which gives an estimate of their mutual information:

        L = α l(T_G(C(x), y)) + β mean over places p of l(T_L(C(x)_p, y))

    with `l` the negated estimate: Jensen-Shannon's or InfoNCE's. The global term alone is the
    paper's DIM(G). The local term alone, the default, is its DIM(L): it asks that `y` says what all
    places have in common. No random views are needed.

    The paper's third term, an adversary that pulls the distribution of `y` towards a prior,
    is left out.

    `trainer.encoder` is an ordinary encoder to `(batch, features)`, like that of any other method:
    the map is the output of one of its layers, told by name, and critics are thrown away.

    Args:
        encoder: functional or sequential `keras.Model`, from a batch of images to
            `(batch, features)`.
        map_layer: name of the encoder's layer that gives the map `C`, `(batch, ..., channels)`,
            such as `"stage3_block2_output"` of `keras_ssl.networks.resnet18`.
        augment: layer from a batch of images to a batch of images. `None` means the images as
            they are, as in the paper.
        global_critic: layer `T_G`, for the whole map as one place. `None` means
            `keras_ssl.layers.EncodeAndDotProduct()`, where α is above 0.
        local_critic: layer `T_L`. `None` means `keras_ssl.layers.EncodeAndDotProduct()`, where β
            is above 0. A critic is called on features `(batch, places, channels)` and
            `(batch, features)` and returns two factors, whose dot products are its scores;
            `keras_ssl.layers.ConcatAndConvolve` is the other one of the paper.
        loss: `l`, called `loss(local_factors, global_factors)`. `None` means
            `keras_ssl.losses.JensenShannonMI()`; `keras_ssl.losses.InfoNCEMI()` is the other one.
        global_weight: α, at least 0.
        local_weight: β, at least 0.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes, any structure of tensors; `(batch, height, width, channels)`
        for images.

    Output shape:
        What the encoder gives, `(batch, features)`.

    Raises:
        TypeError: if a part is not a Keras object, or a weight no number.
        ValueError: if the encoder has no layer of that name, a weight is negative, both are 0, or
            a critic is given whose weight is 0; before the first step, if the layer gives no map,
            the data gives several views, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.DeepInfoMax(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(28, 28, 1), width=4),
    ...     map_layer="stage3_block2_output",
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

    minimum_batch = 2  # an image needs another one to differ from

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
        """Return the maps and the representations of the images."""
        y, of_layers = self._outputs(batch.views, training=training)
        return {"map": of_layers[self.map_layer], "summary": y, "representation": y}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the weighted estimates of both critics that there are."""
        c, y = embeddings["map"], embeddings["summary"]
        sizes = c.shape[1:]
        if len(sizes) < 2 or None in sizes:
            raise ValueError(
                "`map_layer` must name a layer that gives a map of known size, (batch, ..., "
                f"channels). Received: {self.map_layer!r}, which gives shape {tuple(c.shape)}"
            )
        losses = {}
        for name, critic, weight, places in (
            ("global", self.global_critic, self.global_weight, 1),
            ("local", self.local_critic, self.local_weight, math.prod(sizes[:-1])),
        ):
            if weight:
                of_places = ops.reshape(c, (-1, places, math.prod(sizes) // places))
                factors = critic(of_places, y, training=training)
                losses[name] = weight * self.loss_function(*factors)
        return losses

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            global_critic=self.global_critic,
            local_critic=self.local_critic,
            loss=self.loss_function,
        )
        return {
            **super().get_config(),
            **parts,
            "map_layer": self.map_layer,
            "global_weight": self.global_weight,
            "local_weight": self.local_weight,
        }


def _critic(name: str, critic: Any, weight: Any) -> keras.layers.Layer | None:
    """The critic of a term, `None` where its weight is 0."""
    checks.number(f"{name}_weight", weight, minimum=0)
    if critic is None:
        return EncodeAndDotProduct() if weight else None
    check_type(f"{name}_critic", critic, keras.layers.Layer)
    if not weight:
        raise ValueError(
            f"`{name}_critic` is of no use without a weight: expected `{name}_weight` above 0. "
            f"Received: {name}_critic={critic}, {name}_weight={weight}"
        )
    return critic
