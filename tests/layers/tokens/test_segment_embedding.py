"""Segment embeddings."""

import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers


class TestConformance(TestCase):
    def test_segment_embedding(self):
        self.run_layer_test(
            layers.SegmentEmbedding,
            init_kwargs={"segments": 3},
            input_shape=(2, 5, 4),
            expected_output_shape=(2, 5, 4),
            expected_num_trainable_weights=1,
            supports_masking=True,
        )


def test_each_token_gets_the_vector_of_its_segment():
    rng = np.random.default_rng(0)
    layer = layers.SegmentEmbedding(3)
    x, ids = rng.normal(size=(2, 5, 4)).astype("float32"), rng.integers(0, 3, (2, 5))
    found = ops.convert_to_numpy(layer(x, segment_ids=ids))
    vectors = ops.convert_to_numpy(layer.embeddings)
    np.testing.assert_allclose(found, x + vectors[ids], rtol=1e-6)
    np.testing.assert_allclose(layer(x), x + vectors[0], rtol=1e-6)
    with pytest.raises(ValueError, match="`segments` must be a positive integer"):
        layers.SegmentEmbedding(0)
