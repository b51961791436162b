"""The estimate of Z that noise-contrastive estimation takes from its first batch."""

import numpy as np
import tensorflow as tf

from keras_ssl.trainers.contrastive.log_normalizer import LogNormalizer


def log_mean_exp(scores):
    return np.log(np.exp(np.asarray(scores, "float64")).mean())


def test_the_first_trained_batch_counts_and_no_other(rng):
    normalizer = LogNormalizer()
    before, first, second = rng.normal(0, 3, size=(3, 8, 5)).astype("float32")
    np.testing.assert_allclose(normalizer(before), log_mean_exp(before), rtol=1e-5)
    for scores, training in ((first, True), (second, True), (before, False)):
        estimate = normalizer(scores, training=training)
        np.testing.assert_allclose(estimate, log_mean_exp(first), rtol=1e-5)


def test_scores_whose_exponential_is_too_large_for_float32():
    assert float(LogNormalizer()(np.full((2, 3), 500.0, "float32"))) == 500.0


def test_no_gradient_flows_through_the_estimate():
    scores = tf.ones((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(scores)
        estimate = LogNormalizer()(scores)
    assert tape.gradient(estimate, scores) is None


def test_two_replicas_estimate_what_one_does(rng, two_replicas):
    scores = rng.normal(0, 3, size=(8, 5)).astype("float32")
    with two_replicas.scope():
        normalizer = LogNormalizer()
        normalizer.build(scores.shape)

    @tf.function
    def run():
        def step():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return normalizer(tf.constant(scores.reshape(2, 4, 5))[replica], training=True)

        return two_replicas.experimental_local_results(two_replicas.run(step))

    for estimate in [*run(), normalizer.estimate]:
        np.testing.assert_allclose(estimate, log_mean_exp(scores), rtol=1e-5)
