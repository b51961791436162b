"""The callbacks that `fit` of a trainer adds to those of the user."""

from typing import TYPE_CHECKING, Any

import keras

from keras_ssl.callbacks._full_batch_warning import FullBatchWarning
from keras_ssl.callbacks._validation_lag import ValidationLag
from keras_ssl.callbacks.stop_on_nan import StopOnNaN
from keras_ssl.optimizers._wrapper import innermost

if TYPE_CHECKING:
    from keras_ssl.trainers.base import SelfSupervisedModel


def with_own_callbacks(trainer: "SelfSupervisedModel", callbacks: Any, validation: Any) -> Any:
    """Return the callbacks of `fit`, with those of the method and of every `fit`."""
    own = list(trainer.training_callbacks())
    for optimizer in map(innermost, trainer.optimizers.values()):
        if getattr(optimizer, "needs_full_batch", False):
            own.append(FullBatchWarning(type(optimizer).__name__, trainer.augment is not None))
    if validation is not None:
        own = [*own, ValidationLag(validation, trainer._without_views)]
    if isinstance(callbacks, keras.callbacks.CallbackList):
        present = {type(one) for one in callbacks.callbacks}
        for one in own:
            if type(one) not in present:
                callbacks.callbacks.append(one)
        return callbacks
    given = keras.tree.flatten([] if callbacks is None else callbacks)
    return [*own, StopOnNaN(), *given]
