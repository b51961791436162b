import keras
import numpy as np
import pytest

from keras_ssl import optimizers


@pytest.mark.parametrize(
    ("batch_size", "linear", "square_root"),
    [(256, 0.3, 1.2), (1024, 1.2, 2.4), (4096, 4.8, 4.8)],
)
def test_learning_rates_of_simclr(batch_size, linear, square_root):
    assert optimizers.linear_scaling(0.3, batch_size) == pytest.approx(linear)
    assert optimizers.square_root_scaling(0.075, batch_size) == pytest.approx(square_root)


def test_reference_batch_keeps_the_base():
    assert optimizers.linear_scaling(0.1, 512, reference=512) == pytest.approx(0.1)
    assert optimizers.square_root_scaling(0.1, 512, reference=512) == pytest.approx(0.1)
    assert optimizers.square_root_scaling(0.1, 2048, reference=512) == pytest.approx(0.2)


def test_keras_accepts_the_result():
    rate = optimizers.linear_scaling(1, 512)
    assert isinstance(rate, float)
    assert keras.optimizers.SGD(rate).learning_rate == 2.0


def test_schedule_of_the_docs_warms_up_and_ends_at_zero():
    peak, steps, warmup = optimizers.linear_scaling(0.3, 512), 1000, 100
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=steps - warmup, warmup_target=peak, warmup_steps=warmup
    )
    rates = [float(schedule(step)) for step in (0, 50, 100, 550, 1000)]
    np.testing.assert_allclose(rates, [0, 0.3, 0.6, 0.3, 0], atol=1e-6)


@pytest.mark.parametrize("rule", [optimizers.linear_scaling, optimizers.square_root_scaling])
@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 8, "reference": -1}])
def test_sizes_must_be_positive(rule, wrong):
    name = list(wrong)[-1]
    with pytest.raises(ValueError, match=f"`{name}` must be a positive number. Received"):
        rule(0.3, **wrong)
