"""The loss of a model on all data as a function of one vector, its weights."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_ssl import checks


class FullBatchLoss:
    """The loss of a compiled model on all data, in inference mode, as a function of its weights.

    Args:
        name: name of the function that minimises it, for messages.
        model: compiled `keras.Model` with a loss, or trainer of keras_ssl.
        x: arrays, all data.
        y: arrays or `None`.
        sample_weight: array or `None`.

    Raises:
        RuntimeError: on another backend than TensorFlow.
        TypeError: if `model` is no Keras model, or the data is not arrays.
        ValueError: if the model cannot be trained so, or its loss is random.
    """

    def __init__(self, name: str, model: Any, x: Any, y: Any, sample_weight: Any):
        checks.tensorflow_backend("Optimizers of the loss of all data")
        import tensorflow as tf

        _check_model(name, model)
        data = [one for one in keras.tree.flatten((x, y, sample_weight)) if one is not None]
        if x is None or not all(hasattr(one, "shape") and hasattr(one, "dtype") for one in data):
            raise TypeError(
                f"`{name}` needs all data in one batch: `x` and `y` as arrays. "
                f"Received: x of type {type(x).__name__}, y of type {type(y).__name__}"
            )
        self.model = model
        self._data = keras.tree.map_structure(_as_tensor, (x, y, sample_weight))
        self._is_trainer = hasattr(model, "total_loss")
        if self._is_trainer:
            with model.distribute_strategy.scope():
                model.build_step(*keras.tree.map_structure(_spec, self._data[:2]))
        elif not model.built:
            model(self._data[0])
        self.variables = list(model.trainable_variables)
        _check_variables(name, self.variables)
        self._evaluate = tf.function(self._differentiate)
        self._value = tf.function(self.loss)
        self._product = tf.function(self._gauss_newton)
        losses = [self.value_and_gradient()[0] for _ in range(2)]
        if losses[0] != losses[1] and np.all(np.isfinite(losses)):
            raise ValueError(
                f"`{name}` needs a loss that is the same at each evaluation, without random views, "
                f"masks or noise. Received: losses {losses} with the same weights"
            )

    def loss(self) -> Any:
        """Return the loss at the current weights, a scalar tensor."""
        x, y, sample_weight = self._data
        if self._is_trainer:
            return self._loss_of_trainer(x, y, sample_weight)
        return self._loss_of_outputs(self.model(x, training=False))

    def _loss_of_outputs(self, outputs: Any) -> Any:
        x, y, sample_weight = self._data
        return self.model.compute_loss(x, y, outputs, sample_weight, training=False)

    def _loss_of_trainer(self, x: Any, y: Any, sample_weight: Any) -> Any:
        # trainers import the optimizers
        from keras_ssl._keras_internals import forget_losses
        from keras_ssl.trainers.step import Batch

        forget_losses(self.model)
        views = self.model.input_kind.as_floats(self.model.to_encode(x))
        (update,) = self.model.updates()
        losses = dict(update.compute_losses(Batch(x, views, y, sample_weight), False))
        losses.pop("representation", None)
        return self.model.total_loss(update, losses)[1]

    def _differentiate(self) -> tuple[Any, list[Any]]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self.loss()
        return loss, tape.gradient(
            loss,
            [one.value for one in self.variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

    def value_and_gradient(self, weights: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient at the current weights, or at those that it sets."""
        import tensorflow as tf

        if weights is not None:
            self.write(weights)
        loss, gradients = self._evaluate()
        return float(loss), flat(map(tf.convert_to_tensor, gradients))

    def value(self, weights: np.ndarray) -> float:
        """Return the loss at given weights, which the model then has."""
        self.write(weights)
        return float(self._value())

    def gauss_newton(self, vector: np.ndarray) -> np.ndarray:
        """Return the product of the Gauss-Newton matrix at the current weights with a vector."""
        import tensorflow as tf

        return flat(self._product([tf.convert_to_tensor(one) for one in self.split(vector)]))

    def _gauss_newton(self, vector: list[Any]) -> list[Any]:
        import tensorflow as tf

        weights, zero = [one.value for one in self.variables], tf.UnconnectedGradients.ZERO
        # J v forwards, H (J v) for the outputs alone, and Jᵀ backwards
        with tf.GradientTape() as tape:
            with tf.autodiff.ForwardAccumulator(weights, vector) as forward:
                structure = self.model(self._data[0], training=False)
            outputs = tf.nest.flatten(structure)
            tangents = [forward.jvp(one, zero) for one in outputs]
        with tf.GradientTape() as outer:
            outer.watch(outputs)
            with tf.GradientTape() as inner:
                inner.watch(outputs)
                loss = self._loss_of_outputs(structure)
            slopes = inner.gradient(loss, outputs, unconnected_gradients=zero)
        bent = outer.gradient(slopes, outputs, tangents, unconnected_gradients=zero)
        products = tape.gradient(outputs, weights, bent, unconnected_gradients=zero)
        penalty = self._penalty_product(weights, vector)
        return [tf.convert_to_tensor(a) + b for a, b in zip(products, penalty, strict=True)]

    def _penalty_product(self, weights: list[Any], vector: list[Any]) -> list[Any]:
        """The product of the Hessian of the weights' penalties with a vector."""
        import tensorflow as tf

        zero = tf.UnconnectedGradients.ZERO
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                regularized = [one for one in self.variables if one.regularizer is not None]
                penalty = sum((one.regularizer(one) for one in regularized), tf.zeros(()))
            slopes = inner.gradient(penalty, weights, unconnected_gradients=zero)
        return outer.gradient(slopes, weights, vector, unconnected_gradients=zero)

    def read(self) -> np.ndarray:
        """Return the weights of the model as one vector."""
        return flat(self.variables)

    def write(self, weights: np.ndarray) -> None:
        """Set the weights of the model."""
        for variable, value in zip(self.variables, self.split(weights), strict=True):
            variable.assign(value)

    def split(self, vector: np.ndarray) -> list[np.ndarray]:
        """Return the parts of a vector that belong to the variables, in their shapes."""
        ends = np.cumsum([int(np.prod(one.shape)) for one in self.variables])
        parts = np.split(vector, ends[:-1])
        return [
            part.reshape(one.shape).astype(one.dtype)
            for part, one in zip(parts, self.variables, strict=True)
        ]


def flat(tensors: Iterable[Any]) -> np.ndarray:
    """Return tensors as one vector in double precision, in which SciPy computes."""
    arrays = [keras.ops.convert_to_numpy(one) for one in tensors]
    return np.concatenate([one.ravel().astype("float64") for one in arrays])


def _as_tensor(array: Any) -> Any:
    if array is None:
        return None
    dtype = keras.backend.standardize_dtype(array.dtype)
    is_float = keras.backend.is_float_dtype(dtype)
    return keras.ops.convert_to_tensor(array, keras.config.floatx() if is_float else dtype)


def _spec(array: Any) -> Any:
    return None if array is None else keras.KerasTensor((None, *array.shape[1:]), array.dtype)


def _check_model(name: str, model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` of `{name}` must be a `keras.Model`. Received: {type(model).__name__}"
        )
    if not model.compiled:
        raise ValueError(f"Call `compile` before `{name}`. Received: a model not compiled")
    replicas = model.distribute_strategy.num_replicas_in_sync
    if replicas > 1:
        raise ValueError(f"`{name}` runs on one replica. Received: {replicas} replicas")
    if len(getattr(model, "optimizer_names", ("main",))) > 1:
        raise ValueError(
            f"`{name}` minimises one loss. Received: {type(model).__name__}, with the optimizers "
            f"{list(model.optimizer_names)}"
        )
    if getattr(model, "augment", None) is not None:
        raise ValueError(
            f"`{name}` needs the same batch at each evaluation. Received: a trainer with `augment`"
        )


def _check_variables(name: str, variables: list[keras.Variable]) -> None:
    if not variables:
        raise ValueError(f"`{name}` needs trainable weights. Received: a model without any")
    for variable in variables:
        if variable.dtype not in ("float32", "float64"):
            raise ValueError(
                f"`{name}` needs weights in float32 or float64. "
                f"Received: `{variable.path}` in {variable.dtype}"
            )
        if variable.constraint is not None:
            raise ValueError(
                f"`{name}` minimises without constraints. "
                f"Received: `{variable.path}` with {variable.constraint}"
            )


class Progress:
    """The callbacks and the history of a minimisation, whose iterations count as epochs.

    Args:
        name: name of the function that minimises, for messages.
        objective: the loss, at the weights that training starts from.
        iterations: most iterations.
        callbacks: Keras callbacks.

    Raises:
        FloatingPointError: if the loss is not finite.
    """

    def __init__(self, name: str, objective: FullBatchLoss, iterations: int, callbacks: Any):
        loss, _ = objective.value_and_gradient()
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"The loss is not finite before the first iteration of `{name}`. Received: {loss}"
            )
        self._model, self._count = objective.model, 0
        self._model.stop_training = False
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks), add_history=True, model=self._model, epochs=iterations, steps=1
        )
        self._callbacks.on_train_begin()
        self._model.history.on_epoch_end(0, {"loss": loss})
        self._callbacks.on_epoch_begin(0)

    def record(self, loss: float) -> bool:
        """Take note of an iteration; return whether a callback ends the training."""
        self._count += 1
        self._callbacks.on_epoch_end(self._count, {"loss": float(loss)})
        if not self._model.stop_training:
            self._callbacks.on_epoch_begin(self._count)
        return self._model.stop_training

    def finish(self) -> keras.callbacks.History:
        """Return the history."""
        self._callbacks.on_train_end()
        return self._model.history
