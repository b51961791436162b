import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.small import encoder, images
from tests.trainers.test_contract import make


def test_probe_leaves_the_encoder_as_it_would_be_without_it():
    x, y = images()
    with_probe, without = make("SimCLR"), make("SimCLR")
    with_probe.compile(keras.optimizers.SGD(0.05), probe=trainers.OnlineProbe(10))
    without.compile(keras.optimizers.SGD(0.05))
    for trainer in (with_probe, without):
        trainer.fit(x[:64], y[:64], batch_size=32, shuffle=False, verbose=0)
    for one, other in zip(with_probe.weights, without.weights, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-6)


def test_probe_learns_what_is_linearly_separable(rng):
    features = rng.normal(size=(512, 8)).astype("float32")
    labels = (features[:, 0] > 0).astype("int64")
    probe = trainers.OnlineProbe(2, optimizer=keras.optimizers.Adam(0.05))
    probe.build((None, 8))
    for _ in range(120):
        probe.learn(features, labels)
    probe.accuracy.reset_state()
    probe.evaluate(features, labels)
    assert float(probe.accuracy.result()) > 0.95


def test_probe_is_saved_with_its_trainer(tmp_path):
    x, y = images()
    trainer = make("SimCLR")
    trainer.compile("adam", probe=trainers.OnlineProbe(10, optimizer=keras.optimizers.Adam(0.01)))
    trainer.fit(x[:64], y[:64], batch_size=32, verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert loaded.probe.classes == 10
    assert int(loaded.probe.optimizer.iterations) == 2
    pairs = zip(trainer.probe.weights, loaded.probe.weights, strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("labels", [None, np.zeros(64, "float32"), np.zeros((64, 2), "int64")])
def test_labels_that_are_missing_or_wrong_are_refused(labels):
    trainer = make("SimCLR")
    trainer.compile("adam", probe=trainers.OnlineProbe(10))
    with pytest.raises(ValueError, match="`probe` needs"):
        trainer.fit(images()[0][:64], labels, verbose=0)
    assert not any(np.any(np.asarray(v)) for v in trainer.optimizer.variables[:1])


def test_probe_on_replicas_equals_probe_on_one(two_replicas):
    results = []
    for strategy in (None, two_replicas):
        keras.utils.set_random_seed(1)
        with strategy.scope() if strategy else keras.name_scope("one"):
            trainer = trainers.SimCLR(encoder())
            probe = trainers.OnlineProbe(10, optimizer=keras.optimizers.SGD(0.1))
            trainer.compile(keras.optimizers.SGD(0.05), probe=probe)
        x, y = images()
        views = (x[:64].astype("float32"), x[:64, :, ::-1].astype("float32"))
        history = trainer.fit(views, y[:64], batch_size=32, shuffle=False, verbose=0).history
        results.append([*map(np.asarray, probe.weights), *history.values()])
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "error"), [(1, ValueError), (2.5, TypeError), ("ten", TypeError)]
)
def test_number_of_classes_is_checked(classes, error):
    with pytest.raises(error, match="classes"):
        trainers.OnlineProbe(classes)


def test_compile_takes_a_probe_only():
    with pytest.raises(TypeError, match="OnlineProbe"):
        make("SimCLR", probe=keras.layers.Dense(10))
