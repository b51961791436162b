"""The linear segmentation on features whose answer is known, beside Keras' metric."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import evaluate, networks
from tests.evaluate.fashion import fashion

IDENTITY = keras.layers.Identity()


def squares(rng, count, size=8, classes=3):
    """Masks with a square of a class on background."""
    masks = np.zeros((count, size, size), "int64")
    for mask in masks:
        top, left = rng.integers(size - 3, size=2)
        mask[top : top + 4, left : left + 4] = rng.integers(1, classes)
    return masks


def maps_of(rng, masks, noise=0.0, width=5):
    """Features that hold the class of each position in an unknown basis."""
    basis = np.random.default_rng(7).normal(size=(masks.max() + 1, width))
    return (basis[masks] + noise * rng.normal(size=(*masks.shape, width))).astype("float32")


def test_features_that_hold_the_mask_find_it(rng):
    train, test = squares(rng, 60), squares(rng, 20)
    result = evaluate.dense_probe(
        IDENTITY, (maps_of(rng, train), train), (maps_of(rng, test), test), epochs=40
    )
    assert result.mean_iou == 1.0 and result.pixel_accuracy == 1.0
    assert result.iou.tolist() == [1.0] * 3


def test_random_features_do_as_well_as_the_largest_class(rng):
    train, test = squares(rng, 60), squares(rng, 60)
    maps = [rng.normal(size=(*masks.shape, 5)) for masks in (train, test)]
    optimizer = keras.optimizers.Adam(0.05)
    result = evaluate.dense_probe(
        IDENTITY, (maps[0], train), (maps[1], test), epochs=10, optimizer=optimizer, batch_size=12
    )
    share = np.mean(test == 0)
    assert result.iou[0] == pytest.approx(share, abs=0.02)
    assert result.mean_iou == pytest.approx(share / 3, abs=0.02)


@pytest.mark.parametrize("ignore", [(-1, 255), (4,)])
def test_measures_equal_keras_metric(rng, ignore):
    train, test = squares(rng, 60), squares(rng, 40)
    maps = maps_of(rng, train, 2.0), maps_of(rng, test, 2.0)
    unknown = rng.choice(ignore, size=test.shape)
    known = rng.random(test.shape) < 0.7
    # pixels of the background are never known in training: nothing is learned of them
    train = np.where(train == 0, ignore[0], train)[..., None]
    masks = np.where(known, test, unknown).astype("int16")
    settings = {"optimizer": keras.optimizers.Adam(0.1), "epochs": 6, "batch_size": 8}
    result = evaluate.dense_probe(
        IDENTITY, (maps[0], train), (maps[1], masks), classes=6, ignore=ignore, **settings
    )
    predicted = result.head.predict(maps[1], verbose=0).argmax(axis=-1)
    assert not (predicted == 0).any() and (predicted != test).any()
    metric = keras.metrics.MeanIoU(num_classes=6, ignore_class=-1)
    metric.update_state(np.where(known, test, -1), predicted)
    assert result.mean_iou == pytest.approx(float(metric.result()))
    for one in range(3):
        both = np.count_nonzero(known & (predicted == one) & (test == one))
        either = np.count_nonzero(known & ((predicted == one) | (test == one)))
        assert result.iou[one] == pytest.approx(both / either)
    assert np.isnan(result.iou[3:]).all()
    assert result.pixel_accuracy == pytest.approx(np.mean((predicted == test)[known]))


def test_logits_are_those_of_a_linear_map_resized(rng):
    train, test = squares(rng, 40), squares(rng, 20)
    maps = [maps_of(rng, masks[:, ::2, ::2], 0.5) for masks in (train, test)]
    maps[0] = 3 * maps[0] + 5
    maps[0][..., 2] = 0.7  # constant
    result = evaluate.dense_probe(IDENTITY, (maps[0], train), (maps[1], test), epochs=2)
    kernel, bias = (one.astype("float64") for one in result.head.layers[1].get_weights())
    flat = maps[0].reshape(-1, 5).astype("float64")
    scale = np.where(np.ptp(flat, axis=0) > 0, flat.std(axis=0), 1)
    logits = (maps[1] - flat.mean(axis=0)) / scale @ kernel[0, 0] + bias
    expected = tf.image.resize(logits, (8, 8)).numpy()
    np.testing.assert_allclose(result.head(maps[1]), expected, atol=1e-4)


def test_tokens_in_a_grid_are_maps(rng):
    masks = squares(rng, 20)[:, :, :6]
    maps = maps_of(rng, masks, 0.5)
    tokens = maps.reshape(20, 48, 5)
    random = np.random.get_state()[1].copy()
    one = evaluate.dense_probe(IDENTITY, (maps, masks), (maps, masks), epochs=3, seed=4)
    dataset = tf.data.Dataset.from_tensor_slices((tokens, masks)).batch(7)
    # arrays and data sets have the same maps, of which the head is trained
    other = evaluate.dense_probe(IDENTITY, dataset, dataset, grid=(8, 6), epochs=3, seed=4)
    np.testing.assert_array_equal(one.iou, other.iou)
    np.testing.assert_array_equal(np.random.get_state()[1], random)
    with pytest.raises(ValueError, match="`grid` must be the rows and columns"):
        evaluate.dense_probe(IDENTITY, dataset, dataset)


def test_a_transformer_gives_its_patches(rng):
    encoder = networks.vit((8, 1, 2), input_shape=(8, 12, 1), patch_size=4)
    masks = squares(rng, 12, size=12)[:, :8]
    images = (80 * masks[..., None]).astype("uint8")
    result = evaluate.dense_probe(encoder, (images, masks), (images, masks), epochs=1)
    assert result.head.input_shape == (None, 2, 3, 8)
    assert result.head.output_shape == (None, 8, 12, 3)


def test_objects_on_backgrounds_and_a_model_of_segmentation(rng, tmp_path):
    x, _ = fashion("train[:200]")
    backgrounds = rng.integers(60, size=(20, 40, 40, 1)).astype("uint8")
    images, masks = evaluate.composites(x, np.zeros(200, int), backgrounds, 60)
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((40, 40, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.AveragePooling2D(2),
        ]
    )
    before = encoder.get_weights()
    train, test = (images[:40], masks[:40]), (images[40:], masks[40:])
    result = evaluate.dense_probe(encoder, train, test, batch_size=8)
    assert result.mean_iou > 0.6  # of the larger class alone, 0.33
    for one, old in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, old)
    model = keras.Sequential([encoder, result.head])
    model.save(tmp_path / "segmentation.keras")
    loaded = keras.saving.load_model(tmp_path / "segmentation.keras")
    predicted = loaded.predict(test[0], verbose=0).argmax(axis=-1)
    assert np.mean(predicted == test[1]) == pytest.approx(result.pixel_accuracy)


def test_bad_input_is_refused(rng):
    masks = squares(rng, 6)
    maps = maps_of(rng, masks)
    data = maps, masks

    def run(train=data, test=data, encoder=IDENTITY, **arguments):
        return evaluate.dense_probe(encoder, train, test, **arguments)

    with pytest.raises(TypeError, match="masks in `train` must be integers"):
        run((maps, masks / 2))
    with pytest.raises(ValueError, match=r"must have shape \(batch, height, width\)"):
        run((maps, masks.reshape(6, -1)))
    with pytest.raises(ValueError, match=r"all have one size.*\(8, 8\) and, in `test`, \(4, 8\)"):
        run(test=(maps, masks[:, :4]))
    with pytest.raises(ValueError, match="one length"):
        run((maps, masks[:5]))
    with pytest.raises(ValueError, match=r"two classes that are not ignored.*\[0\]"):
        run((maps, np.zeros_like(masks)))
    with pytest.raises(ValueError, match=r"`test` must hold pixels of the classes.*\[\]"):
        run(test=(maps, np.full_like(masks, 255)))
    for wrong in (-2, 3, 254):
        with pytest.raises(ValueError, match="classes from 0 to 2, or values in `ignore`"):
            run(test=(maps, np.where(np.arange(8) == 5, wrong, masks)))
    with pytest.raises(ValueError, match="`test` must be finite"):
        run(test=(maps * np.nan, masks))
    with pytest.raises(ValueError, match="must return feature maps"):
        run((maps[:, 0, 0], masks))
    with pytest.raises(ValueError, match="`classes` must be an integer of at least 2"):
        run(classes=1)
    with pytest.raises(ValueError, match="`grid` must be"):
        run(grid=(0, 3))
    with pytest.raises(ValueError, match="`epochs` must be a positive integer"):
        run(epochs=0)
    with pytest.raises(ValueError, match="must carry labels"):
        run(maps)
