"""The launcher's command line."""

import argparse
import os
from pathlib import Path

from .shares import available_cores, share_cores, share_gpus


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The settings of the command line; ends the process with code 2 on mistakes."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_ssl.distribute.launch",
        description="Run a training script in several worker processes on this machine.",
    )
    add = parser.add_argument
    add("--workers", type=int, required=True, help="worker processes to start")
    add("--restarts", type=int, default=0, help="how often to start again when a worker dies")
    add("--cores-per-worker", type=int, help="default: the cores in equal shares, if they divide")
    add("--port", type=int, help="of the first worker, the next one for the second, and so on")
    add("--log-dir", type=Path, help="folder for one file a worker of what it prints")
    add("--stop-timeout", type=float, default=30.0, help="seconds to stop in, before SIGKILL")
    add("-m", "--module", action="store_true", help="`script` is a module, as in `python -m`")
    add("script", help="Python file, or module with -m")
    add("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    arguments = parser.parse_args(argv)

    if arguments.workers < 1:
        parser.error(f"--workers must be at least 1. Received: {arguments.workers}")
    if arguments.restarts < 0:
        parser.error(f"--restarts must not be below 0. Received: {arguments.restarts}")
    if not arguments.stop_timeout >= 0:
        parser.error(f"--stop-timeout must not be below 0. Received: {arguments.stop_timeout}")
    last = (arguments.port or 1) + arguments.workers - 1
    if arguments.port is not None and not 1 <= arguments.port <= last <= 65535:
        parser.error(f"--port must leave all ports in 1 to 65535. Received: {arguments.port}")
    if not arguments.module and not Path(arguments.script).is_file():
        parser.error(f"there is no file {arguments.script}")
    if "TF_CONFIG" in os.environ:
        parser.error(
            "TF_CONFIG is set already, so this process is one worker of a cluster. Start the "
            "script itself, or unset TF_CONFIG to start workers on this machine"
        )
    try:
        share_cores(available_cores(), arguments.workers, arguments.cores_per_worker)
        share_gpus(arguments.workers, os.environ.get("CUDA_VISIBLE_DEVICES"))
    except ValueError as error:
        parser.error(str(error))
    return arguments
