"""Momentum that follows a schedule of epochs."""

from collections.abc import Callable
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.optimizers._wrapper import innermost


class MomentumScheduler(keras.callbacks.Callback):
    """Set the momentum of the optimizer at the beginning of each epoch.

    As `keras.callbacks.LearningRateScheduler` does with the learning rate, which it is used beside:
    a momentum that rises while training settles, or falls while the learning rate rises. The
    entry `momentum` of the logs has its value.

    It works with optimizers that have a `momentum`. That of `optimizers.HeavyBall` is a variable,
    which a compiled step reads. That of `keras.optimizers.SGD` and others is a constant of the
    step, so that the step is traced anew in each epoch that changes it; `SGD` with momentum 0 has
    no velocity and is refused. For a schedule of steps, pass it to `HeavyBall(momentum=...)`,
    and use no callback.

    Args:
        schedule: function from the number of an epoch, counted from 0, to the momentum, in [0, 1):
            a schedule of Keras such as `optimizers.cosine_momentum(0.5, epochs, 0.95)`, or any
            other.

    Raises:
        TypeError: if `schedule` is not callable.
        ValueError: at the beginning of training, if the optimizer has no momentum that can be set,
            and at an epoch whose momentum is out of range.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras_ssl.optimizers.HeavyBall(0.01), "mse")
    >>> schedule = keras.optimizers.schedules.PolynomialDecay(0.5, 2, 0.9)
    >>> callback = keras_ssl.callbacks.MomentumScheduler(schedule)
    >>> x, y = np.ones((4, 2)), np.ones((4, 1))
    >>> history = model.fit(x, y, epochs=3, verbose=0, callbacks=[callback])
    >>> [round(one, 2) for one in history.history["momentum"]]
    [0.5, 0.7, 0.9]
    """

    def __init__(self, schedule: Callable[[int], Any]):
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a function of the epoch, such as a schedule of Keras. "
                f"Received: schedule={schedule!r} of type {type(schedule).__name__}"
            )
        self.schedule = schedule

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check that the optimizer has a momentum that can be set."""
        optimizer = innermost(self.model.optimizer)
        momentum = getattr(optimizer, "momentum", None)
        if isinstance(momentum, keras.Variable):
            return
        if not isinstance(momentum, float) or momentum == 0:
            raise ValueError(
                "`MomentumScheduler` needs an optimizer with a momentum that is no schedule and "
                "not 0, such as `optimizers.HeavyBall` or `keras.optimizers.SGD(momentum=0.9)`. "
                f"Received: {type(optimizer).__name__} with momentum={momentum}"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the momentum."""
        value = float(keras.ops.convert_to_numpy(self.schedule(epoch)))
        value = checks.below_one(f"schedule({epoch})", value)
        optimizer = innermost(self.model.optimizer)
        if isinstance(optimizer.momentum, keras.Variable):
            optimizer.momentum = value
        elif optimizer.momentum != value:
            optimizer.momentum = value
            self._trace_anew()
        self._value = value

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the momentum to the logs."""
        if logs is not None:
            logs["momentum"] = self._value

    def _trace_anew(self) -> None:
        if hasattr(self.model, "renew_functions"):  # a trainer, which may have several
            self.model.renew_functions()
        else:
            self.model.make_train_function(force=True)
