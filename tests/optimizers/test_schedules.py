import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.optimizers import (
    CyclicSchedule,
    HeavyBall,
    InverseSquareRootDecay,
    LinearDecay,
    OneCycleSchedule,
)

TORCH = json.loads((Path(__file__).parents[1] / "reference" / "optimizers.json").read_text())
MODES = {"triangular": "triangular", "triangular2": "triangular2", "exp_range": "exponential"}
EXAMPLES = [
    CyclicSchedule(0.25, 0.5, 3, 2, "exponential", 0.75),
    OneCycleSchedule(0.5, 40, 0.25, 4.0, 8.0, linear=True, three_phases=True),
    LinearDecay(0.5, 8, 4, 0.125),
    InverseSquareRootDecay(0.5, 4),
]


def values(schedule, steps):
    return ops.convert_to_numpy(schedule(ops.convert_to_tensor(np.asarray(steps, "int32"))))


@pytest.mark.parametrize("case", TORCH["schedules"], ids=lambda case: str(case["settings"]))
def test_equals_pytorch(case):
    settings = case["settings"]
    if case["schedule"] == "CyclicLR":
        schedule = CyclicSchedule(
            settings["base_lr"],
            settings["max_lr"],
            settings["step_size_up"],
            settings.get("step_size_down"),
            MODES[settings.get("mode", "triangular")],
            settings.get("gamma", 1.0),
        )
    else:
        schedule = OneCycleSchedule(
            settings["max_lr"],
            settings["total_steps"],
            settings.get("pct_start", 0.3),
            settings.get("div_factor", 25.0),
            settings.get("final_div_factor", 1e4),
            linear=settings.get("anneal_strategy") == "linear",
            three_phases=settings.get("three_phase", False),
        )
    np.testing.assert_allclose(values(schedule, range(50)), case["values"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("warmup", [0, 5])
def test_linear_decay_interpolates(warmup):
    steps = np.arange(40)
    expected = np.interp(steps, [0, warmup, warmup + 20], [0.0 if warmup else 0.5, 0.5, 0.125])
    found = values(LinearDecay(0.5, 20, warmup, 0.125), steps)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_inverse_square_root_equals_the_transformers_formula():
    width, warmup, steps = 512, 40, np.arange(1, 500)
    expected = width**-0.5 * np.minimum(steps**-0.5, steps * warmup**-1.5)
    schedule = InverseSquareRootDecay((width * warmup) ** -0.5, warmup)
    np.testing.assert_allclose(values(schedule, steps), expected, rtol=1e-6)
    assert float(schedule(0)) == 0.0


def test_late_steps():
    far = 2**30
    assert float(CyclicSchedule(0.0, 1.0, 3, 1)(far + 1)) == pytest.approx(1 / 3)
    assert float(CyclicSchedule(0.0, 1.0, 2, mode="triangular2")(far + 2)) == 0.0
    assert float(OneCycleSchedule(1.0, 10)(far)) == pytest.approx(4e-6)
    assert float(LinearDecay(1.0, 10, final=0.25)(far)) == 0.25
    assert float(InverseSquareRootDecay(1.0, 1)(far)) == pytest.approx(2.0**-15)


def test_a_cycle_may_begin_with_a_fall():
    schedule = CyclicSchedule(0.875, 0.5, 2)
    np.testing.assert_allclose(values(schedule, range(5)), [0.875, 0.6875, 0.5, 0.6875, 0.875])


@pytest.mark.parametrize("schedule", EXAMPLES, ids=lambda one: type(one).__name__)
def test_an_optimizer_with_the_schedule_is_made_again_from_its_config(schedule):
    made = HeavyBall(schedule, momentum=schedule)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(made))
    assert copy.get_config() == made.get_config()
    np.testing.assert_array_equal(
        values(copy.momentum, range(30)), values(type(schedule)(**schedule.get_config()), range(30))
    )
    w = keras.Variable([1.0])
    for _ in range(3):
        copy.apply([ops.ones(1)], [w])
    np.testing.assert_allclose(copy.learning_rate, schedule(3))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CyclicSchedule(-0.1, 1.0), ValueError, "`low` must be a number of at least 0"),
        (lambda: CyclicSchedule(0.1, np.inf), ValueError, "`high`"),
        (lambda: CyclicSchedule(0.1, 1.0, 0), ValueError, "`steps_up` must be a positive integer"),
        (lambda: CyclicSchedule(0.1, 1.0, 1, 0), ValueError, "`steps_down`"),
        (lambda: CyclicSchedule(0.1, 1.0, mode="cos"), ValueError, "`mode` must be one of .*'cos'"),
        (lambda: CyclicSchedule(0.1, 1.0, gamma=1.5), ValueError, "`gamma`"),
        (lambda: OneCycleSchedule(0.0, 10), ValueError, "`peak` must be a positive number"),
        (lambda: OneCycleSchedule(1.0, 10.0), TypeError, "`total_steps` must be an integer"),
        (lambda: OneCycleSchedule(1.0, 3), ValueError, "must give each phase a step.*=3"),
        (lambda: OneCycleSchedule(1.0, 10, 0.6, three_phases=True), ValueError, "each phase"),
        (lambda: OneCycleSchedule(1.0, 10, 1.0), ValueError, "`warmup_fraction`"),
        (lambda: OneCycleSchedule(1.0, 10, initial_divisor=0.5), ValueError, "`initial_divisor`"),
        (lambda: LinearDecay(1.0, 0), ValueError, "`decay_steps`"),
        (lambda: LinearDecay(1.0, 1, -1), ValueError, "`warmup_steps`"),
        (lambda: LinearDecay(1.0, 1, final=-1.0), ValueError, "`final`"),
        (lambda: InverseSquareRootDecay(1.0, 0), ValueError, "`warmup_steps`"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()
