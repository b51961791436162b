"""End this process if TensorFlow waits too long for other workers, and say for whom.

TensorFlow waits inside one call, without end and without letting any other thread of Python run. So
a small process beside this one keeps the time. It is this file, run as a script.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def watched(cluster: Any, timeout: float) -> Iterator[None]:
    """Kill this process unless what runs inside ends in time.

    Args:
        cluster: the `keras_ssl.distribute.cluster.Cluster`.
        timeout: seconds.
    """
    from keras_ssl.distribute.cluster import parse_address

    names = list(cluster.names)
    peers = [(names[i], *parse_address(address)) for i, address in enumerate(cluster.addresses)]
    own = names[cluster.index]
    settings = {
        "process": os.getpid(),
        "timeout": timeout,
        "name": own,
        "peers": [peer for peer in peers if peer[0] != own],
    }
    command = [sys.executable, "-I", __file__, json.dumps(settings)]
    with subprocess.Popen(command, stdin=subprocess.PIPE):
        yield  # closing the pipe, here or by dying, ends it


def main() -> None:
    """Wait for the end of the pipe; if it does not come in time, complain and kill."""
    settings = json.loads(sys.argv[1])
    if select.select([sys.stdin], [], [], settings["timeout"])[0]:
        return
    silent = [
        f"{name} ({host}:{port})" for name, host, port in settings["peers"] if not _up(host, port)
    ]
    who = f"These do not answer: {', '.join(silent)}" if silent else "All answer"
    print(
        f"TimeoutError: {settings['name']} met the other workers, but TensorFlow did not start "
        f"within {settings['timeout']:g} s. {who}. Check that each address in TF_CONFIG is that of "
        "a worker of this run, and that none of them has failed",
        file=sys.stderr,
        flush=True,
    )
    os.kill(settings["process"], signal.SIGKILL)


def _up(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
