"""Values of a trainer's variables, on the backend that Keras runs on."""

import keras

if keras.backend.backend() == "jax":
    from keras_ssl.trainers.engine.jax.variable_values import ReplicaValues
else:
    from keras_ssl.trainers.engine.tensorflow.replica_values import ReplicaValues

__all__ = ["ReplicaValues"]
