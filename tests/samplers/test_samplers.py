"""Schedules, posteriors and trajectories, against diffusers' and closed forms."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import samplers
from keras_ssl.samplers.noise_path import Grid
from keras_ssl.samplers.sampler import StepSeed, integrate

FILE = Path(__file__).parents[1] / "reference" / "samplers.json"
STORED = json.loads(FILE.read_text())
# JAX has no float64 by default, and Heun's first step by the cosine schedule amplifies rounding by
# ten thousand
EXACT = {"rtol": 1e-7} if keras.backend.backend() == "tensorflow" else {"rtol": 1e-2, "atol": 1e-3}
TIMES = [0, 1, 10, 500, 998, 999]


def stored(name):
    return np.array(STORED[name], "float64")


@pytest.mark.parametrize("name", STORED["schedules"])
def test_schedules_equal_those_of_diffusers(name):
    kind, zero = name.split()
    schedule = samplers.NoiseSchedule(kind, zero_terminal_snr=zero == "1")
    expected = STORED["schedules"][name]
    np.testing.assert_allclose(schedule.alpha_bars[TIMES], expected["alpha_bars"], rtol=1e-5)
    _, _, variances = schedule.posterior()
    np.testing.assert_allclose(
        variances[TIMES], expected["posterior_variances"], rtol=1e-5, atol=1e-19
    )
    for time, noisy in zip(TIMES, expected["noisy"], strict=True):
        found = schedule.add_noise(stored("start"), stored("random")[0], np.array([time, time]))
        np.testing.assert_allclose(found, noisy, rtol=1e-5)


def test_posterior_is_that_of_bayes_rule():
    """q(x_{t-1} | x_t, x_0) is proportional to q(x_t | x_{t-1}) q(x_{t-1} | x_0)."""
    schedule = samplers.NoiseSchedule("cosine", steps=50)
    of_data, of_noisy, variances = schedule.posterior()
    alpha, before = 1 - schedule.betas[1:], schedule.alpha_bars[:-1]
    variance = 1 / (alpha / schedule.betas[1:] + 1 / (1 - before))
    np.testing.assert_allclose(variances[1:], variance, rtol=1e-9)
    np.testing.assert_allclose(of_data[1:], np.sqrt(before) / (1 - before) * variance, rtol=1e-9)
    np.testing.assert_allclose(
        of_noisy[1:], np.sqrt(alpha) / schedule.betas[1:] * variance, rtol=1e-9
    )
    np.testing.assert_allclose((of_data[0], of_noisy[0], variances[0]), (1, 0, 0), atol=1e-12)


def run(sampler, prediction, grid=None, clip=None, dtype="float64"):
    """The whole trajectory from the stored start, with the stored denoiser, one step a time."""
    weights, bias = (ops.convert_to_tensor(stored(name), dtype) for name in ("weights", "bias"))
    path = samplers.StraightPath() if prediction == "velocity" else SCHEDULES[prediction]
    plan = sampler.plan(path, 4) if grid is None else sampler.coefficients(path, grid)

    def predict(x, time, signal, noise):
        output = ops.tanh(ops.matmul(x, weights) + bias * time / 1000)
        data, level = samplers.data_and_noise(prediction, output, x, signal, noise)
        return (ops.clip(data, -1, 1) if clip else data), level

    random = ops.convert_to_tensor(stored("random"), dtype)
    x = ops.convert_to_tensor(stored("start"), dtype)
    memory, found = plan.memory(x), []
    for number in range(len(plan)):
        x, memory = integrate(
            plan.terms, plan.rows, predict, x, memory, number, number + 1, lambda i: random[i]
        )
        found.append(np.array(x) / plan.columns["next_signal"][number])
    return np.array(found), plan


SCHEDULES = {
    "epsilon": samplers.NoiseSchedule("linear"),
    "x0": samplers.NoiseSchedule("cosine"),
    "v": samplers.NoiseSchedule("cosine"),
}


@pytest.mark.parametrize("prediction", SCHEDULES)
def test_trajectories_equal_those_of_diffusers(prediction):
    cases = {
        f"DDPM small {prediction}": (samplers.DDPM(), True),
        f"DDPM large {prediction}": (samplers.DDPM("large", spacing="leading"), True),
        f"DDIM 0.0 {prediction}": (samplers.DDIM(), True),
        f"DDIM 0.7 {prediction}": (samplers.DDIM(0.7), True),
        f"Euler trailing {prediction}": (samplers.Euler(), False),
        f"Euler linspace {prediction}": (samplers.Euler(spacing="linspace"), False),
        f"Heun {prediction}": (samplers.Heun(), False),
        f"DPMSolverPlusPlus2M {prediction}": (samplers.DPMSolverPlusPlus2M(), False),
    }
    for name, (sampler, clip) in cases.items():
        found, plan = run(sampler, prediction, clip=clip)
        if not name.startswith(("Euler", "Heun")):  # there, diffusers counts x in units of data
            found = found * plan.columns["next_signal"][:, None, None]
        expected = np.array(STORED["trajectories"][name])
        np.testing.assert_allclose(found, expected, **EXACT, err_msg=name)


def test_trajectories_of_other_times_and_paths_equal_those_of_diffusers(monkeypatch):
    found, _ = run(samplers.Euler(), "velocity")
    found *= 1 - np.linspace(0.75, 0, 4)[:, None, None]
    np.testing.assert_allclose(found, STORED["trajectories"]["Euler velocity"], **EXACT)
    t = stored("flow_heun_sigmas")
    t = np.concatenate([t[:1], t[1:-1:2], t[-1:]])  # diffusers names those within twice
    found, plan = run(samplers.Heun(), "velocity", Grid(1000 * t[:-1], 1 - t, t))
    found *= plan.columns["next_signal"][:, None, None]
    np.testing.assert_allclose(found, STORED["trajectories"]["Heun velocity"], **EXACT)
    for name, kind in (("leading", {}), ("zero", {"zero_terminal_snr": True})):
        monkeypatch.setitem(SCHEDULES, "v", samplers.NoiseSchedule("scaled_linear", **kind))
        spacing = "leading" if name == "leading" else "trailing"
        found, plan = run(samplers.DDIM(spacing=spacing), "v")
        found = found * plan.columns["next_signal"][:, None, None]
        np.testing.assert_allclose(found, STORED["trajectories"][f"DDIM {name} v"], **EXACT)


@pytest.mark.parametrize("name", ["DDIM", "DPMSolverPlusPlus2M", "Heun"])
def test_order_of_the_samplers(name):
    """Errors of the exact denoiser of normal data fall with the order: to 1/2, or to 1/4."""
    schedule, variance = samplers.NoiseSchedule("linear"), 0.25

    def predict(x, time, signal, noise):
        data = x * signal * variance / (signal**2 * variance + noise**2)
        return data, (x - signal * data) / noise

    def deviation(signal, noise):
        return np.sqrt(signal**2 * variance + noise**2)

    def error(steps):
        # without the steps from pure noise and to the data
        angles = np.append(np.linspace(1.4, 0.4, steps + 1), 0.0)
        grid = Grid(angles[:-1], np.cos(angles), np.sin(angles))
        plan = getattr(samplers, name)().coefficients(schedule, grid)
        x = ops.ones((1, 1), "float64")
        memory = plan.memory(x)
        x, _ = integrate(plan.terms, plan.rows, predict, x, memory, 0, len(plan) - 1)
        ends = [deviation(grid.signal[at], grid.noise[at]) for at in (0, -2)]
        return abs(float(x[0, 0]) - ends[1] / ends[0])

    ratio = error(16) / error(32)
    assert 1.9 < ratio < 2.1 if name == "DDIM" else 3.5 < ratio < 4.5


def test_float32_loop_equals_the_float64_one_and_random_samplers_repeat():
    sampler = samplers.DDPM()
    x, plan = run(sampler, "v", clip=True, dtype="float32")
    np.testing.assert_allclose(x, run(sampler, "v", clip=True)[0], rtol=1e-5)

    def predict(x, time, signal, noise):
        return 0 * x, x

    start, schedule = np.ones((64, 8), "float32"), samplers.NoiseSchedule(steps=20)
    ends = [
        np.array(sampler.sample(schedule, predict, start, 20, seed)) for seed in (1, 1, 2**31 - 1)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not plan.memory(start) and np.abs(ends[2]).max() == 0  # the last step adds no noise
    before = samplers.DDPM().plan(schedule, 20)
    x, _ = integrate(
        before.terms,
        before.rows,
        predict,
        ops.convert_to_tensor(start),
        (),
        18,
        19,
        lambda i: keras.random.normal((64, 8), seed=StepSeed(3, i)),
    )
    assert np.std(np.array(x)) == pytest.approx(before.rows[18][-1], rel=0.1)


def test_parts_come_back_from_their_config():
    parts = [
        samplers.NoiseSchedule("sigmoid", 50, (0.001, 0.02), zero_terminal_snr=True),
        samplers.StraightPath(),
        samplers.DDPM("large", clip=False),
        samplers.DDIM(0.5, spacing="leading"),
        samplers.Euler(spacing="linspace"),
        samplers.Heun(clip=False),
        samplers.DPMSolverPlusPlus2M(),
    ]
    for part in parts:
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(part))
        assert type(again) is type(part) and again.get_config() == part.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: samplers.NoiseSchedule("quadratic"), "`kind` must be one of"),
        (lambda: samplers.NoiseSchedule(steps=1), "`steps` must be an integer of at least 2"),
        (lambda: samplers.NoiseSchedule("cosine", betas=(0.1, 0.2)), "cosine schedule has no"),
        (lambda: samplers.NoiseSchedule(betas=(0.2, 0.1)), "`betas` must be two numbers"),
        (lambda: samplers.DDIM(1.5), "`eta` must be a number from 0 to 1"),
        (lambda: samplers.DDPM("learned"), "`variance` must be one of"),
        (lambda: samplers.Heun(spacing="even"), "`spacing` must be one of"),
        (lambda: samplers.NoiseSchedule(steps=10).grid(11), "at most those of the schedule, 10"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
