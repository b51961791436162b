"""Wait until all workers run, at most so long, and say who does not.

TensorFlow itself waits without end for a worker that does not come. So the workers look for each
other first, over plain TCP, on the addresses that TensorFlow is about to use: each listens on its
own and calls the others, until all have answered. Nothing is sent.
"""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

from keras_ssl.distribute.cluster import Cluster, parse_address

_SECONDS_BETWEEN_CALLS = 0.2
_SECONDS_PER_CALL = 2.0


def meet(cluster: Cluster, timeout: float) -> None:
    """Wait until every worker of a cluster can be reached.

    Args:
        cluster: the workers.
        timeout: seconds to wait at most.

    Raises:
        RuntimeError: if this worker cannot listen on its own address.
        TimeoutError: names the workers that do not answer.
    """
    listener = _listen(cluster)
    try:
        silent = silent_workers(cluster, timeout)
    finally:
        listener.close()
    if silent:
        raise TimeoutError(
            f"{cluster.names[cluster.index]} waited {timeout:g} s for the others, and "
            f"{len(silent)} of {len(cluster.names) - 1} do not answer: {', '.join(silent)}. Check "
            "that they run, that all workers got the same `cluster` in TF_CONFIG, and that no "
            "firewall closes the port. A longer `timeout` waits longer"
        )


def silent_workers(cluster: Cluster, timeout: float) -> list[str]:
    """Call all other workers until they answer, at most so long.

    Args:
        cluster: the workers.
        timeout: seconds.

    Returns:
        Name and address of each that did not answer.
    """
    deadline = time.monotonic() + timeout
    others = [i for i in range(len(cluster.names)) if i != cluster.index]
    if not others:
        return []
    with ThreadPoolExecutor(min(len(others), 64)) as pool:
        answers = pool.map(lambda i: _answers(cluster.addresses[i], deadline), others)
        return [
            f"{cluster.names[i]} ({cluster.addresses[i]})"
            for i, answered in zip(others, answers, strict=True)
            if not answered
        ]


def _listen(cluster: Cluster) -> socket.socket:
    host, port = parse_address(cluster.addresses[cluster.index])
    # the name of a service may lead here without being an address of this machine: listen on all,
    # as TensorFlow does, but for a cluster within this machine
    is_local = host in ("localhost", "::1") or host.startswith("127.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        everywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
        return socket.create_server((host if is_local else everywhere, port), family=family)
    except OSError as error:
        raise RuntimeError(
            f"{cluster.names[cluster.index]} cannot listen on its address in TF_CONFIG, "
            f"{cluster.addresses[cluster.index]}: {error.strerror or error}. Stop what uses the "
            "port, or choose another one"
        ) from error


def _answers(address: str, deadline: float) -> bool:
    """Whether somebody takes a call at an address before the deadline."""
    while True:
        left = deadline - time.monotonic()
        # one call at least, however late
        if answers(parse_address(address), min(_SECONDS_PER_CALL, max(left, 0.05))):
            return True
        if left <= _SECONDS_BETWEEN_CALLS:
            return False
        time.sleep(_SECONDS_BETWEEN_CALLS)


def answers(address: tuple[str, int], seconds: float = _SECONDS_PER_CALL) -> bool:
    """Whether somebody takes a call.

    Args:
        address: host and port.
        seconds: how long to try.
    """
    try:
        socket.create_connection(address, timeout=seconds).close()
    except OSError:
        return False
    return True
