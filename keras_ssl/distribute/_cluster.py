"""The workers of a cluster: which ones there are, and waiting until all of them run.

TensorFlow itself waits forever for a worker that does not come. So the workers first look for each
other over plain TCP, on the addresses that TensorFlow is about to use: each listens on its own
address and connects to the others, until all have answered. Nothing is sent. While TensorFlow then
connects them, in a call that blocks all Python threads, a small process keeps the time: this file,
run as a script. It must therefore import the standard library only.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

_EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_SECONDS_BETWEEN_CALLS = 0.2
_SECONDS_PER_CALL = 2.0


class Cluster(NamedTuple):
    """The workers of a cluster.

    Attributes:
        names: such as "worker 0", in the order of replicas; the first is the chief.
        addresses: `host:port` of each.
        index: number of this process among them.
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    index: int


def read_cluster() -> Cluster | None:
    """Read the environment variable `TF_CONFIG`; `None` if it is not set or names no cluster.

    Raises a `ValueError` if it is malformed.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"JSON ({error})") from None
    if not isinstance(config, dict):
        raise _malformed("a JSON object")
    if not config.get("cluster"):
        return None
    jobs = config["cluster"]
    if not isinstance(jobs, dict):
        raise _malformed("an object of lists of addresses as `cluster`")
    names, addresses = [], []
    for job in ("chief", "worker"):
        tasks = jobs.get(job, [])
        if not isinstance(tasks, list) or (job == "chief" and len(tasks) > 1):
            raise _malformed(f"a list of addresses as `cluster.{job}`, with at most one chief")
        names += [job if job == "chief" else f"{job} {i}" for i in range(len(tasks))]
        addresses += tasks
    if not addresses:
        raise _malformed("a list of addresses as `cluster.worker`")
    for address in addresses:
        parse_address(address)
    if len(set(addresses)) < len(addresses):
        raise _malformed("a different address for each worker")
    return Cluster(tuple(names), tuple(addresses), _own_index(config.get("task"), names))


def _own_index(task: Any, names: list[str]) -> int:
    if not isinstance(task, dict) or task.get("type") not in ("chief", "worker"):
        raise _malformed('`task.type` to be "worker" or "chief"')
    index = task.get("index")
    if isinstance(index, str) and index.isdecimal():
        index = int(index)  # TensorFlow accepts it, and templates of schedulers write it
    job = task["type"]
    count = sum(name.partition(" ")[0] == job for name in names)
    if not count:
        raise _malformed(f"a `task.type` of the cluster, which has no {job}")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
        raise _malformed(f"`task.index` to be an integer from 0 to {count - 1}")
    return names.index(job if job == "chief" else f"{job} {index}")


def parse_address(address: Any) -> tuple[str, int]:
    """Split `host:port`, with an IPv6 host in brackets, into host and port."""
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise _malformed(f'addresses of the form "host:port", not {address!r}')
    return host.strip("[]"), int(port)


def _malformed(expected: str) -> ValueError:
    return ValueError(
        "The environment variable TF_CONFIG must name the workers and which of them this process "
        f"is, for example {_EXAMPLE}. Expected {expected}. "
        f"Received: TF_CONFIG={os.environ.get('TF_CONFIG')}"
    )


def meet(cluster: Cluster, timeout: float) -> None:
    """Wait until every worker can be reached, for at most `timeout` seconds.

    Raises a `RuntimeError` if this worker cannot listen on its own address, and a `TimeoutError`
    naming the workers that do not answer.
    """
    listener = _listen(cluster)
    try:
        silent = _silent_workers(cluster, timeout)
    finally:
        listener.close()
    if silent:
        raise TimeoutError(
            f"{cluster.names[cluster.index]} waited {timeout:g} s for the other workers. Check "
            "that they run, that all workers got the same `cluster` in TF_CONFIG, and that no "
            "firewall blocks the port, or pass a longer `timeout`. Received: no answer from "
            f"{len(silent)} of {len(cluster.names) - 1}: {', '.join(silent)}"
        )


def _silent_workers(cluster: Cluster, timeout: float) -> list[str]:
    """Call all other workers; return names and addresses of those that did not answer in time."""
    deadline = time.monotonic() + timeout
    others = [i for i in range(len(cluster.names)) if i != cluster.index]
    if not others:
        return []
    with ThreadPoolExecutor(min(len(others), 64)) as pool:
        answers = pool.map(lambda i: _answers_in_time(cluster.addresses[i], deadline), others)
        return [
            f"{cluster.names[i]} ({cluster.addresses[i]})"
            for i, answered in zip(others, answers, strict=True)
            if not answered
        ]


def _listen(cluster: Cluster) -> socket.socket:
    host, port = parse_address(cluster.addresses[cluster.index])
    # The name of a service may lead here without being an address of this machine: listen on all
    # addresses, as TensorFlow does, except for a cluster within this machine
    is_local = host in ("localhost", "::1") or host.startswith("127.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        everywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
        return socket.create_server((host if is_local else everywhere, port), family=family)
    except OSError as error:
        raise RuntimeError(
            f"{cluster.names[cluster.index]} cannot listen on its address in TF_CONFIG. Stop the "
            "process that uses the port, or choose another port. Received: "
            f"{cluster.addresses[cluster.index]}: {error.strerror or error}"
        ) from error


def _answers_in_time(address: str, deadline: float) -> bool:
    while True:
        left = deadline - time.monotonic()
        # at least one call, even after the deadline
        if answers(parse_address(address), min(_SECONDS_PER_CALL, max(left, 0.05))):
            return True
        if left <= _SECONDS_BETWEEN_CALLS:
            return False
        time.sleep(_SECONDS_BETWEEN_CALLS)


def answers(address: tuple[str, int], seconds: float = _SECONDS_PER_CALL) -> bool:
    """Whether a process accepts a connection at an address."""
    try:
        socket.create_connection(address, timeout=seconds).close()
    except OSError:
        return False
    return True


@contextmanager
def watched(cluster: Cluster, timeout: float) -> Iterator[None]:
    """Kill this process, with a message, unless the body ends within `timeout` seconds."""
    own = cluster.names[cluster.index]
    peers = [
        (name, *parse_address(address))
        for name, address in zip(cluster.names, cluster.addresses, strict=True)
        if name != own
    ]
    settings = {"process": os.getpid(), "timeout": timeout, "name": own, "peers": peers}
    command = [sys.executable, "-I", __file__, json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE):
        yield  # closing the pipe, here or by dying, ends the watching process


def _watch() -> None:
    """Wait for the end of the pipe; if it does not come in time, print a message and kill."""
    settings = json.loads(sys.argv[1])
    if select.select([sys.stdin], [], [], settings["timeout"])[0]:
        return
    silent = [
        f"{name} ({host}:{port})"
        for name, host, port in settings["peers"]
        if not answers((host, port), 1.0)
    ]
    who = f"no answer from {', '.join(silent)}" if silent else "an answer from all of them"
    print(
        f"TimeoutError: {settings['name']} reached the other workers, but TensorFlow did not start "
        f"within {settings['timeout']:g} s. Check that each address in TF_CONFIG belongs to a "
        f"worker of this run, and that none of them has failed. Received: {who}",
        file=sys.stderr,
        flush=True,
    )
    os.kill(settings["process"], signal.SIGKILL)


if __name__ == "__main__":
    _watch()
