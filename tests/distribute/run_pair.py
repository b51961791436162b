"""One pair of worker processes, `pair.py`, which runs checks for all test processes of a session.

They share a folder. A test asks for a check by a file in `requests`, the chief numbers the requests
in `order`, and both workers write what they found into folders of their own. The pair starts with
the first request and ends when no test process is left in `users`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from keras_ssl.distribute.launch._worker import HOST, find_ports

ROOT = Path(__file__).resolve().parents[2]
WORKERS = ("chief", "other")
SECONDS_PER_CHECK = 600


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    with suppress(OSError):
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(") ")[2][0] not in "ZX"
    return False


def has_users(folder: Path) -> bool:
    """Whether a test process is left that may ask for checks."""
    return any(is_running(int(file.name)) for file in (folder / "users").iterdir())


@contextmanager
def worker_pair(folder: Path) -> Iterator[Callable[[str], tuple[dict, dict]]]:
    """A function from the name of a check to the results of the chief and of the other worker."""
    user = folder / "users" / str(os.getpid())

    def results(check: str) -> tuple[dict, dict]:
        if not user.exists():
            _join(folder, user)
        (folder / "requests" / check).touch()
        paths = [folder / worker / f"{check}.npz" for worker in WORKERS]
        deadline = time.monotonic() + SECONDS_PER_CHECK
        while not all(path.exists() for path in paths):
            pids = [int(pid) for pid in (folder / "pids").read_text().split()]
            if time.monotonic() > deadline or not all(map(is_running, pids)):
                _fail(folder, check, pids)
            time.sleep(0.05)
        found = []
        for path in paths:
            with np.load(path) as arrays:
                found.append(dict(arrays))
        return tuple(found)

    try:
        yield results
    finally:
        user.unlink(missing_ok=True)


def _join(folder: Path, user: Path) -> None:
    """Register as a user of the pair; the first test process starts it."""
    folder.mkdir(exist_ok=True)
    user.parent.mkdir(exist_ok=True)
    user.touch()
    try:
        (folder / "requests").mkdir()
    except FileExistsError:
        while not (folder / "pids").exists():
            assert has_users(folder)
            time.sleep(0.05)
        return
    for name in ("order", *WORKERS):
        (folder / name).mkdir()
    ports = find_ports(2)
    pids = [str(_start_worker(folder, index, ports)) for index in range(2)]
    unfinished = folder / "pids.tmp"
    unfinished.write_text(" ".join(pids))
    unfinished.rename(folder / "pids")


def _start_worker(folder: Path, index: int, ports: list[int]) -> int:
    """Start one worker of a cluster on loopback; return its process id."""
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
    command = [sys.executable, str(Path(__file__).with_name("pair.py")), str(folder)]
    with (folder / f"worker-{index}.log").open("w") as log:
        started = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    return started.pid


def _fail(folder: Path, check: str, pids: list[int]) -> None:
    """End both workers, one of which has failed or takes too long, and tell why."""
    time.sleep(1)  # for the traceback of the other one
    for pid in filter(is_running, pids):
        os.kill(pid, signal.SIGKILL)  # TensorFlow ignores SIGTERM
    errors = [f"{file}:\n{file.read_text()}" for file in folder.glob("*/*.txt")]
    logs = [log.read_text()[-3000:] for log in folder.glob("*.log")]
    pytest.fail(f"no results of {check!r}\n" + "\n".join(errors or logs), pytrace=False)
