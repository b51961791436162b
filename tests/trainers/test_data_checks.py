"""Every call of `fit` and `evaluate` checks its data first, and says what is wrong."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import augment, evaluate, layers, trainers
from keras_ssl.networks import TokenEncoder
from keras_ssl.trainers.joint_embedding import JointEmbedding
from tests.trainers.cases import CASES, each_shape
from tests.trainers.small import images

X, Y = images()
FLOATS = X[:32].astype("float32")


def simclr(network=None, views=None, **arguments):
    network = network or keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8)])
    views = views or augment.AsymmetricViews([augment.simclr_pipeline(28), [augment.ColorJitter()]])
    trainer = trainers.SimCLR(network, layers.ProjectionHead((8, 4), normalization=False), views)
    trainer.compile(keras.optimizers.SGD(0.05), **arguments)
    return trainer


def dataset(x, size=16):
    return tf.data.Dataset.from_tensor_slices(x).batch(size)


def of_unknown_length(x, size=16):
    return tf.data.Dataset.from_tensor_slices(x).filter(lambda one: True).batch(size)


def steps_of(trainer):
    return int(trainer.optimizer.iterations)


# Values outside of the range of the augmentation


class Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return len(self.x) // 16

    def __getitem__(self, index):
        return (self.x[16 * index : 16 * index + 16],)


def generator(x):
    while True:
        yield (x[:16],)
        yield (x[16:],)


FORMS = {
    "arrays": lambda x: (x, {}),
    "dataset": lambda x: (dataset(x), {}),
    "shuffled dataset": lambda x: (tf.data.Dataset.from_tensor_slices(x).shuffle(9).batch(16), {}),
    "PyDataset": lambda x: (Batches(x), {}),
    "generator": lambda x: (generator(x), {"steps_per_epoch": 2}),
    "validation": lambda x: (X[:32], {"validation_data": (x,)}),
    "validation dataset": lambda x: (X[:32], {"validation_data": dataset(x)}),
}


@pytest.fixture(scope="module")
def one_trainer():
    return simclr()


@pytest.mark.few(2)
@pytest.mark.parametrize("form", FORMS)
def test_fit_says_that_values_do_not_fit_the_augmentation(form, one_trainer):
    for x, message in (
        (FLOATS / 255, "at most 1, a small part"),
        ((FLOATS - 72) / 90, "% of its values outside"),
        (X[:32].astype("uint16") * 257, "outside, from 0 to 6.55"),
    ):
        data, options = FORMS[form](x)
        name = "validation_data" if "validation" in form else "x"
        before = steps_of(one_trainer)
        with pytest.warns(UserWarning, match=rf"`{name}` .*{message}.*value_range=\(0, 255\)"):
            one_trainer.fit(data, batch_size=16, verbose=0, **options)
        assert steps_of(one_trainer) == before + 2
    with warnings.catch_warnings(record=True) as reported:
        warnings.simplefilter("always")
        one_trainer.fit(FORMS[form](FLOATS)[0], batch_size=16, steps_per_epoch=2, verbose=0)
    assert not [one for one in reported if "value_range" in str(one.message)]


def test_evaluate_and_replicas_say_so_too(one_trainer, two_replicas):
    with pytest.warns(UserWarning, match="value_range"):
        one_trainer.evaluate(dataset(FLOATS / 255), verbose=0)
    with two_replicas.scope():
        trainer = simclr()
    with pytest.warns(UserWarning, match="value_range"):
        data = tf.data.Dataset.from_tensor_slices(FLOATS / 255).batch(16, drop_remainder=True)
        trainer.fit(data, verbose=0)


def test_looking_at_the_first_batch_neither_loses_nor_reorders_any(monkeypatch):
    histories = []
    for looks in (True, False):
        if not looks:
            monkeypatch.setattr(trainers.SimCLR, "look_at_batch", lambda self, x: None)
        keras.utils.set_random_seed(0)
        trainer = simclr(steps_per_execution=2)
        data = tf.data.Dataset.from_tensor_slices(X[:80]).shuffle(80, seed=1).batch(16)
        histories.append(trainer.fit(data, epochs=2, verbose=0).history)
        assert steps_of(trainer) == 10
    assert histories[0] == histories[1]


def test_16_bits_train_as_8_bits():
    histories = []
    for factor, dtype in ((1, "uint8"), (257, "uint16")):
        keras.utils.set_random_seed(0)
        rescaling = keras.layers.Rescaling(1 / (255 * factor))
        network = keras.Sequential([rescaling, keras.layers.Flatten(), keras.layers.Dense(8)])
        views = augment.SimCLRViews(28, value_range=(0, 255 * factor), seed=0)
        trainer = simclr(network, views)
        x = X[:32].astype(dtype) * np.array(factor, dtype)
        histories.append(trainer.fit(x, batch_size=16, epochs=2, shuffle=False, verbose=0).history)
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-4)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64"])
def test_images_of_any_integers_reach_plain_layers_as_floats(dtype):
    x = (X[:16] // 2).astype(dtype)
    network = keras.layers.Conv2D(2, 3)
    network = keras.Sequential([network, keras.layers.GlobalAveragePooling2D()])

    class Ready(trainers.SelfSupervisedModel):
        def embed(self, batch, training):
            return {"size": keras.ops.square(self.encoder(batch.views))}

    trainer = Ready(network)
    trainer.compile("sgd")
    trainer.fit(x, verbose=0)
    expected = network(x.astype("float32")).numpy()
    np.testing.assert_allclose(trainer.predict(x, verbose=0), expected, rtol=1e-4, atol=1e-4)
    features, _ = evaluate.extract_features(network, x)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


def test_token_ids_stay_integers():
    tokens = np.arange(24).reshape(8, 3)
    seen = []

    class Tokens(trainers.SelfSupervisedModel):
        def embed(self, batch, training):
            seen.append(batch.views.dtype)
            return {"size": keras.ops.square(self.encoder(batch.views))}

    trainer = Tokens(keras.layers.Embedding(24, 4))
    trainer.compile("sgd")
    trainer.fit(tokens, verbose=0)
    assert {keras.backend.standardize_dtype(one) for one in seen} <= {"int32", "int64"} and seen


# Batches of one example


def test_a_last_batch_of_one_is_refused_before_the_first_step():
    """`tf.data` tells it where it batches a known number of examples."""
    for jit_compile in (False, True):
        trainer = simclr(jit_compile=jit_compile)
        for data in (dataset(X[:33]), dataset(X[:33]).map(lambda x: x).prefetch(1)):
            with pytest.raises(ValueError, match=r"at least 2 examples.*last batch holds 1"):
                trainer.fit(data, verbose=0)
            with pytest.raises(ValueError, match=r"last batch holds 1"):
                trainer.evaluate(data, verbose=0)
            with pytest.raises(ValueError, match=r"In `validation_data`.*last batch holds 1"):
                trainer.fit(X[:32], validation_data=data, verbose=0)
        assert steps_of(trainer) == 0
    trainer = simclr()
    trainer.fit(dataset(X[:33]), steps_per_epoch=2, verbose=0)  # which ends before that batch
    assert steps_of(trainer) == 2


@pytest.mark.few(1)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_batch_of_one_that_nobody_could_foresee_stops_training(jit_compile):
    trainer = simclr(jit_compile=jit_compile)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 2 examples"):
        trainer.fit(of_unknown_length(X[:33]), verbose=0)
    assert steps_of(trainer) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least 2 examples"):
        trainer.evaluate(of_unknown_length(X[:33]), verbose=0)


@pytest.mark.full
def test_splits_for_validation():
    """Both parts are checked, each with its batch size, also where steps take micro-batches."""
    for arguments in ({}, {"micro_batch_size": 8}):
        trainer = simclr(**arguments)
        split = {"validation_split": 17 / 49, "validation_batch_size": 17}
        assert "val_loss" in trainer.fit(X[:49], batch_size=16, verbose=0, **split).history
        assert steps_of(trainer) == 2  # 32 images are left
        with pytest.raises(ValueError, match=r"`validation_batch_size`.*33 examples"):
            trainer.fit(X[:66], batch_size=16, validation_split=0.5, verbose=0)
        assert steps_of(trainer) == 2
    history = trainer.fit(
        tf.constant(X[:48]), Y[:48], batch_size=16, validation_split=1 / 3, verbose=0
    ).history
    assert "val_loss" in history and steps_of(trainer) == 4


@pytest.mark.full
def test_a_generator_of_validation_data_is_checked_before_the_first_epoch():
    def batches(x):
        for start in range(0, len(x), 16):
            yield x[start : start + 16], Y[start : start + 16]

    trainer, seen = simclr(probe=trainers.OnlineProbe(10)), []
    for wrong, message in ((X[:32, :20], "larger than the images"), (X[:32, ..., 0], "channel")):
        with pytest.raises(ValueError, match=rf"(?s)In `validation_data`.*{message}"):
            trainer.fit(X[:32], Y[:32], validation_data=batches(wrong), verbose=0)
    assert steps_of(trainer) == 0
    count = keras.callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: seen.append(batch))
    options = {"validation_steps": 2, "callbacks": [count], "verbose": 0}
    trainer.fit(X[:32], Y[:32], validation_data=batches(X[:32]), **options)
    assert seen == [0, 1]  # no batch is lost


# Messages


@each_shape
def test_weights_without_labels_are_refused(name):
    case = CASES[name]
    trainer = case.make()
    trainer.compile(case.sgd())
    x, weights = case.first(32), np.ones(32, "float32")
    for method in (trainer.fit, trainer.evaluate, trainer.train_on_batch, trainer.test_on_batch):
        with pytest.raises(ValueError, match=r"sample_weight|learns from labels"):
            method(x, sample_weight=weights)
    with pytest.raises(ValueError, match="class_weight"):
        trainer.fit(x, class_weight={0: 1.0, 1: 2.0}, verbose=0)
    y = None if case.y() is None else case.y()[:32]
    with pytest.raises(ValueError, match=r"In `validation_data`.*sample_weight"):
        trainer.fit(x, y, validation_data=(x, None, weights), verbose=0)
    assert all(int(one.iterations) == 0 for one in trainer.optimizers.values())


WRONG_SHAPES = {
    "no channels": (np.zeros((16, 28, 28), "uint8"), r"channel axis, add one.*\[\.\.\., None\]"),
    "one image": (np.zeros((28, 28, 1), "uint8"), r"single image add a batch axis"),
    "channels first": (np.zeros((16, 3, 28, 28), "uint8"), "channels come first, move them"),
    "one channel first": (np.zeros((16, 1, 28, 28), "uint8"), "channels come first, move them"),
}
VIEWS = {
    "simclr": lambda: augment.SimCLRViews(28),
    "multi-crop": lambda: augment.MultiCropViews(28, 14, 1),
    "asymmetric": lambda: augment.AsymmetricViews([augment.simclr_pipeline(28)] * 2),
    "crop": lambda: augment.RandomResizedCrop(28),
}


@pytest.mark.parametrize("shape", WRONG_SHAPES)
@pytest.mark.parametrize("views", VIEWS)
def test_wrong_axes_of_images_are_told_in_words(shape, views):
    x, message = WRONG_SHAPES[shape]
    with pytest.raises(ValueError, match=message) as raised:
        simclr(views=VIEWS[views]()).fit(x, verbose=0)
    assert ("Enlarge the images" in str(raised.value)) == (shape == "one channel first")


@pytest.mark.full
def test_ragged_batches_are_refused_and_their_views_taken():
    def ragged():
        sizes = [(30 + side, 60 - side, 1) for side in range(16)]
        rng = np.random.default_rng(0)
        return tf.data.Dataset.from_generator(
            lambda: (rng.integers(0, 256, size).astype("uint8") for size in sizes),
            output_signature=tf.TensorSpec((None, None, 1), "uint8"),
        ).ragged_batch(8)

    views = augment.SimCLRViews(28)
    trainer = simclr(views=views)
    with pytest.raises(ValueError, match=r"ragged batches in the data.*RaggedTensorSpec"):
        trainer.fit(ragged(), verbose=0)
    assert steps_of(trainer) == 0
    trainer.augment = None
    trainer.fit(ragged().map(lambda x: (views(x),)), verbose=0)
    assert steps_of(trainer) == 2


class Two(keras.layers.Layer):
    """An encoder with two outputs."""

    def __init__(self, encoder, as_dictionary):
        super().__init__()
        self.encoder = encoder
        self.as_dictionary = as_dictionary

    def call(self, x, training=False):
        h = self.encoder(x, training=training)
        return {"a": h, "b": h} if self.as_dictionary else [h, h]

    def get_config(self):
        return {"encoder": self.encoder, "as_dictionary": self.as_dictionary}


def with_encoder(trainer, change):
    """A trainer like another one, with its encoder changed."""
    config = keras.saving.deserialize_keras_object(trainer.get_config())
    return type(trainer)(**{**config, "encoder": change(config["encoder"])})


OF_IMAGES = [name for name, case in CASES.items() if case.x is CASES["SimCLR"].x]


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("SimCLR", "DINO") else pytest.param(name, marks=pytest.mark.full)
        for name in OF_IMAGES
    ],
)
def test_an_encoder_with_two_outputs_is_told_in_words(name):
    case = CASES[name]
    trainer = case.make()
    if not isinstance(trainer, JointEmbedding) or isinstance(trainer.encoder, TokenEncoder):
        pytest.skip("not of an encoder that may return anything")
    for as_dictionary in (False, True):
        keras.utils.set_random_seed(0)
        trainer = with_encoder(case.make(), lambda one, kind=as_dictionary: Two(one, kind))
        trainer.compile(case.sgd())
        y = None if case.y() is None else case.y()[:32]
        with pytest.raises(ValueError, match="`encoder` must return one tensor"):
            trainer.fit(case.first(32), y, verbose=0)


class Entries(keras.layers.Layer):
    """Two views, each a dictionary."""

    def call(self, x, training=None):
        return {"a": x, "b": x}, {"a": x, "b": x}


def test_views_that_the_encoder_does_not_take_are_told_in_words():
    class Flatten(keras.layers.Layer):
        def call(self, x):
            return keras.ops.reshape(x, (x.shape[0], -1))

    with pytest.raises(ValueError, match=r"views that `encoder` takes.*Received: x=.*28, 28, 1"):
        simclr(Flatten(), Entries()).fit(FLOATS, verbose=0)


class NoConfig(keras.layers.Layer):
    """An encoder that cannot be made from its config."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.dense = keras.layers.Dense(8)

    def call(self, x):
        return self.dense(self.function(x))


def test_an_encoder_without_config_has_a_teacher():
    keras.utils.set_random_seed(0)
    encoder = NoConfig(lambda x: keras.ops.reshape(x, (-1, 784)))
    head = layers.ProjectionHead((8, 4), normalization=False)
    predictor = layers.ProjectionHead((8, 4), normalization=False)
    trainer = trainers.BYOL(encoder, head, predictor, augment.SimCLRViews(28), momentum=0.9)
    trainer.compile(keras.optimizers.SGD(0.1))
    trainer.build((None, 28, 28, 1))
    before = encoder(FLOATS).numpy()
    trainer.fit(FLOATS, verbose=0)
    after = encoder(FLOATS).numpy()
    assert np.abs(after - before).max() > 1
    np.testing.assert_allclose(
        trainer.teacher_encoder(FLOATS), 0.9 * before + 0.1 * after, rtol=1e-3, atol=1e-2
    )
