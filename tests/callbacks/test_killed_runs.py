"""Processes that are killed with SIGKILL during training, and started again."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("killed_run.py")
LAUNCH = ("-m", "keras_ssl.distribute.launch", "--workers", "2")
TWO = ("--strategy", "multi_worker")


def run(*arguments, timeout=600):
    """Run Python to its end; return its exit code and its output."""
    ended = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=SCRIPT.parents[2],
    )
    return ended.returncode, ended.stdout + ended.stderr


def assert_same_bits(folder, other, workers=1):
    for worker in range(workers):
        with (
            np.load(folder / f"worker{worker}.npz") as a,
            np.load(other / f"worker{worker}.npz") as b,
        ):
            assert set(a.files) == set(b.files) and len(a.files) > 20
            for name in a.files:
                assert a[name].tobytes() == b[name].tobytes(), name


@pytest.mark.slow
def test_one_device(tmp_path):
    """Killed by itself, then from outside: while training, starting up or backing up."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    code, printed = run(SCRIPT, whole)
    assert code == 0, printed

    command = (SCRIPT, killed, "--kill", "0:1:2")
    code, printed = run(*command)
    assert code == -signal.SIGKILL
    assert "Epoch 2/3" in printed and "Epoch 3/3" not in printed

    rng = np.random.default_rng(0)
    backup = killed / "backup" / "backup.npz"
    for number in range(4):
        process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=SCRIPT.parents[2],
        )
        before = backup.stat().st_mtime_ns
        # the first two are killed while they start up, the others after at least one backup
        starts_up = number < 2
        while process.poll() is None and not starts_up:
            if backup.stat().st_mtime_ns != before:
                break
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 3.0 if starts_up else 0.02))
        process.kill()
        process.wait()
        if number == 1:  # nothing has been trained since the first kill
            code, printed = run(*command[:2], "--kill", "0:1:3")
            assert code == -signal.SIGKILL
            assert "epoch 2, 2 steps done" in printed and "Epoch 1/3" not in printed
    code, printed = run(*command)
    assert code == 0, printed
    assert_same_bits(whole, killed)


@pytest.mark.full
def test_two_workers(tmp_path):
    """The launcher starts all again when the chief, and later the other worker, is killed."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    code, printed = run(*LAUNCH, SCRIPT, whole, *TWO)
    assert code == 0, printed
    assert "[launch]" not in printed

    logs = ("--restarts", 3, "--log-dir", tmp_path / "logs")
    kills = ("--kill", "0:1:2", "--kill", "1:2:begin")
    code, printed = run(*LAUNCH, *logs, SCRIPT, killed, *TWO, *kills)
    assert code == 0, printed
    for index in (0, 1):
        assert f"[launch] worker {index} was killed by SIGKILL; stopping the others" in printed
    assert "[launch] starting all workers again (2 of 3)" in printed and "(3 of 3)" not in printed
    assert "epoch 2, 2 steps done" in printed
    # only the chief prints epochs, and the first one is not repeated
    lines = re.findall(r"^.*Epoch \d+/3$", printed, re.MULTILINE)
    assert all(line.startswith("[worker 0] Epoch") for line in lines)
    numbers = [int(line.split()[3].partition("/")[0]) for line in lines]
    assert numbers.count(1) == 1 and numbers[-2:] == [2, 3]
    assert "Epoch" in (tmp_path / "logs" / "worker-0.log").read_text()
    assert_same_bits(whole, killed, workers=2)
    with np.load(killed / "worker0.npz") as file:
        assert len(file["loss"]) == 3


def test_workers_that_do_not_share_the_folder(two_workers):
    for found in two_workers("backups_in_own_folders"):
        assert "ValueError: Workers found different backups" in str(found["message"])
        assert "replicas without a backup: [1] of 2" in str(found["message"])


if hasattr(os, "fork"):

    def test_a_kill_during_a_write_leaves_a_complete_file(tmp_path):
        from keras_ssl.callbacks._backup_file import read_backup, remove_unfinished, write_backup

        path = tmp_path / "backup.npz"
        names = [f"array {i}" for i in range(8)]
        rng = np.random.default_rng(0)
        write_backup(path, {"number": 0}, {name: np.zeros(40_000) for name in names})
        numbers, leftovers = [0], 0
        for _ in range(20):
            child = os.fork()
            if child == 0:
                number = numbers[-1]
                while True:  # until it is killed
                    number += 1
                    arrays = {name: np.full(40_000, float(number)) for name in names}
                    write_backup(path, {"number": number}, arrays)
            time.sleep(rng.uniform(0.0, 0.05))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            manifest, arrays, _ = read_backup(path)
            assert all((arrays[name] == manifest["number"]).all() for name in names)
            assert manifest["number"] >= numbers[-1]
            numbers.append(manifest["number"])
            leftovers += len(list(tmp_path.glob("*.tmp")))
            remove_unfinished(path)
            assert [file.name for file in tmp_path.iterdir()] == ["backup.npz"]
        assert numbers[-1] > 5  # backups were written
        assert leftovers > 5  # and interrupted by kills
