"""Shared set-up: two logical CPU devices, quiet TensorFlow, memory, and folders of real data."""

import ctypes
import gc
import os
import sys
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("MPLBACKEND", "Agg")
# most of the time of XLA goes into optimizing what runs once
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

import keras
import numpy as np
import pytest

IS_LINUX = sys.platform == "linux"
IS_TENSORFLOW = keras.backend.backend() == "tensorflow"

if IS_TENSORFLOW:
    import tensorflow as tf

    # must happen before anything runs on a device
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


def pytest_addoption(parser):
    parser.addoption("--memory", action="store_true", help="print the memory of each worker")
    parser.addoption("--every", type=int, default=1, help="run only every n-th test")


def _memory():
    """The memory of this process, now and at most, in GB; zeros where the system does not tell."""
    status = Path("/proc/self/status")
    lines = [line.split() for line in status.read_text().splitlines()] if status.exists() else []
    fields = {line[0]: line[1] for line in lines if len(line) > 1}
    return [int(fields.get(name, 0)) / 1e6 for name in ("VmRSS:", "VmHWM:")]


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["memory"] = _memory()


class _WorkerMemory:
    """Prints the memory that the workers of pytest-xdist had."""

    def __init__(self):
        self.found = {}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.found[node.gateway.id] = getattr(node, "workeroutput", {}).get("memory", [0, 0])

    def pytest_terminal_summary(self, terminalreporter):
        for name, memory in sorted((self.found or {"this process": _memory()}).items()):
            terminalreporter.write_line(
                f"{name}: {memory[0]:.1f} GB at the end, {memory[1]:.1f} GB at most"
            )


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(config, items):
    """Cases beyond those that `few` asks for run among the `full` tests; `--every` samples all."""
    cases = defaultdict(list)
    for item in items:
        if item.get_closest_marker("few"):
            cases[item.parent.nodeid, item.originalname].append(item)
    for same in cases.values():
        count = same[0].get_closest_marker("few").args[0]
        # spread over all cases, from the first to the last
        kept = {round(position) for position in np.linspace(0, len(same) - 1, count)}
        for number, item in enumerate(same):
            if number not in kept:
                item.add_marker("full")
    every = config.getoption("--every")
    if every > 1:
        config.hook.pytest_deselected(items=[x for n, x in enumerate(items) if n % every])
        items[:] = items[::every]


def pytest_collection_finish():
    """What is imported and collected stays, so that collecting garbage need not look at it."""
    gc.collect()
    gc.freeze()


def pytest_configure(config):
    if config.getoption("--memory") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_WorkerMemory())


@pytest.fixture(scope="module", autouse=True)
def return_memory():
    """What the tests of a module used is given back to the system at the end of the module."""
    yield
    if keras.backend.backend() == "jax" and _memory()[0] > 3:
        import jax

        jax.clear_caches()  # of compiled operations, one for each shape
    gc.collect()
    if IS_LINUX:
        # glibc keeps what Python and TensorFlow have freed for this process
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(autouse=True)
def fixed_seeds():
    """Every test starts from the same random state."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def forget_custom_gradients():
    """What a test traced is freed with it.

    In a graph, `tf.custom_gradient` puts a function that holds the whole graph into a registry of
    the process, and nothing takes it out. Keras' optimizers sum gradients through one, so that the
    graph of every training step that was ever traced would stay.
    """
    if not IS_TENSORFLOW:
        yield
        return
    from tensorflow.python.framework.ops import gradient_registry

    registered = gradient_registry._registry
    before = set(registered)
    yield
    for name in set(registered) - before:
        if name.startswith("CustomGradient-"):
            del registered[name]


@pytest.fixture
def rng():
    """A NumPy generator with a fixed seed."""
    return np.random.default_rng(0)


@pytest.fixture
def set_dtype_policy():
    """A function that sets Keras' dtype policy until the test ends."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture
def deterministic():
    """Operations give the same bits every time."""
    if not IS_TENSORFLOW:
        yield
        return
    from tensorflow.python.framework.config import disable_op_determinism

    tf.config.experimental.enable_op_determinism()
    yield
    disable_op_determinism()


# One strategy per process: a second one reuses the first one's collective keys, and TensorFlow then
# stops its `all_gather` with "Shape mismatch in the collective instance".
@pytest.fixture(scope="session")
def two_replicas():
    """A mirrored strategy over two logical CPU devices."""
    if not IS_TENSORFLOW:
        pytest.skip("tf.distribute needs the TensorFlow backend")
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture
def tfds_dir():
    """The folder with prepared TFDS sets, where this machine has one."""
    root = os.environ.get("KERAS_SSL_DATA_DIR")
    folder = Path(root) / "tfds" if root else None
    if folder is None or not folder.is_dir():
        pytest.skip("no prepared data sets: KERAS_SSL_DATA_DIR names no folder with tfds/ in it")
    return folder


@pytest.fixture
def graph_dir():
    """The folder with the files of Planetoid and TU, where this machine has one."""
    root = os.environ.get("KERAS_SSL_DATA_DIR")
    if not root or not all((Path(root) / name).is_dir() for name in ("planetoid", "tu")):
        pytest.skip("no graphs: KERAS_SSL_DATA_DIR names no folder with planetoid/ and tu/ in it")
    return Path(root)


@pytest.fixture(scope="session")
def two_workers(tmp_path_factory):
    """A function from the name of a check in `tests/distribute/pair.py` to both workers' results.

    All processes of a test run share one pair of workers.
    """
    if not IS_TENSORFLOW:
        pytest.skip("tf.distribute needs the TensorFlow backend")
    from tests.distribute.run_pair import worker_pair

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with worker_pair(folder / "two_workers") as results:
        yield results
