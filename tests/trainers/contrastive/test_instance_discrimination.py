"""Instance discrimination: its loss, memory bank, estimate of Z, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, data, layers, losses, trainers
from keras_ssl.trainers.contrastive.instance_discrimination import _LogNormalizer
from tests.trainers.case import Case, with_indices, zeros
from tests.trainers.small import batch_norm_head, encoder, images


def small_instance_discrimination() -> trainers.InstanceDiscrimination:
    return trainers.InstanceDiscrimination(
        encoder(),
        bank=layers.MemoryBank(256, seed=0),
        projector=batch_norm_head(),
        augment=augment.RandomResizedCrop(28, scale=(0.8, 1.0), seed=0),
        temperature=0.5,
        noise_samples=64,
        proximal_weight=0.5,
        seed=0,
    )


CASES = {
    "InstanceDiscrimination": Case(
        make=small_instance_discrimination,
        x=lambda: {"image": images()[0], "index": np.arange(256)},
        decreasing_loss="contrastive",
        decrease=0.95,
        optimizer=lambda: keras.optimizers.Adam(1e-2),
        sgd=lambda: keras.optimizers.SGD(0.005),  # batch norm in the head amplifies rounding errors
        bad_data=(
            (zeros(64, 28, 28, 1), "with_index"),
            (with_indices(zeros(64, 28, 28)), "rank 4|batch, height, width, channels"),
            (with_indices(zeros(64, 28, 28, 3)), "axis -1 of input shape to have value 1"),
            (
                with_indices(zeros(300, 28, 28, 1)),
                "from 0 to 255.*size=256 and indices from 0 to 299",
            ),
            (with_indices(zeros(0, 28, 28, 1)), "no data"),
        ),
        normalized=True,
        represents="memory bank",
    ),
}


N, TEMPERATURE, NOISE = 24, 0.2, 10


def indexed(indices):
    indices = np.asarray(indices)
    return {"image": images()[0][indices].astype("float32"), "index": indices}


def trainer_of(micro_batch_size=None, **arguments):
    keras.utils.set_random_seed(4)
    settings = {
        "bank": layers.MemoryBank(N, momentum=0.25, seed=0),
        "projector": layers.ProjectionHead((8,)),
        "temperature": TEMPERATURE,
        "noise_samples": NOISE,
        "seed": 3,
    }
    trainer = trainers.InstanceDiscrimination(encoder(), **{**settings, **arguments})
    trainer.compile(keras.optimizers.SGD(0.5), micro_batch_size=micro_batch_size)
    trainer.build_step(
        {"image": keras.KerasTensor((8, 28, 28, 1)), "index": keras.KerasTensor((8,), "int32")},
        None,
    )
    return trainer


def normalized(z):
    z = np.asarray(z, "float64")
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def next_noise(trainer):
    """Return the indices that the next step draws."""
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(trainer.seed_generator.state)
    return np.asarray(keras.random.randint((NOISE,), 0, N, seed=generator))


def step_float64(z, own, noise, normalizer=None):
    """Return the loss of the paper, computed one example at a time, and Z."""
    scores = np.exp(noise @ z.T / TEMPERATURE)
    normalizer = N * scores.mean() if normalizer is None else normalizer
    m, uniform = len(noise), 1 / N

    def h(v, z):
        p = np.exp(v @ z / TEMPERATURE) / normalizer
        return p / (p + m * uniform)

    total = 0.0
    for z_i, v_i in zip(z, own, strict=True):
        total -= np.log(h(v_i, z_i)) + sum(np.log(1 - h(v, z_i)) for v in noise)
    return total / len(z), normalizer


@pytest.mark.parametrize("micro_batch_size", [None, 4])
def test_two_steps_match_the_paper_and_update_the_bank(micro_batch_size):
    trainer = trainer_of(micro_batch_size, proximal_weight=3.0)
    normalizer = None
    for indices in ([3, 20, 1, 7, 9, 23, 0, 5], [5, 2, 11, 3, 4, 6, 8, 10]):
        x = indexed(indices)
        bank = np.asarray(trainer.bank.embeddings, "float64")
        noise = bank[next_noise(trainer)]
        z = normalized(trainer.projector(trainer.encoder(x["image"])))
        expected, normalizer = step_float64(z, bank[indices], noise, normalizer)
        distance = np.mean(np.sum((z - bank[indices]) ** 2, axis=1))

        logs = trainer.train_on_batch(x, return_dict=True)
        # Keras returns means over all steps since the last reset
        trainer.reset_metrics()
        assert logs["contrastive"] == pytest.approx(expected, rel=1e-4)
        assert logs["proximal"] == pytest.approx(3 * distance, rel=1e-4)
        assert logs["loss"] == pytest.approx(expected + 3 * distance, rel=1e-4)

        bank[indices] = normalized(0.25 * bank[indices] + 0.75 * z)
        np.testing.assert_allclose(trainer.bank.embeddings, bank, atol=1e-5)


def test_cross_entropy_over_all_entries_is_the_non_parametric_softmax():
    trainer = trainer_of(
        noise_samples=None,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    indices = [3, 20, 1, 7, 9, 23, 0, 5]
    x = indexed(indices)
    bank = np.asarray(trainer.bank.embeddings, "float64")
    exponentials = np.exp(
        normalized(trainer.projector(trainer.encoder(x["image"]))) @ bank.T / TEMPERATURE
    )
    p = exponentials[np.arange(8), indices] / exponentials.sum(axis=1)
    logs = trainer.train_on_batch(x, return_dict=True)
    assert set(logs) == {"loss"}
    assert logs["loss"] == pytest.approx(-np.log(p).mean(), rel=1e-5)


def test_validation_changes_nothing():
    trainer = trainer_of()
    before = [np.asarray(w) for w in (trainer.bank.embeddings, *trainer.log_normalizer.weights)]
    logs = trainer.evaluate(indexed(range(8)), verbose=0, return_dict=True)
    assert np.isfinite(logs["loss"])
    after = (trainer.bank.embeddings, *trainer.log_normalizer.weights)
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


def test_normalizer_of_the_first_batch_is_kept_and_saved(tmp_path):
    trainer = trainer_of()
    trainer.train_on_batch(indexed(range(8)))
    first = float(trainer.log_normalizer.estimate)
    assert first != 0
    trainer.train_on_batch(indexed(range(8, 16)))
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    loaded.train_on_batch(indexed(range(8)))
    assert float(trainer.log_normalizer.estimate) == first
    assert float(loaded.log_normalizer.estimate) == first


def test_only_networks_are_trainable():
    trainer = trainer_of()
    learned = {id(w) for w in trainer.trainable_weights}
    parts = (trainer.encoder, trainer.projector)
    assert learned == {id(w) for part in parts for w in part.trainable_weights}


def test_predicts_with_and_without_index():
    trainer = trainer_of()
    x = indexed(range(8))
    expected = trainer.encoder(x["image"])
    np.testing.assert_allclose(trainer(x["image"]), expected, rtol=1e-5)
    np.testing.assert_allclose(trainer.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("in_a_tuple", [False, True])
def test_trains_on_an_indexed_dataset_with_a_probe_and_one_view(in_a_tuple):
    dataset = data.with_index(data.load_images("fashion_mnist_mini", f"train[:{N}]"))
    flip = keras.layers.RandomFlip("horizontal")
    trainer = trainer_of(augment=augment.Views(flip, count=1) if in_a_tuple else flip)
    trainer.compile("sgd", probe=trainers.OnlineProbe(10))
    logs = trainer.fit(dataset.shuffle(N).batch(8, drop_remainder=True), verbose=0).history
    assert np.isfinite(logs["probe_loss"][0]) and np.isfinite(logs["loss"][0])


def test_defaults_match_the_paper():
    trainer = trainers.InstanceDiscrimination(encoder(), layers.MemoryBank(N))
    assert trainer.projector.widths == (128,)
    assert isinstance(trainer.loss_function, losses.NCE)
    assert trainer.temperature == 0.07
    assert trainer.noise_samples == 4096
    assert trainer.bank.momentum == 0.5
    assert trainer.proximal_weight == 0


def test_index_out_of_range_in_a_dataset_stops_the_step():
    dataset = tf.data.Dataset.from_tensors(indexed(range(N, N + 8)))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"from 0 to {N - 1}"):
        trainer_of().fit(dataset, verbose=0)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ({"image": np.zeros((8, 28, 28, 1))}, ValueError, r'"index": indices.*Received: x='),
        (np.zeros((8, 28, 28, 1)), ValueError, r"with_index.*float\d+\(8, 28, 28, 1\)"),
        ({**indexed(range(8)), "index": np.zeros(8)}, TypeError, "`index` must hold one integer"),
        ({**indexed(range(8)), "index": np.zeros((8, 1), "int32")}, TypeError, r"\(8, 1\)"),
        ({**indexed(range(8)), "index": np.arange(8) - 1}, ValueError, "indices from -1 to 6"),
    ],
)
def test_invalid_indices_are_rejected_before_the_first_step(x, error, message):
    trainer = trainer_of()
    with pytest.raises(error, match=message):
        trainer.fit(x, batch_size=8, verbose=0)
    assert int(trainer.optimizer.iterations) == 0


def test_two_views_are_rejected():
    with pytest.raises(ValueError, match=r"Expected 1 views.*Received: 2 views"):
        trainer_of(augment=augment.Views(keras.layers.RandomFlip(), count=2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"temperature": 0.0}, ValueError, "`temperature`"),
        ({"temperature": "cold"}, TypeError, "`temperature`"),
        ({"noise_samples": 0}, ValueError, "`noise_samples` must be a positive integer"),
        ({"noise_samples": 2.5}, TypeError, "`noise_samples` must be a positive integer"),
        ({"proximal_weight": -1.0}, ValueError, "`proximal_weight`"),
        ({"bank": layers.FeatureQueue(8)}, TypeError, "`bank`"),
        ({"bank": 50_000}, TypeError, "`bank`"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.InstanceDiscrimination(**{"encoder": encoder(), "bank": None, **arguments})


@pytest.mark.parametrize("part", ["encoder", "projector", "augment", "loss"])
def test_parts_of_the_wrong_type_are_rejected(part):
    arguments = {"encoder": encoder(), "bank": layers.MemoryBank(N), part: "nce"}
    with pytest.raises(TypeError, match=part):
        trainers.InstanceDiscrimination(**arguments)


def log_mean_exp(scores):
    return np.log(np.exp(np.asarray(scores, "float64")).mean())


def test_normalizer_is_estimated_on_the_first_training_batch(rng):
    normalizer = _LogNormalizer()
    before, first, second = rng.normal(0, 3, size=(3, 8, 5)).astype("float32")
    np.testing.assert_allclose(normalizer(before), log_mean_exp(before), rtol=1e-5)
    for scores, training in ((first, True), (second, True), (before, False)):
        estimate = normalizer(scores, training=training)
        np.testing.assert_allclose(estimate, log_mean_exp(first), rtol=1e-5)


def test_normalizer_does_not_overflow_in_float32():
    assert float(_LogNormalizer()(np.full((2, 3), 500.0, "float32"))) == 500.0


def test_no_gradient_flows_through_the_normalizer():
    scores = tf.ones((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(scores)
        estimate = _LogNormalizer()(scores)
    assert tape.gradient(estimate, scores) is None


def test_normalizer_is_estimated_over_all_replicas(rng, two_replicas):
    scores = rng.normal(0, 3, size=(8, 5)).astype("float32")
    with two_replicas.scope():
        normalizer = _LogNormalizer()
        normalizer.build(scores.shape)

    @tf.function
    def run():
        def step():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return normalizer(tf.constant(scores.reshape(2, 4, 5))[replica], training=True)

        return two_replicas.experimental_local_results(two_replicas.run(step))

    for estimate in [*run(), normalizer.estimate]:
        np.testing.assert_allclose(estimate, log_mean_exp(scores), rtol=1e-5)
