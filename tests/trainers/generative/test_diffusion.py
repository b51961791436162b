"""Diffusion and flow matching: losses, sampling, guidance, likelihood, and mixtures learned."""

import keras
import numpy as np
import pytest
import scipy.stats
from keras import ops

from keras_ssl import samplers, trainers
from keras_ssl.samplers.sampler import StepSeed
from tests.trainers.case import Case, zeros
from tests.trainers.generative.denoisers import (
    dense_denoiser,
    image_denoiser,
    small_images,
    small_vectors,
)
from tests.trainers.small import dense

BAD_VECTORS = (
    (zeros(0, 64), "no data"),
    (zeros(64, 10), "64"),
    (np.full((64, 64), 300.0, "float32"), "value_range=.*from 300 to 300"),
)

CASES = {
    "Diffusion": Case(
        make=lambda: trainers.Diffusion(
            dense_denoiser(64, classes=10), num_classes=10, ema_momentum=0.9, seed=0
        ),
        x=small_vectors,
        decreasing_loss="loss",
        decrease=0.1,
        epochs=20,
        bad_data=BAD_VECTORS,
        labelled=True,
    ),
    "FlowMatching": Case(
        make=lambda: trainers.FlowMatching(dense_denoiser(64), ema_momentum=0.9, seed=0),
        x=small_vectors,
        decreasing_loss="loss",
        decrease=0.1,
        epochs=20,
        bad_data=BAD_VECTORS,
    ),
}


def built(trainer, x=None):
    trainer.compile("adam")
    trainer.build(
        (None, 64) if x is None else keras.tree.map_structure(lambda one: (None, *one.shape[1:]), x)
    )
    return trainer


class Recorded(keras.Model):
    """A denoiser that notes what it is given, and returns a constant."""

    def __init__(self, value=0.0):
        super().__init__()
        self.value, self.seen = value, []
        self.weight = self.add_weight(shape=(), initializer="zeros")

    def call(self, inputs):
        self.seen.append(inputs)
        return 0 * inputs["x"] + self.value + self.weight


@pytest.mark.parametrize("prediction", ["epsilon", "x0", "v", "velocity"])
def test_loss_is_the_weighted_error_of_the_target(prediction):
    """With a denoiser that returns 0, the loss is the weighted square of the target."""
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    denoiser = Recorded()
    if prediction == "velocity":
        trainer = trainers.FlowMatching(denoiser, value_range=None, seed=3)
    else:
        trainer = trainers.Diffusion(
            denoiser, prediction=prediction, value_range=None, min_snr_gamma=5.0, seed=3
        )
    batch = trainers.Batch(ops.convert_to_tensor(x), ops.convert_to_tensor(x))
    losses = trainer.embed(batch, training=True)["denoising"]
    seen = denoiser.seen[-1]
    time, noisy = np.array(seen["time"], "float64"), np.array(seen["x"], "float64")
    if prediction == "velocity":
        a, s, weight = 1 - time / 1000, time / 1000, 1.0
    else:
        at = time.astype(int)
        bars = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[at]
        a, s, snr = np.sqrt(bars), np.sqrt(1 - bars), bars / (1 - bars)
        weight = np.minimum(snr, 5) / {"epsilon": snr, "x0": 1, "v": snr + 1}[prediction]
    noise = (noisy - a[:, None] * x) / s[:, None]
    assert np.std(noise) == pytest.approx(1, abs=0.5) and len(set(time)) == 6
    target = {
        "epsilon": noise,
        "x0": x,
        "v": a[:, None] * noise - s[:, None] * x,
        "velocity": noise - x,
    }[prediction]
    np.testing.assert_allclose(losses, weight * (target**2).mean(1), rtol=1e-3)


def test_conditions_reach_the_denoiser_and_are_dropped_at_the_rate():
    """The label -1 is none; with tokens and an image, all are dropped together."""
    x = {
        "x": small_images()[:64],
        "tokens": np.ones((64, 3, 4), "float32"),
        "image": np.ones((64, 8, 8, 2), "float32"),
    }
    denoiser = Recorded()
    trainer = trainers.Diffusion(
        denoiser, num_classes=5, condition_dropout=0.5, feature_time=0, seed=0
    )
    labels = ops.convert_to_tensor(np.where(np.arange(64) % 8, np.arange(64) % 5, -1), "int32")
    tensors = {name: ops.convert_to_tensor(one) for name, one in x.items()}
    batch = trainers.Batch(tensors, tensors["x"], labels)
    for training in (False, True):
        trainer.embed(batch, training)
        seen = {name: np.array(one) for name, one in denoiser.seen[-1].items()}
        dropped = seen["tokens"].max(axis=(1, 2)) == 0
        assert dropped.mean() == pytest.approx(0.5 if training else 0.0, abs=0.15)
        np.testing.assert_array_equal(seen["image"].max(axis=(1, 2, 3)) == 0, dropped)
        expected = np.where(dropped | (np.array(labels) < 0), 5, np.array(labels))
        np.testing.assert_array_equal(seen["label"], expected)
    assert np.abs(seen["x"]).max() < 6  # of pixels from -1 to 1


@pytest.fixture(scope="module")
def conditional():
    """A trainer whose data are two classes: all pixels dark, or all bright."""
    keras.utils.set_random_seed(0)
    y = np.arange(512) % 2
    x = (40.0 + 170 * y[:, None] + 20 * np.random.default_rng(0).normal(size=(512, 4))).clip(0, 255)
    trainer = trainers.Diffusion(
        dense_denoiser(4, 64, classes=2), num_classes=2, prediction="v", ema_momentum=0.98, seed=0
    )
    trainer.compile(keras.optimizers.Adam(1e-2))
    trainer.fit(x.astype("float32"), y, batch_size=128, epochs=40, verbose=0)
    return trainer


@pytest.mark.full
def test_labels_and_guidance_lead_samples(conditional):
    options = {"n": 64, "steps": 10, "seed": 1}
    free = conditional.sample(**options)
    assert free.shape == (64, 4) and free.dtype == np.float32
    assert 0.15 < (free.mean(axis=1) > 125).mean() < 0.85  # both classes
    for label in (0, 1):
        told = conditional.sample(**options, label=label)
        assert ((told.mean(axis=1) > 125) == label).mean() > 0.9
    mixed = conditional.sample(**options, label=np.arange(64) % 2, guidance_scale=2.0)
    np.testing.assert_array_equal(mixed.mean(axis=1) > 125, np.arange(64) % 2)
    # scale 0 is the model without labels, and -1 the label that says nothing
    none = conditional.sample(**options, label=1, guidance_scale=0.0)
    np.testing.assert_allclose(none, free, rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(conditional.sample(**options, label=-1), free, atol=1e-3)


def test_a_classifier_leads_samples(conditional):
    classifier = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
    classifier.set_weights([np.full((4, 2), [-0.02, 0.02]), np.array([10.0, -10.0])])
    guidance = trainers.ClassifierGuidance(classifier, 0.5, from_logits=False)
    # the denoiser is told no label
    options = {"n": 64, "steps": 20, "seed": 1, "guidance_scale": 0.0}
    shares = [
        (conditional.sample(**options, label=label, classifier=guidance).mean(1) > 125).mean()
        for label in (0, 1)
    ]
    assert shares[0] < 0.2 and shares[1] > 0.8
    with pytest.raises(ValueError, match=r"a class of `classifier`, in 0\.\.1"):
        conditional.sample(**options, label=-1, classifier=guidance)
    functional = keras.Model(classifier.inputs, keras.layers.Softmax()(classifier.outputs[0]))
    for one in (classifier, functional):
        with pytest.raises(ValueError, match=r"ends in softmax .* from_logits=False"):
            conditional.sample(**options, label=1, classifier=one)
    one_output = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="of two classes or more"):
        conditional.sample(**options, label=0, classifier=one_output)


def test_without_condition_dropout_conditions_must_be_given(conditional, monkeypatch):
    monkeypatch.setattr(conditional, "condition_dropout", 0.0)
    options = {"n": 64, "steps": 10, "seed": 1}
    with pytest.raises(ValueError, match="leaves untrained"):
        conditional.sample(**options, label=1, guidance_scale=2.0)
    with pytest.raises(ValueError, match="no label"):
        conditional.sample(**options)
    # -1 is the label of data without one, which only the user knows of
    assert np.isfinite(conditional.sample(**options, label=-1)).all()


def test_same_seed_gives_the_same_samples(conditional, two_replicas):
    sampler = samplers.DDPM()
    # in batches of 4, of which the last is filled up and its rest thrown away
    options = {"n": 6, "steps": 5, "sampler": sampler, "batch_size": 4}
    options |= {"label": np.arange(6) % 2, "guidance_scale": 1.5}
    first = conditional.sample(seed=1, **options)
    np.testing.assert_array_equal(conditional.sample(seed=1, verbose=1, **options), first)
    assert np.abs(conditional.sample(seed=2, **options) - first).max() > 1
    np.testing.assert_array_equal(conditional.sample(seed=2**32 + 1, **options), first)
    unseeded = [conditional.sample(**options) for _ in range(2)]
    assert np.abs(unseeded[0] - unseeded[1]).max() > 1
    # three examples are filled up to four, whose loop is there
    traced, options_of_three = len(conditional._loops), options | {"label": np.arange(3) % 2}
    three = conditional.sample(seed=1, **options_of_three | {"n": 3})
    np.testing.assert_array_equal(three, first[:3])
    assert len(conditional._loops) == traced
    assert np.abs(first[:2] - first[4:]).max() > 1  # batches draw different numbers
    with two_replicas.scope():
        two = trainers.Diffusion(
            dense_denoiser(4, 64, classes=2), num_classes=2, prediction="v", ema_momentum=0.98
        )
        two.compile("adam")
        two.build((None, 4))
    two.set_weights(conditional.get_weights())
    np.testing.assert_allclose(two.sample(seed=1, **options), first, rtol=1e-4, atol=1e-3)
    two.compile("adam")
    assert not len(two._loops)


def test_samples_start_from_data_and_fill_it(conditional):
    x = np.full((8, 4), 230.0, "float32")
    same = conditional.sample(start=x, strength=0.0)
    np.testing.assert_allclose(same, x, rtol=1e-5)
    dark = np.tile(np.arange(4.0), (8, 1))  # of one image, a small part of the range is no fault
    np.testing.assert_allclose(conditional.sample(start=dark, strength=0.0), dark, atol=1e-4)
    options = {"label": 0, "steps": 20, "seed": 0}
    near, far = (conditional.sample(start=x, strength=one, **options) for one in (0.2, 1.0))
    assert near.mean() > far.mean() + 40
    mask = np.zeros((8, 4), "float32")
    mask[:, 2:] = 1
    filled = conditional.sample(known=x, mask=mask, steps=20, sampler=samplers.Heun(), seed=0)
    np.testing.assert_array_equal(filled[:, :2], x[:, :2])
    assert filled[:, 2:].mean() > 140  # bright, as what is known


def test_trajectory_leads_from_noise_to_the_sample(conditional):
    frames = conditional.trajectory(4, n=64, steps=8, seed=3, label=1)
    assert frames.shape == (4, 64, 4)
    np.testing.assert_allclose(
        frames[-1], conditional.sample(64, steps=8, seed=3, label=1), rtol=1e-5, atol=1e-3
    )
    distance = np.abs(frames - frames[-1]).mean(axis=(1, 2))
    assert np.all(np.diff(distance) < 0)


def test_bound_of_normal_data_is_close_to_their_density():
    """Of the exact denoiser of normal data, computed once more with the same noise in float64."""
    deviation, schedule = 0.5, samplers.NoiseSchedule("cosine", steps=100)
    a, s = (
        keras.ops.convert_to_tensor(one, "float32") for one in (schedule.signal, schedule.noise)
    )

    class Exact(keras.Model):
        def call(self, inputs):
            time = ops.cast(inputs["time"], "int32")
            signal, noise = (ops.take(one, time)[:, None] for one in (a, s))
            return inputs["x"] * signal * deviation**2 / (signal**2 * deviation**2 + noise**2)

    trainer = trainers.Diffusion(Exact(), schedule, "x0", value_range=None, feature_time=0)
    trainer.build((None, 16))
    x = (deviation * np.random.default_rng(0).normal(size=(256, 16))).astype("float32")
    found = trainer.log_likelihood(x, levels=None, variance="large")
    exact = scipy.stats.norm.logpdf(x, scale=deviation).mean(axis=1) / np.log(2)
    assert -0.02 < (exact - found).mean() < 0.1

    bars, total = schedule.alpha_bars, np.zeros(256)
    before = np.append(1.0, bars[:-1])
    for time in range(100):
        seed = StepSeed(np.int32(0), np.int32(time))
        noise = np.array(keras.random.normal((256, 16), seed=seed), "float64")
        noisy = np.sqrt(bars[time]) * x + np.sqrt(1 - bars[time]) * noise
        data = noisy * np.sqrt(bars[time]) * 0.25 / (bars[time] * 0.25 + 1 - bars[time])
        beta = 1 - bars[time] / before[time]
        variance = beta * (1 - before[time]) / (1 - bars[time])
        difference = np.sqrt(before[time]) * beta / (1 - bars[time]) * (x - data)
        if time == 0:
            total += scipy.stats.norm.logpdf(x, data, np.sqrt(beta)).mean(axis=1)
            continue
        divergence = np.log(beta / variance) / 2 + (variance + difference**2) / (2 * beta) - 0.5
        total -= divergence.mean(axis=1)
    last = bars[-1]
    total -= ((1 - last) + last * x**2 - 1 - np.log(1 - last)).mean(axis=1) / 2
    np.testing.assert_allclose(found, total / np.log(2), rtol=1e-4)


def test_bound_of_discrete_data(conditional):
    x = np.full((16, 4), 210.0, "float32")
    bound = conditional.log_likelihood(x, label=1)
    assert bound.shape == (16,) and -10 < bound.mean() < -4
    with pytest.raises(ValueError, match=r"256 equally spaced values .* levels=None"):
        conditional.log_likelihood(x + 0.5, label=1)
    assert conditional.log_likelihood(x, label=0).mean() < bound.mean() - 1
    continuous = conditional.log_likelihood(x, label=1, levels=None)
    np.testing.assert_allclose(continuous, bound, atol=0.2)  # a level has the width 1


def test_conditions_of_tokens_and_images_are_sampled():
    trainer = trainers.Diffusion(image_denoiser(8, 4, 2), schedule=samplers.NoiseSchedule(steps=20))
    x = {
        "x": small_images()[:32],
        "tokens": np.zeros((32, 3, 4), "float32"),
        "image": np.zeros((32, 8, 8, 2), "float32"),
    }
    trainer.compile("adam")
    trainer.fit(x, batch_size=16, verbose=0)
    tokens, image = np.ones((2, 3, 4), "float32"), np.ones((2, 8, 8, 2), "float32")
    found = [
        trainer.sample(2, steps=2, tokens=t, image=i, guidance_scale=w, seed=0)
        for t, i, w in ((tokens, image, 1), (tokens, None, 1), (None, image, 1), (tokens, image, 2))
    ]
    assert found[0].shape == (2, 8, 8, 1)
    assert trainer.sample(2, steps=1, tokens=np.ones((2, 5, 4))).shape == (2, 8, 8, 1)
    assert all(np.abs(found[0] - other).max() > 1e-3 for other in found[1:])
    # features of data alone, and with conditions
    assert trainer.encoder(x["x"]).shape == trainer.encoder(x).shape == (32, 8)
    with pytest.raises(ValueError, match=r"`tokens` must have the shape .*, 4\)"):
        trainer.sample(2, tokens=np.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="`image` must have one row per example, 2"):
        trainer.sample(2, tokens=tokens, image=image[:1])


def test_condition_images_must_fit_and_are_not_augmented():
    x = {"x": np.zeros((2, 8, 8, 1)), "image": np.zeros((2, 16, 16, 2))}
    with pytest.raises(ValueError, match=r"'image' must have the shape .*\(None, 8, 8, 2\)"):
        built(trainers.Diffusion(image_denoiser(8, None, 2)), x)
    flip = keras.layers.RandomFlip("horizontal")
    with pytest.raises(ValueError, match="both augmented alike in the dataset"):
        built(trainers.Diffusion(image_denoiser(8, None, 2), augment=flip), x)


def test_the_average_takes_over_statistics_of_batch_normalization():
    x, time = keras.Input((4,), name="x"), keras.Input((), name="time")
    normalization = keras.layers.BatchNormalization(name="normalization")
    denoiser = keras.Model({"x": x, "time": time}, keras.layers.Dense(4)(normalization(x)))
    trainer = built(trainers.Diffusion(denoiser), x)
    normalization.moving_mean.assign(np.arange(4.0))
    trainer.teacher.follow(0, True)
    copy = trainer.teacher_denoiser.get_layer("normalization")
    np.testing.assert_array_equal(copy.moving_mean, np.arange(4.0))


def test_encoder_returns_features_of_a_layer_and_a_time(tmp_path):
    trainer = built(
        trainers.Diffusion(dense_denoiser(64), feature_layer="hidden_1", feature_time=5)
    )
    x = small_vectors()[:4]
    noise = np.array(keras.random.normal((1, 64), seed=1))
    noisy = trainer.schedule.add_noise(x / 127.5 - 1, noise, np.full(4, 5))
    layer = trainer.teacher_denoiser.get_layer("hidden_1")
    expected = layer(np.concatenate([noisy, np.full((4, 1), 0.005)], axis=1))
    np.testing.assert_allclose(trainer.encoder(x), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trainer(x[:2]), expected[:2], rtol=1e-4, atol=1e-5)
    other = trainer.encoder_at("last", 100)
    assert isinstance(other, trainers.DenoiserFeatures)
    assert other(x).shape == (4, 64) and other.weights
    other.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(loaded(x), other(x))
    with pytest.raises(ValueError, match="`layer` must be the name of a layer"):
        trainer.encoder_at("no_such_layer")
    with pytest.raises(ValueError, match="`time` must be a number from 0 to 999"):
        trainer.encoder_at("last", 1000)


def energy_test(x, y, permutations=200):
    """The p-value of the permutation test of the energy distance of two samples."""
    both = np.concatenate([x, y]).astype("float64")
    distances = np.linalg.norm(both[:, None] - both[None], axis=-1)

    def energy(is_first):
        first, second = np.flatnonzero(is_first), np.flatnonzero(~is_first)
        within = distances[np.ix_(first, first)].mean() + distances[np.ix_(second, second)].mean()
        return 2 * distances[np.ix_(first, second)].mean() - within

    rng, is_first = np.random.default_rng(0), np.arange(len(both)) < len(x)
    observed = energy(is_first)
    return np.mean([energy(rng.permutation(is_first)) >= observed for _ in range(permutations)])


def mixture(dimensions, count, seed):
    rng = np.random.default_rng(seed)
    if dimensions == 1:
        return rng.choice([-1.0, 1.0], (count, 1), p=[0.3, 0.7]) + 0.3 * rng.normal(size=(count, 1))
    angles = rng.integers(0, 5, count) * 2 * np.pi / 5
    centers = 1.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return centers + 0.2 * rng.normal(size=(count, 2))


@pytest.mark.few(2)
@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("method", ["Diffusion", "FlowMatching"])
def test_mixtures_are_learned(method, dimensions):
    """Energy distance, and Kolmogorov-Smirnov in 1-D: not told apart from 300 other points."""
    settings = {"value_range": None, "ema_momentum": 0.99, "seed": 0}
    trainer = getattr(trainers, method)(dense_denoiser(dimensions, 64, 3), **settings)
    trainer.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, 400)))
    trainer.fit(
        mixture(dimensions, 4096, 0).astype("float32"), batch_size=512, epochs=50, verbose=0
    )
    sampler = samplers.DPMSolverPlusPlus2M() if method == "Diffusion" else samplers.Heun()
    made, others = trainer.sample(300, 20, sampler=sampler, seed=0), mixture(dimensions, 300, 1)
    print(method, dimensions, energy_test(made, others))
    assert energy_test(made, others) > 0.01
    if dimensions == 1:
        assert scipy.stats.ks_2samp(made[:, 0], others[:, 0]).pvalue > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`n` must say how many"),
        ({"n": 2, "steps": 0}, "`steps` must be a positive integer"),
        ({"n": 2, "steps": 21}, "at most those of the schedule, 20"),
        ({"n": 2, "sampler": "ddim"}, "`sampler` must be a sampler"),
        ({"n": 2, "guidance_scale": 2.0}, "Guidance needs a conditional model"),
        ({"n": 2, "label": 1}, "`label` needs a conditional model"),
        ({"n": 2, "tokens": np.zeros((2, 3, 4))}, "`tokens` needs a model"),
        ({"n": 2, "classifier": dense(2, inputs=64)}, "Expected `label`"),
        ({"start": np.zeros((2, 64)), "strength": 1.2}, "`strength` must be a number from 0 to 1"),
        ({"start": np.zeros((2, 10))}, "`start` must have the shape of the data"),
        ({"start": np.full((2, 64), -3.0)}, "value_range"),
        ({"start": np.full((2, 64), np.nan)}, "Expected `start` with finite values"),
        ({"n": 2, "strength": 0.5}, "Expected `start`"),
        ({"n": 2, "seed": 0.5}, "`seed` must be an integer"),
        ({"known": np.zeros((2, 64))}, "belong together"),
        ({"known": np.zeros((2, 64)), "mask": np.zeros((2, 32))}, "`mask` must have the shape"),
        ({"known": np.zeros((2, 64)), "mask": np.full((2, 64), 2)}, "`mask` must be 1 where"),
    ],
)
def test_bad_requests_are_refused(small, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        small.sample(**arguments)


@pytest.fixture(scope="module")
def small():
    return built(trainers.Diffusion(dense_denoiser(64), samplers.NoiseSchedule(steps=20)))


def test_bad_arguments_and_data_are_refused(small):
    zero = samplers.NoiseSchedule(zero_terminal_snr=True)
    for arguments, message in (
        ({"prediction": "score"}, "`prediction` must be one of"),
        ({"schedule": samplers.StraightPath()}, "`schedule` must be a"),
        ({"schedule": zero}, "x_t is pure noise"),
        ({"value_range": (1, 0)}, "`value_range` must be two numbers"),
        ({"condition_dropout": 2}, "`condition_dropout` must be"),
        ({"min_snr_gamma": 0}, "`min_snr_gamma` must be a positive"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            trainers.Diffusion(dense_denoiser(4), **arguments)
    with pytest.raises(ValueError, match="must be trained or built"):
        trainers.Diffusion(dense_denoiser(4)).sample(2)
    x = small_vectors()[:32]
    with pytest.raises(ValueError, match="a small part of it alone"):
        small.fit(x / 255, verbose=0)
    with pytest.raises(ValueError, match="In `validation_data`: Expected data with values"):
        small.fit(x, validation_data=(x - 100,), verbose=0)
    with pytest.raises(ValueError, match="Expected data with values in value_range"):
        small.evaluate(x + 100, verbose=0)
    with pytest.raises(ValueError, match=r"must be \{'x': ..., 'tokens'"):
        small.fit({"x": x, "depth": x}, verbose=0)
    with pytest.raises(ValueError, match="dtype uint8 are trained on with"):
        trainer = built(trainers.Diffusion(dense_denoiser(64), value_range=None))
        trainer.fit(x.astype("uint8"), verbose=0)
    with pytest.raises(ValueError, match="Expected data with finite values"):
        trainer.fit(x * np.nan, verbose=0)
    with pytest.raises(ValueError, match="one tensor of the shape of its input 'x'"):
        wide = dense_denoiser(64)
        built(trainers.Diffusion(keras.Model(wide.input, wide.get_layer("hidden_1").output)))
    with pytest.raises(ValueError, match="`levels` are those between"):
        trainer.log_likelihood(x)
    with pytest.raises(ValueError, match="at most the number of evaluations, 4"):
        small.trajectory(5, n=2, steps=4)
    with pytest.raises(TypeError, match="Expected arguments of `sample`"):
        small.trajectory(2, n=2, step=4)
