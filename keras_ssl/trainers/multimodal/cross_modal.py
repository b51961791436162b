"""CrossModal: two encoders that map pairs of two modalities to the same place."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_ssl import checks, layers, losses
from keras_ssl.losses._checks import check_dtype
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type, describe
from keras_ssl.trainers.language._token_model import check_vocabulary
from keras_ssl.trainers.multimodal.tower import Tower
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch

_GROUPS = "group_ids"


@keras.saving.register_keras_serializable(package="keras_ssl")
class CrossModal(SelfSupervisedModel):
    r"""Contrastive learning of pairs of two modalities, by an encoder for each.

    A pair is one thing in two modalities: an image and its caption, a sound and its description, a
    graph and a text, a sentence in two languages. With u_i and v_i the vectors of both sides of
    pair i, the loss of CLIP attracts them and repels those of different pairs:

        L = -1/2n Σ_i [ log( exp(cos(u_i, v_i) / τ) / Σ_k exp(cos(u_i, v_k) / τ) )
                      + log( exp(cos(v_i, u_i) / τ) / Σ_k exp(cos(v_i, u_k) / τ) ) ]

    where k runs over the pairs of all replicas. τ is learned.

    A tower that is frozen by `encoder.trainable = False` stays as it is while the other learns to
    meet it, which is [locked-image tuning](https://arxiv.org/abs/2111.07991).

    Args:
        encoder: `keras.Model` or layer that maps a batch of the first modality to `(batch,
            features)`.
        other_encoder: the same for the second one.
        width: width of the space in which both meet, to which a linear layer maps the features of
            each. `None` compares the features as they are.
        names: names of the two modalities, the keys of the data.
        augment: layer that makes one random view of a batch of the first modality, or `None`.
        loss: loss called `loss(first, second, temperature=...)` on two batches of vectors, with
            `bias` if the scale has one, and `group_ids` if the data have. `None` means
            `losses.CLIPLoss()`, of which the temperature is not used.
        logit_scale: `layers.LogitScale` that the temperature is learned by. `None` means that of
            CLIP, which starts from 0.07.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of the first modality, or of pairs, of which the first modality is taken.
        training: whether the encoder runs in training mode.

    Input shape:
        A dictionary of both modalities by their `names`, each what its encoder takes. A third key,
        `"group_ids"`, integers `(batch,)`, is optional: pairs with the same number match each
        other, such as images with the same caption, and are not told apart; -1 stands for a pair
        that matches no other. `np.unique(captions, return_inverse=True)[1]` makes them.

    Output shape:
        `(batch, features)`, the output of `encoder`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; before the first step, if the data are no
            dictionary of both modalities, the vectors of both sides have different widths, a text
            holds no tokens or one outside of the vocabulary, or a batch holds a single pair.

    Example:

    Two languages, with a small network for each:

    >>> import numpy as np, keras_ssl
    >>> def network():
    ...     return keras_ssl.networks.bert((16, 1, 2), 50, max_length=8, pooling="mean")
    >>> trainer = keras_ssl.trainers.CrossModal(
    ...     network(), network(), width=16, names=("english", "spanish")
    ... )
    >>> trainer.compile("adam")
    >>> rng = np.random.default_rng(0)
    >>> x = {name: rng.integers(50, size=(10, 8)) for name in ("english", "spanish")}
    >>> history = trainer.fit(x, batch_size=5, verbose=0)
    >>> trainer.tower("spanish").predict(x["spanish"], verbose=0).shape
    (10, 16)

    Reference:
        - [Radford et al., Learning Transferable Visual Models From Natural Language
          Supervision](https://arxiv.org/abs/2103.00020)
    """

    minimum_batch = 2  # a pair needs another one to be told from
    view_count = 1
    learns_from = "pairs of two modalities"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        other_encoder: keras.layers.Layer,
        width: int | None = 512,
        names: Sequence[str] = ("first", "second"),
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        logit_scale: layers.LogitScale | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        check_type("other_encoder", other_encoder, keras.layers.Layer)
        self.names = tuple(names)
        is_text = all(isinstance(name, str) for name in self.names)
        if not is_text or len({*self.names, _GROUPS}) != 3 or len(self.names) != 2:
            raise ValueError(
                f"`names` must be two different strings, other than {_GROUPS!r}. "
                f"Received: names={names!r}"
            )
        self.width = checks.integer("width", width, minimum=1, optional=True)
        loss = losses.CLIPLoss() if loss is None else loss
        logit_scale = layers.LogitScale() if logit_scale is None else logit_scale
        check_type("loss", loss, keras.losses.Loss)
        check_type("logit_scale", logit_scale, layers.LogitScale)
        self.loss_function, self.logit_scale = loss, logit_scale
        like = {"dtype": self.dtype_policy}
        first, second = self.names
        self.first = Tower(encoder, width, name=f"{first}_tower", **like)
        self.second = Tower(other_encoder, width, name=f"{second}_tower", **like)

    @property
    def other_encoder(self) -> keras.layers.Layer:
        """The encoder of the second modality."""
        return self.second.encoder

    def tower(self, name: str) -> Tower:
        """Return the model from one modality to vectors of unit length, which shares the weights.

        Args:
            name: one of `names`.

        Raises:
            ValueError: if there is no such modality.
        """
        if name not in self.names:
            raise ValueError(f"`name` must be one of {list(self.names)}. Received: name={name!r}")
        return (self.first, self.second)[self.names.index(name)]

    def to_encode(self, x: Any) -> Any:
        """Return the first modality of pairs; other data as they are."""
        return x[self.names[0]] if isinstance(x, dict) and self.names[0] in x else x

    def check_values(self, x: Any) -> None:
        """Raise if the data are no pairs, or texts among them no texts."""
        pairs = self._pairs(x)
        for name in self.names:
            tower, side = self.tower(name), pairs[name]
            _check_text(tower.encoder, side, name)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the vectors of both sides of each pair, and the features of the first."""
        pairs = self._pairs(batch.x)
        h = self.encoder(batch.views, training=training)
        other = self.input_kind.as_floats(pairs[self.names[1]])
        found = {
            "first": self.first.project(h),
            "second": self.second.project(self.other_encoder(other, training=training)),
            "representation": h,
        }
        _build(self.first, batch.views)
        _build(self.second, other)
        widths = [found[side].shape[-1] for side in ("first", "second")]
        if widths[0] != widths[1]:
            raise ValueError(
                "Without a `width`, both encoders must return vectors of the same width. Received: "
                f"{widths[0]} for {self.names[0]!r} and {widths[1]} for {self.names[1]!r}"
            )
        return {**found, _GROUPS: pairs[_GROUPS]} if _GROUPS in pairs else found

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of the pairs."""
        arguments = self.logit_scale.loss_arguments()
        if _GROUPS in embeddings:
            arguments[_GROUPS] = embeddings[_GROUPS]
        first, second = embeddings["first"], embeddings["second"]
        return {"contrastive": self.loss_function(first, second, **arguments)}

    def monitored_outputs(self, h: Any) -> dict[str, Any]:
        """Return the vectors that `callbacks.CollapseMonitor` watches, in inference mode.

        Args:
            h: features of a batch of the first modality, `(batch, features)`.
        """
        return {"projection": self.first.project(h)}

    def _pairs(self, x: Any) -> dict[str, Any]:
        """Return data, checked to be pairs."""
        if not isinstance(x, dict) or not {*self.names} <= {*x} <= {*self.names, _GROUPS}:
            raise ValueError(
                f"Data must be a dictionary of {self.names[0]!r}, {self.names[1]!r} and at will "
                f"{_GROUPS!r}. For a `tf.data.Dataset` of tuples (a, b), use `dataset.map(lambda "
                f"a, b: {{{self.names[0]!r}: a, {self.names[1]!r}: b}})`. "
                f"Received: {sorted(x) if isinstance(x, dict) else describe(x)}"
            )
        if _GROUPS in x:
            check_dtype(x[_GROUPS], _GROUPS, "integer")
        return x

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = {
            "other_encoder": self.other_encoder,
            "loss": self.loss_function,
            "logit_scale": self.logit_scale,
        }
        arguments = {"width": self.width, "names": list(self.names)}
        return {**super().get_config(), **serialize_parts(**parts), **arguments}


def _build(tower: Tower, inputs: Any) -> None:
    """Tell a tower, whose parts are built, what it takes; without that, files of it cannot load."""
    if not tower.built:
        tower.build(keras.tree.map_structure(lambda one: (None, *one.shape[1:]), inputs))


def _check_text(encoder: keras.layers.Layer, inputs: Any, name: str) -> None:
    """Raise if inputs of an encoder of text hold no tokens, or unknown ones."""
    size = getattr(encoder, "vocabulary_size", None)
    ids = inputs.get("token_ids") if isinstance(inputs, dict) else inputs
    if size is None or ids is None:
        return
    check_vocabulary(ids, size, f"Token ids of {name!r}")
    mask = inputs.get("padding_mask") if isinstance(inputs, dict) else None
    if mask is None:
        return
    empty = np.flatnonzero(~np.asarray(mask).astype(bool).any(axis=1))
    if len(empty):
        raise ValueError(
            f"Every text of {name!r} must have a token that is no padding. "
            f"Received: {len(empty)} without any, the first in row {empty[0]}"
        )
