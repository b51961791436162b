"""SCARF: a row of a table and the same row with replaced features attract each other."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers import ProjectionHead
from keras_ssl.losses import InfoNCE
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.data_spec import DataSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.pretext._table_model import TableModel, marginal_corruption, rectifiers
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class SCARF(TableModel):
    r"""SCARF: self-supervised contrastive learning of tables by random feature corruption.

    In each row x a share of the features, chosen at random, is replaced by draws from the
    features' marginal distributions in the training data. The row as it is and the corrupted one
    go through an encoder f and a head g, and InfoNCE lets each row find its corrupted one:

        z = g(f(x)),   z' = g(f(corrupted x))
        L = - mean over i of log( exp(cos(z_i, z'_i) / τ) / Σ_k exp(cos(z_i, z'_k) / τ) )

    The sum is over all rows of the batch, on all replicas. The paper divides it by their number,
    which changes the loss by a constant. g is discarded after training.

    Args:
        encoder: `keras.Model` or layer f that maps rows to `(batch, features)`; in the paper, four
            layers of 256 rectifiers.
        projector: layer g. `None` means that of the paper, two layers of 256,
            `keras_ssl.layers.ProjectionHead((256, 256), normalization=False)`.
        corruption: layer that replaces features. `None` means
            `keras_ssl.augment.tabular.RandomMarginalCorruption(0.6)`, which `fit` adapts to the
            whole table if it gets an array. For other data, call `trainer.adapt(table)`
            before. `RandomFeatureCorruption` draws from the rows of the batch instead.
        augment: layer that makes one view of a batch of rows before they are corrupted. `None`, as
            in the paper, leaves them unchanged.
        loss: loss called `loss(z, z')`. `None` means `keras_ssl.losses.InfoNCE(temperature=1.0)`,
            as in the paper.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of rows.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, columns)`, integer or floating-point, without missing values; scale columns of
        numbers to variance 1. Integer codes of categories stay valid codes: look them up with
        `keras.layers.Embedding` in the encoder.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object.
        ValueError: before the first step, if the data is no table, arrays or a first batch have
            values that are not finite, the corruption does not know the table, the encoder does
            not return one vector per row, or a batch holds a single row.

    Example:

    >>> import keras, keras_ssl
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import scale
    >>> x = scale(load_breast_cancer().data).astype("float32")
    >>> encoder = keras.Sequential([keras.layers.Dense(32, "relu") for _ in range(2)])
    >>> trainer = keras_ssl.trainers.SCARF(encoder)
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x[:256], batch_size=128, verbose=0)
    >>> trainer.encoder(x).shape
    TensorShape([569, 32])

    Reference:
        - [SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption](
          https://arxiv.org/abs/2106.15147), Bahri et al., 2021
    """

    minimum_batch = 2  # a row needs another one as its negative

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        corruption: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        corruption = marginal_corruption(corruption, rate=0.6, same_count=True)
        super().__init__(encoder, corruption, augment, **kwargs)
        if projector is None:
            projector = ProjectionHead((256, 256), normalization=False)
        loss = InfoNCE(temperature=1.0) if loss is None else loss
        check_type("projector", projector, keras.layers.Layer)
        check_type("loss", loss, keras.losses.Loss)
        self.projector = projector
        self.loss_function = loss

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the embeddings of rows and of corrupted ones, and the representation of rows."""
        x = batch.views
        both = ops.concatenate([x, self.corruption(x, training=True)])
        h = self.encoder(both, training=training)
        self.check_representation(h)
        z, corrupted = ops.split(self.projector(h, training=training), 2)
        return {"z": z, "corrupted": corrupted, "representation": ops.split(h, 2)[0]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of rows and corrupted rows."""
        return {"contrastive": self.loss_function(embeddings["z"], embeddings["corrupted"])}

    def monitored_outputs(self, h: Any) -> dict[str, Any]:
        """Return the projection, which `callbacks.CollapseMonitor` watches.

        Args:
            h: representations `(batch, features)`.
        """
        return {"projection": self.projector(h, training=False)}

    @classmethod
    def encoder_for(cls, data: DataSpec) -> keras.Model:
        """Return the encoder of the paper, four layers of 256 rectifiers."""
        return rectifiers(data.shape, (256,) * 4)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(projector=self.projector, loss=self.loss_function)
        return {**super().get_config(), **parts}
