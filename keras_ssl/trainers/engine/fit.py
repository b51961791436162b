"""`fit`, `evaluate` and `predict` of trainers on the backend that Keras runs on."""

import keras

if keras.backend.backend() == "jax":
    from keras_ssl.trainers.engine.jax.fit import DistributedFit, is_eager, resolve_jit_compile
else:
    from keras_ssl.trainers.engine.tensorflow.fit import (
        DistributedFit,
        is_eager,
        resolve_jit_compile,
    )

__all__ = ["DistributedFit", "is_eager", "resolve_jit_compile"]
