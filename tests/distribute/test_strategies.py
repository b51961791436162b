import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from keras_ssl import distribute
from keras_ssl.distribute import strategies
from keras_ssl.distribute.launch._worker import HOST, find_ports

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("strategies need the TensorFlow backend", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["auto", "one_device"])
def test_one_device_is_the_default_strategy(name):
    assert distribute.strategy(name) is tf.distribute.get_strategy()


def test_auto_chooses_among_the_available_devices(monkeypatch):
    gpus, tpus = [], []
    monkeypatch.setattr(
        tf.config, "list_physical_devices", lambda kind: {"GPU": gpus, "TPU": tpus}[kind]
    )
    assert strategies._best(None, None) == "one_device"
    assert strategies._best(2, None) == "mirrored"
    gpus += ["GPU:0", "GPU:1"]
    assert strategies._best(None, None) == "mirrored"
    assert strategies._best(None, "local") == "tpu"
    tpus += ["TPU:0"]
    assert strategies._best(None, None) == "tpu"
    one, two = ([f"host{i}:1" for i in range(count)] for count in (1, 2))
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": one}, "task": task}))
    assert strategies._best(None, None) == "tpu"
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": two}, "task": task}))
    assert strategies._best(None, None) == "multi_worker"


def test_seed_is_set():
    distribute.strategy("one_device", seed=3)
    first = keras.random.uniform((2,), seed=keras.random.SeedGenerator())
    distribute.strategy("one_device", seed=3)
    again = keras.random.uniform((2,), seed=keras.random.SeedGenerator())
    assert first.numpy().tolist() == again.numpy().tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "many"}, r"one of \('auto', 'one_device'.*Received: name='many'"),
        ({"name": "mirrored", "replicas": 0}, "positive integer"),
        ({"name": "mirrored", "replicas": -2}, "positive integer"),
        ({"name": "one_device", "replicas": 2}, '"one_device" has as many as there are devices'),
        ({"name": "one_device", "timeout": 0}, "`timeout` must be a positive number"),
        ({"name": "multi_worker"}, "needs the environment variable TF_CONFIG"),
        ({"name": "tpu"}, "Without a TPU, choose another strategy"),
        ({"name": "tpu", "tpu": "grpc://127.0.0.1:1"}, "no answer from grpc://127.0.0.1:1"),
    ],
)
def test_wrong_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        distribute.strategy(**arguments)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("replicas", 2.0, "`replicas` must be a positive integer or None"),
        ("timeout", "60", "`timeout` must be a positive number"),
    ],
)
def test_wrong_types(name, value, message):
    with pytest.raises(TypeError, match=message):
        distribute.strategy("mirrored", **{name: value})


def test_malformed_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{")
    for name in ("auto", "multi_worker"):
        with pytest.raises(ValueError, match="TF_CONFIG"):
            distribute.strategy(name)


def test_a_cpu_cannot_be_split_after_it_was_used():
    tf.constant(1)
    with pytest.raises(RuntimeError, match=r"too late to split the CPU into 64 devices"):
        distribute.strategy("mirrored", replicas=64)


def run(code, **environment):
    """Run code in a process in which TensorFlow has not run yet; return its code and output."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    return found.returncode, found.stdout + found.stderr


def test_a_cpu_is_split_and_workers_cannot_be_joined_after_that():
    cluster = {"worker": [f"{HOST}:{find_ports(1)[0]}"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    code = (
        "import keras\n"
        "from keras_ssl import distribute\n"
        "strategy = distribute.strategy('mirrored', replicas=3, seed=1)\n"
        "print('replicas', strategy.num_replicas_in_sync)\n"
        "keras.layers.Dense(1).build((None, 1))\n"
        "distribute.strategy('multi_worker', timeout=20)\n"
    )
    status, printed = run(code, TF_CONFIG=json.dumps(config))
    assert "replicas 3" in printed, printed
    assert status == 1, printed
    assert "RuntimeError: It is too late to connect to the other workers" in printed
    assert 'Call `distribute.strategy("multi_worker")` first' in printed


def test_a_worker_that_listens_but_does_not_start_gives_a_timeout():
    first, second = find_ports(2)
    config = {
        "cluster": {"worker": [f"{HOST}:{first}", f"{HOST}:{second}"]},
        "task": {"type": "worker", "index": 0},
    }
    code = "from keras_ssl import distribute\ndistribute.strategy('multi_worker', timeout=2)\n"
    with socket.create_server((HOST, second)):
        status, printed = run(code, TF_CONFIG=json.dumps(config))
    assert status == -signal.SIGKILL, printed
    assert "worker 0 reached the other workers, but TensorFlow did not start within 2 s" in printed
    assert "Received: an answer from all of them" in printed
