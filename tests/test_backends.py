"""Layers, losses, optimizers and augmentation pass their own tests on the JAX backend too."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ssl import checks
from tests.evaluate.on_both_backends import measures

ROOT = Path(__file__).resolve().parents[1]


ENGINE = "trainers/engine/jax distribute/test_transformer_parallel.py"
FOLDERS = [
    "ops",
    "layers/activation layers/dense layers/diffusion layers/heads layers/memory layers/recurrent",
    "layers/normalization layers/graph/conv/test_gcn_conv.py",
    "losses",
    "augment/test_contract.py augment/sequence augment/tabular",
    "optimizers samplers",
    "decoding",
    "layers/attention layers/tokens layers/transformer",
    "layers/graph",
    "augment graphs networks",
    ENGINE,
    "evaluate",
    "visualize callbacks/test_sample_grid.py text/test_text_model.py",
]
# JAX compiles every operation for each shape, so that CI runs a part of the tests
SAMPLED = FOLDERS[1:7]


@pytest.mark.parametrize(
    ("folders", "every"),
    [
        ("ops", 1),
        *(pytest.param(folders, 5, marks=pytest.mark.slow) for folders in SAMPLED),
        pytest.param(ENGINE, 3, marks=pytest.mark.slow),
        pytest.param("benchmarks/test_gpu.py", 1, marks=pytest.mark.slow),
        pytest.param("evaluate", 16, marks=pytest.mark.slow),
        *(pytest.param(folders, 1, marks=pytest.mark.full) for folders in FOLDERS[1:]),
    ],
)
def test_folders_on_jax(folders, every):
    if keras.backend.backend() == "jax":
        pytest.skip("this is that run")
    pytest.importorskip("jax")
    paths = [f"tests/{folder}" for folder in folders.split()]
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *("--every", str(every), *paths),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            # most of the time goes into compiling what runs once
            "XLA_FLAGS": "--xla_backend_optimization_level=0"
            " --xla_llvm_disable_expensive_passes=true"
            " --xla_force_host_platform_device_count=2",
        },
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert " passed" in run.stdout


def test_all_folders_of_layers_are_run_on_jax():
    named = " ".join(FOLDERS)
    folders = {
        path.name
        for path in (ROOT / "tests" / "layers").iterdir()
        if any(path.glob("**/test_*.py"))
    }
    assert {f"layers/{name}" for name in folders} <= set(named.split())


USE_EVERYTHING = """
import sys, tempfile

class NoTensorFlow:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ImportError("TensorFlow is imported")

sys.meta_path.insert(0, NoTensorFlow())
import keras, numpy as np, keras_ssl

x, y = np.random.default_rng(0).normal(size=(16, 4)).astype("float32"), np.arange(16) % 2

# trainers run without TensorFlow
trainer = keras_ssl.trainers.BYOL(
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)]),
    projector=keras.layers.Dense(3), predictor=keras.layers.Dense(3),
)
trainer.compile("adam", probe=keras_ssl.trainers.OnlineProbe(2))
callbacks = keras_ssl.callbacks
measures = [callbacks.KNNCallback((x, y), (x, y), k=3), callbacks.CollapseMonitor(x)]
options = {"batch_size": 8, "epochs": 3, "verbose": 0, "callbacks": measures}
history = trainer.fit((x, x + 0.1), y, validation_data=((x, x), y), **options).history
assert {"knn_accuracy", "effective_rank", "val_loss"} <= set(history), history
assert history["loss"][-1] < history["loss"][0] and "probe_accuracy" in history, history
assert trainer.predict(x, verbose=0).shape == (16, 4)
assert np.isfinite(trainer.evaluate((x, x), y, verbose=0)).all()
with tempfile.TemporaryDirectory() as folder:
    trainer.save(folder + "/trainer.keras")
    loaded = keras.saving.load_model(folder + "/trainer.keras")
np.testing.assert_allclose(loaded(x), trainer(x), rtol=1e-6)

# so does evaluation
from tests.evaluate.on_both_backends import measures
np.savez(sys.argv[1], **measures())

encoder = keras.Sequential([keras.layers.Dense(4)])
uses = {}
for function in (keras_ssl.optimizers.fit_lbfgs, keras_ssl.optimizers.fit_hessian_free):
    uses[function.__name__] = lambda function=function: function(encoder, x)
uses["strategy"] = lambda: keras_ssl.distribute.strategy("auto")
uses["shard_batches"] = lambda: keras_ssl.distribute.shard_batches(None, 4)
for name, use in uses.items():
    try:
        use()
    except RuntimeError as error:
        assert "need the TensorFlow backend" in str(error) and "KERAS_BACKEND" in str(error), name
        assert "Received: the backend 'jax'" in str(error), name
    else:
        raise AssertionError(name)

# what needs no TensorFlow goes on working
assert keras_ssl.trainers.Tower(encoder, 3)(x).shape == (16, 3)
assert 1.0 < keras_ssl.evaluate.effective_rank(np.eye(4)[[0, 1, 2, 3, 1]]) <= 4.0
assert callbacks.StopOnNaN() and not hasattr(keras_ssl, "no_such_room")
assert "tensorflow" not in sys.modules
print(len(uses), "uses")
"""


def test_trainers_and_evaluation_need_no_tensorflow_and_measure_the_same(tmp_path):
    pytest.importorskip("jax")
    path = tmp_path / "measures.npz"
    run = subprocess.run(
        [sys.executable, "-c", USE_EVERYTHING, path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout.split()[-2]) == 4
    if keras.backend.backend() != "tensorflow":
        return
    on_jax, ours = np.load(path), measures()
    assert set(on_jax) == set(ours)
    for name, value in ours.items():
        np.testing.assert_allclose(on_jax[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_sentence_names_the_backend(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match=r"Strategies need.*Received: the backend 'torch'"):
        checks.tensorflow_backend("Strategies")
    with pytest.raises(RuntimeError, match=r"the JAX backend.*Received: the backend 'torch'"):
        checks.training_backend()
