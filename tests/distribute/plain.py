"""Plain Keras models, with and without the mix-in, and their training and evaluation."""

import keras
import numpy as np
import tensorflow as tf


def with_base(mix_in=None):
    """A class of models, with the mix-in before Keras' class."""
    return type("Plain", (keras.Model,) if mix_in is None else (mix_in, keras.Model), {})


def functional(mix_in=None):
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4, "tanh", kernel_initializer=_weights(0))(inputs)
    outputs = keras.layers.Dense(1, kernel_initializer=_weights(1))(x)
    return with_base(mix_in)(inputs, outputs)


def subclassed(mix_in=None):
    class Plain(with_base(mix_in)):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(4, "tanh", kernel_initializer=_weights(0))
            self.out = keras.layers.Dense(1, kernel_initializer=_weights(1))

        def call(self, x):
            return self.out(self.hidden(x))

    return Plain()


MODELS = {"functional": functional, "subclassed": subclassed}


def _weights(seed):
    return keras.initializers.GlorotUniform(seed=seed)


def compiled(make, strategy=None):
    strategy = tf.distribute.get_strategy() if strategy is None else strategy
    with strategy.scope():
        model = make()
        model.compile(
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
            loss="mse",
            metrics=["mae", keras.metrics.MeanSquaredLogarithmicError()],
        )
    return model


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype("float32")
    return x, np.abs(x[:, :1] * x[:, 1:2])


def results(model, only_fit=False):
    """Train on arrays in batches of 8 over all replicas, evaluate and predict."""
    x, y = data()
    weight = np.linspace(0.5, 2, 40).astype("float32")
    arguments = {"batch_size": 8, "epochs": 2, "shuffle": False, "sample_weight": weight}
    found = {}
    if not only_fit:
        arguments["validation_data"] = (x[:16], y[:16])
    history = model.fit(x, y, **arguments, verbose=0)
    if not only_fit:
        batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(8, drop_remainder=True)
        found["evaluated"] = np.asarray(model.evaluate(batches, verbose=0))
        found["evaluated arrays"] = np.asarray(model.evaluate(x, y, batch_size=8, verbose=0))
        found["predicted"] = model.predict(x[:5], verbose=0)
    found |= {f"log {name}": np.asarray(values) for name, values in history.history.items()}
    return found | {f"weight {i}": np.asarray(w) for i, w in enumerate(model.weights)}


def normalisation_data():
    rng = np.random.default_rng(1)
    return rng.normal(2, 3, size=(8, 3)).astype("float32"), rng.normal(size=(8, 3)).astype(
        "float32"
    )
