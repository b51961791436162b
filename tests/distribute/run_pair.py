"""Run `pair.py` in two worker processes, once a group of checks for all tests of a session."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keras_ssl.distribute.launch.shares import HOST, find_ports
from tests.trainers.cases import DEFAULT_CASES

ROOT = Path(__file__).resolve().parents[2]
SECONDS = {"first": 300, "further": 1500}


def group_of(check: str) -> str:
    """The run that a check belongs to: that of the default tests, or that of the slow ones."""
    trainer = check.removeprefix("exactness ")
    return "first" if trainer in (check, *DEFAULT_CASES) else "further"


def start_worker(code: list[str], index: int, ports: list[int], output) -> subprocess.Popen:
    """Start a Python process as one worker of a cluster on loopback."""
    cluster = {"worker": [f"{HOST}:{port}" for port in ports]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
    environment = {
        **os.environ,
        "TF_CONFIG": json.dumps(config),
        "PYTHONPATH": str(ROOT),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        # the tests share the processors with one another
        "TF_NUM_INTRAOP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, *code], env=environment, stdout=output, stderr=subprocess.STDOUT, text=True
    )


def run_pair(folder: Path, group: str) -> None:
    """Run both workers to their end; kill both if one fails or time is up."""
    ports = find_ports(2)
    logs = [(folder / f"worker-{index}.log").open("w") for index in range(2)]
    code = [str(Path(__file__).with_name("pair.py")), str(folder), group]
    workers = [start_worker(code, index, ports, logs[index]) for index in range(2)]
    deadline = time.monotonic() + SECONDS[group]
    try:
        while any(worker.poll() is None for worker in workers):
            if time.monotonic() > deadline or any(worker.poll() for worker in workers):
                time.sleep(2)  # for the other's own error
                return
            time.sleep(0.2)
    finally:
        for worker, log in zip(workers, logs, strict=True):
            worker.kill()  # TensorFlow ignores SIGTERM
            worker.wait()
            log.close()


def results_of_pair(folder: Path, group: str) -> Callable[[str], tuple[dict, dict]]:
    """Run the pair, unless another process of this test run does; wait for its end."""
    try:
        folder.mkdir()
    except FileExistsError:
        deadline = time.monotonic() + SECONDS[group] + 30
        while not (folder / "ended").exists():
            assert time.monotonic() < deadline
            time.sleep(0.2)
    else:
        try:
            run_pair(folder, group)
        finally:
            (folder / "ended").touch()

    def results(check: str) -> tuple[dict, dict]:
        found = []
        for worker in ("chief", "other"):
            path = folder / worker / f"{check}.npz"
            if not path.exists():
                errors = [error.read_text() for error in folder.glob("*/*.txt")]
                logs = [log.read_text()[-3000:] for log in folder.glob("*.log")]
                pytest.fail(f"no {path}\n" + "\n".join(errors or logs), pytrace=False)
            with np.load(path) as arrays:
                found.append(dict(arrays))
        return tuple(found)

    return results
