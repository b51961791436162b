"""Measures in which nothing is random, computed on the backend of the process."""

import keras
import numpy as np

from keras_ssl import evaluate, networks, trainers


def with_weights(model):
    """The model, with weights that do not depend on the backend."""
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(0, 0.3, one.shape) for one in model.get_weights()])
    return model


def dense_encoder():
    parts = [keras.layers.Dense(6, "relu", name="first"), keras.layers.Dense(5, "relu")]
    return with_weights(keras.Sequential([keras.Input((4,)), *parts]))


def measures():
    """Results by name, as arrays."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = (rng.normal(size=(60, 4)) + y[:, None]).astype("float32")
    train, test = (x[:40], y[:40]), (x[40:], y[40:])
    encoder = dense_encoder()
    found = {
        "linear_probe": evaluate.linear_probe(encoder, train, test),
        "knn": evaluate.knn_predict(*train, test[0], k=5),
        "perplexity": evaluate.perplexity(language_model(), rng.integers(0, 20, (10, 9))),
    }
    clusters = evaluate.k_means(x, 3, centers=x[:3])
    found |= {"clusters": clusters.clusters, "centers": clusters.centers}
    index = evaluate.SearchIndex(4, metric="l2")
    index.add(x)
    found["distances"], found["ids"] = index.query(x[:7] + 0.1, k=4)
    # one batch, since Keras orders batches by numbers of the backend
    model, found["fine_tune"] = evaluate.fine_tune(
        *(encoder, train, test),
        epochs=5,
        optimizer=keras.optimizers.SGD(0.5),
        batch_size=40,
        layer_decay={"first": 0.5},
    )
    found |= {f"weight {n}": one for n, one in enumerate(model.get_weights())}
    masks = rng.integers(2, size=(12, 4, 4))
    maps = (masks[..., None] + rng.normal(size=(12, 4, 4, 3))).astype("float32")
    dense = evaluate.dense_probe(keras.layers.Identity(), (maps, masks), (maps, masks), epochs=2)
    found |= {"iou": dense.iou, "head": dense.head.get_weights()[-2]}
    norm = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    evaluate.recalibrate(norm, x, batch_size=16)
    found["variance"] = norm.get_weights()[-1]
    return {name: np.asarray(one) for name, one in found.items()}


def language_model():
    encoder = networks.gpt2((16, 1, 2), vocabulary_size=20, max_length=8)
    trainer = trainers.CausalLM(encoder)
    trainer.build((None, 9))
    return with_weights(trainer)
