"""Which workers there are, and which of them this process is."""

import json
import os
from typing import Any, NamedTuple

_EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


class Cluster(NamedTuple):
    """The workers of a cluster.

    Attributes:
        names: such as "worker 0", in the order of their replicas; the first is the chief.
        addresses: `host:port` of each.
        index: which of them this process is.
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    index: int


def read_cluster() -> Cluster | None:
    """Read the environment variable `TF_CONFIG`.

    Returns:
        The workers, or `None` where `TF_CONFIG` is not set or names no cluster.

    Raises:
        ValueError: if it is not JSON, or does not say which workers there are and which of them
            this process is.
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
            raise _malformed(f"a list of addresses as `cluster.{job}`, of a chief at most one")
        names += [job if job == "chief" else f"{job} {i}" for i in range(len(tasks))]
        addresses += tasks
    if not addresses:
        raise _malformed("a list of addresses as `cluster.worker`")
    for address in addresses:
        parse_address(address)
    if len(set(addresses)) < len(addresses):
        raise _malformed("different addresses of all workers")
    return Cluster(tuple(names), tuple(addresses), _own_index(config.get("task"), names))


def _own_index(task: Any, names: list[str]) -> int:
    if not isinstance(task, dict) or task.get("type") not in ("chief", "worker"):
        raise _malformed('`task.type` of "worker" or "chief"')
    index = task.get("index")
    if isinstance(index, str) and index.isdecimal():
        index = int(index)  # TensorFlow takes it, and templates of schedulers write it
    job = task["type"]
    count = sum(name.partition(" ")[0] == job for name in names)
    if not count:
        raise _malformed(f"a `task.type` that the cluster has: it has no {job}")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
        raise _malformed(f"a `task.index` from 0 to {count - 1}: a {job} of the cluster")
    return names.index(job if job == "chief" else f"{job} {index}")


def parse_address(address: Any) -> tuple[str, int]:
    """Split an address of `TF_CONFIG`.

    Args:
        address: `host:port`, with an IPv6 host in brackets.

    Returns:
        The host and the port.

    Raises:
        ValueError: if it is anything else.
    """
    host, _, port = address.rpartition(":") if isinstance(address, str) else ("", "", "")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise _malformed(f'addresses of the form "host:port", not {address!r}')
    return host.strip("[]"), int(port)


def _malformed(expected: str) -> ValueError:
    return ValueError(
        f"The environment variable TF_CONFIG must tell the workers and which of them this is, "
        f"for example {_EXAMPLE}. Expected {expected}. "
        f"Received: TF_CONFIG={os.environ.get('TF_CONFIG')}"
    )
