"""The predictor that BYOL, SimSiam and MoCo v3 put behind the projector."""

from typing import Any

import keras

from keras_ssl.trainers.checks import check_prediction, check_type
from keras_ssl.trainers.joint_embedding import JointEmbedding


class PredictingModel(JointEmbedding):
    """Base of methods that predict the other branch's projection of the other view.

    Args:
        encoder: as in `JointEmbedding`.
        projector: as in `JointEmbedding`.
        predictor: layer from a projection to one of the same width.
        augment: as in `JointEmbedding`.
        loss: loss of predictions and targets.
        **kwargs: `name`, `dtype` of the model.

    Raises:
        TypeError: if a part is not a Keras object of its kind.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer,
        predictor: keras.layers.Layer,
        augment: keras.layers.Layer | None,
        loss: keras.losses.Loss,
        **kwargs: Any,
    ):
        super().__init__(encoder, projector, augment, loss, **kwargs)
        check_type("predictor", predictor, keras.layers.Layer)
        self.predictor = predictor

    def predict_from(self, z: Any, training: bool) -> Any:
        """Return the prediction that a projection gives, checked to be as wide as it."""
        p = self.predictor(z, training=training)
        check_prediction(p, z)
        return p
