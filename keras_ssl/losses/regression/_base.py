"""What the losses of predictions and targets share."""

from typing import Any

from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import check_views

NAMES = ("predictions", "targets")


class VectorRegressionLoss(Float32Loss):
    """Base of the losses of predicted vectors and their targets."""

    def __call__(self, predictions: Any, targets: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of predictions and targets."""
        check_views(predictions, targets, NAMES)
        return super().__call__(predictions, targets, sample_weight=sample_weight)
