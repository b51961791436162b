import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import evaluate
from keras_ssl.evaluate._forward import forward_function
from tests.conftest import IS_TENSORFLOW
from tests.evaluate.fashion import convolutional_encoder, fashion


def test_features_of_a_model_are_its_predictions_in_inference_mode():
    x, y = fashion("test[:300]")
    encoder = convolutional_encoder()
    encoder(x[:64], training=True)  # moves the batch statistics
    features, labels = evaluate.extract_features(encoder, (x, y), batch_size=128)
    assert features.dtype == "float32"
    np.testing.assert_allclose(features, encoder.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(labels, y)


def test_features_do_not_depend_on_the_form_of_the_data():
    x, y = fashion("test[:100]")
    encoder = convolutional_encoder()
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(33)
    from_dataset, labels = evaluate.extract_features(encoder, dataset)
    from_arrays, _ = evaluate.extract_features(encoder, (x, y), batch_size=100)
    np.testing.assert_allclose(from_dataset, from_arrays, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(labels, y)


def test_no_labels():
    features, labels = evaluate.extract_features(evaluate.raw_pixels, fashion("test[:5]")[0])
    assert features.shape == (5, 784)
    assert labels is None


def test_raw_pixels_keep_the_scale():
    x, _ = fashion("test[:5]")
    features, _ = evaluate.extract_features(evaluate.raw_pixels, x)
    np.testing.assert_array_equal(features, x.reshape(5, 784).astype("float32"))


def test_unbuilt_layer_without_training_argument():
    x, _ = fashion("test[:10]")
    layer = keras.layers.Conv2D(3, 5)
    features, _ = evaluate.extract_features(layer, x, batch_size=4)
    assert features.shape == (10, 24 * 24 * 3)
    expected = np.reshape(layer(x.astype("float32")), (10, -1))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-3)


def test_a_plain_function_may_leave_tensorflow():
    features, _ = evaluate.extract_features(
        lambda x: np.asarray(x).mean(axis=(1, 2)), fashion("test[:7]")[0], batch_size=4
    )
    assert features.shape == (7, 1)


def test_vector_of_scalars_becomes_one_column():
    features, _ = evaluate.extract_features(lambda x: tf.reduce_sum(x, 1), np.ones((6, 3)))
    np.testing.assert_array_equal(features, np.full((6, 1), 3.0))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_gives_float32(policy):
    layer = keras.layers.Dense(4, dtype=policy)
    features, _ = evaluate.extract_features(layer, np.ones((6, 3), "float32"))
    assert features.dtype == "float32"


def test_encoder_of_several_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    encoder = keras.Model({"a": a, "b": b}, keras.layers.Concatenate()([a, b]))
    x = {"a": np.ones((7, 2), "float32"), "b": np.zeros((7, 3), "float32")}
    features, _ = evaluate.extract_features(encoder, (x, np.arange(7)), batch_size=4)
    np.testing.assert_array_equal(features, [[1, 1, 0, 0, 0]] * 7)


def test_encoder_under_a_strategy(two_replicas):
    x, _ = fashion("test[:50]")
    with two_replicas.scope():
        encoder = convolutional_encoder()
        inside, _ = evaluate.extract_features(encoder, x, batch_size=20)
    outside, _ = evaluate.extract_features(encoder, x, batch_size=20)
    plain, _ = evaluate.extract_features(convolutional_encoder(), x, batch_size=20)
    np.testing.assert_allclose(inside, plain, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outside, plain, rtol=1e-5, atol=1e-6)


def test_few_traces_serve_all_batches():
    traces = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

    forward = forward_function(Counted())
    assert forward_function(forward) is forward
    for _ in range(3):
        evaluate.extract_features(forward, np.ones((70, 3), "float32"), batch_size=32)
    # JAX compiles for each size
    assert traces[-1:] == [(None, 3)] if IS_TENSORFLOW else traces[-2:] == [(32, 3), (6, 3)]
    assert len(traces) <= 3


def test_progress_bar(capsys):
    evaluate.extract_features(evaluate.raw_pixels, np.ones((6, 3)), batch_size=2, verbose=1)
    assert "3/3" in capsys.readouterr().out
    evaluate.extract_features(evaluate.raw_pixels, np.ones((6, 3)), batch_size=2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("output", [lambda x: (x, x), lambda x: {"features": x}, lambda x: [x]])
def test_encoder_with_several_outputs(output):
    with pytest.raises(TypeError, match="must return one tensor"):
        evaluate.extract_features(output, np.ones((6, 3)))


def test_encoder_that_mixes_examples():
    with pytest.raises(ValueError, match="Received: 3 rows for 6 examples"):
        evaluate.extract_features(lambda x: tf.transpose(x), np.ones((6, 3)))
    with pytest.raises(ValueError, match="Received: a scalar"):
        evaluate.extract_features(tf.reduce_sum, np.ones((6, 3)))


@pytest.mark.parametrize("encoder", ["resnet18", None, keras.layers.Dense])
def test_encoder_that_is_not_callable(encoder):
    with pytest.raises(TypeError, match="`encoder` must be"):
        evaluate.extract_features(encoder, np.ones((6, 3)))


def test_images_with_another_number_of_channels():
    with pytest.raises(ValueError, match=r"encoder|axis -1 of input shape to have value 1"):
        evaluate.extract_features(convolutional_encoder(), np.ones((6, 28, 28, 3), "uint8"))
