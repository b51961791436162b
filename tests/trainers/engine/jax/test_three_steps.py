"""Three steps on JAX equal three steps on TensorFlow, and files go from one to the other."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("compares with the TensorFlow backend", allow_module_level=True)
pytest.importorskip("jax")

from keras_ssl import losses, trainers
from tests.trainers.cases import CASES, REPRESENTATIVES
from tests.trainers.engine.jax.on_jax import on_jax
from tests.trainers.engine.jax.three_steps import key_of, run
from tests.trainers.flat_views import pairs
from tests.trainers.small import dense

# those that TensorFlow traces fastest, of four shapes
SLOW = ("BYOL", "GAN", "MoCo", "masked tokens")
REST = [name for name in CASES if name not in SLOW]
GROUPS = [REST[start : start + 10] for start in range(0, len(REST), 10)]


TOLERANCES = {
    "GRACE": 2e-5,  # sums over all pairs of nodes, in another order
    "RelativePatchPosition": 2e-4,  # the input of one unit of a ReLU is 0 but for rounding
}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(SLOW, marks=pytest.mark.slow, id="shapes"),
        *(
            pytest.param(names, marks=pytest.mark.full, id=f"{names[0]} and others")
            for names in GROUPS
        ),
    ],
)
def test_three_steps_equal_those_of_tensorflow(names, tmp_path):
    for name in names:
        run(name, tmp_path)
    on_jax("-m", "tests.trainers.engine.jax.three_steps", str(tmp_path), *names)
    for name in names:
        _compare(name, tmp_path)


def _compare(name, folder):
    key = key_of(name)
    with (
        np.load(folder / f"{key}.start.npz") as before,
        np.load(folder / f"{key}.tensorflow.npz") as expected,
        np.load(folder / f"{key}.jax.npz") as found,
    ):
        started = dict(before)
        values, others = (
            [one[each] for each in one if not each.startswith("log ")] for one in (expected, found)
        )
        logs = {each: (expected[each], found[each]) for each in expected if each[:4] == "log "}
    assert len(values) == len(others) == len(started) and logs
    largest = max(np.abs(one).max() for one in values if one.size and one.dtype.kind == "f")
    moved = [np.any(one != start) for one, start in zip(values, started.values(), strict=True)]
    assert sum(moved) > 2, name
    tolerance = TOLERANCES.get(name, 1e-5) * max(1, largest)
    for one, other, path in zip(values, others, started, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=tolerance, err_msg=f"{name}: {path}")
    for each, (one, other) in logs.items():
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5, err_msg=f"{name}: {each}")


def test_every_shape_is_compared_at_some_time():
    assert set(REPRESENTATIVES.values()) <= {*SLOW, *REST}


GO_ON = """
import sys
import keras, numpy as np
import keras_ssl
from tests.trainers.flat_views import pairs

trainer = keras.saving.load_model(sys.argv[1] + "/trainer.keras")
print(trainer.predict(pairs()[0], verbose=0).sum())
trainer.fit(pairs(), batch_size=32, verbose=0)
trainer.save(sys.argv[1] + "/trainer.keras")
"""


@pytest.mark.slow
def test_a_trainer_that_tensorflow_saved_goes_on_on_jax_and_back(tmp_path):
    keras.utils.set_random_seed(1)
    trainer = trainers.SimCLR(
        dense(32, 16, inputs=392), projector=dense(16, 8, inputs=16), loss=losses.NTXent(0.2)
    )
    trainer.compile(keras.optimizers.Adam(1e-3))
    trainer.fit(pairs(), batch_size=32, verbose=0)
    trainer.save(tmp_path / "trainer.keras")
    printed = on_jax("-c", GO_ON, str(tmp_path))
    expected = trainer.predict(pairs()[0], verbose=0).sum()
    np.testing.assert_allclose(float(printed.split()[-1]), expected, rtol=1e-5)
    trainer.fit(pairs(), batch_size=32, verbose=0)  # one batch, whose order has no effect
    back = keras.saving.load_model(tmp_path / "trainer.keras")
    assert int(back.optimizer.iterations) == 2
    for one, other in zip(trainer.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
