"""What each worker gets of this machine: cores, GPUs, a port, environment variables."""

import contextlib
import json
import os
import socket

HOST = "127.0.0.1"


def available_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share_cores(
    cores: list[int], workers: int, per_worker: int | None = None
) -> list[list[int]] | None:
    """Give every worker cores of its own.

    Args:
        cores: numbers of the cores to share.
        workers: how many workers there are.
        per_worker: cores of each, or `None` for equal shares.

    Returns:
        One list of cores a worker, or `None` where `cores` do not divide by the workers: then all
        workers use all cores.

    Raises:
        ValueError: if there are fewer cores than were asked for.
    """
    if per_worker is None:
        if len(cores) % workers:
            return None
        per_worker = len(cores) // workers
    if per_worker < 1 or per_worker * workers > len(cores):
        raise ValueError(
            f"--cores-per-worker must be from 1 to {len(cores) // workers}: {workers} workers "
            f"share {len(cores)} cores. Received: {per_worker}"
        )
    return [cores[i * per_worker : (i + 1) * per_worker] for i in range(workers)]


def share_gpus(workers: int, visible: str | None) -> list[str] | None:
    """Give every worker GPUs of its own: TensorFlow takes all memory of all GPUs that it sees.

    Args:
        workers: how many workers there are.
        visible: the value of `CUDA_VISIBLE_DEVICES`, or `None` where it is not set.

    Returns:
        Its value for each worker, or `None` where it names no GPUs.

    Raises:
        ValueError: if the GPUs do not divide by the workers.
    """
    gpus = [gpu.strip() for gpu in (visible or "").split(",") if gpu.strip()]
    if not gpus or "-1" in gpus:
        return None
    if len(gpus) % workers:
        raise ValueError(
            "CUDA_VISIBLE_DEVICES must name equally many GPUs for each of the "
            f"{workers} workers. Received: {visible}"
        )
    each = len(gpus) // workers
    return [",".join(gpus[i * each : (i + 1) * each]) for i in range(workers)]


def find_ports(count: int, first: int | None = None) -> list[int]:
    """Ports of the loopback device that nobody listens on.

    Args:
        count: how many.
        first: the lowest of them, the others follow; `None` lets the system choose.

    Raises:
        OSError: if one of the ports that were asked for is taken.
    """
    wanted = [0] * count if first is None else range(first, first + count)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one, port in zip(sockets, wanted, strict=True):
            # a port that waits for the last packets of an earlier run is free
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((HOST, port))
            except OSError as error:
                raise OSError(error.errno, f"port {port} of {HOST}: {error.strerror}") from None
        return [one.getsockname()[1] for one in sockets]


def worker_environment(ports: list[int], index: int, cores: list[int] | None) -> dict[str, str]:
    """The environment variables of a worker, on top of this process's own.

    Args:
        ports: the ports of all workers.
        index: which worker it is.
        cores: the cores that it has for itself, or `None`.
    """
    environment = {
        **os.environ,
        "TF_CONFIG": json.dumps(
            {
                "cluster": {"worker": [f"{HOST}:{port}" for port in ports]},
                "task": {"type": "worker", "index": index},
            }
        ),
        "PYTHONUNBUFFERED": "1",  # so that lines come when they are printed
    }
    if cores is not None:
        # TensorFlow's two thread pools and NumPy's; what the user has set stays
        for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
            environment.setdefault(name, str(len(cores)))
    gpus = share_gpus(len(ports), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpus[index]
    return environment
