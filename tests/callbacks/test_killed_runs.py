"""Processes that are killed with SIGKILL in the middle of an epoch, and started again."""

import os
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


def run(*arguments, timeout=300):
    """Run Python to its end; return its code and what it printed."""
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
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    code, printed = run(SCRIPT, whole)
    assert code == 0, printed

    command = (SCRIPT, killed, "--kill", "1:2")
    code, printed = run(*command)
    assert code == -signal.SIGKILL
    assert "Epoch 2/3" in printed and "Epoch 3/3" not in printed
    code, printed = run(*command)
    assert code == 0, printed
    assert "epoch 2, 2 steps done" in printed and "Epoch 1/3" not in printed
    assert_same_bits(whole, killed)


@pytest.mark.slow
def test_killed_from_outside_at_any_moment(tmp_path):
    """Again and again, while training, starting up or backing up, until it comes to its end."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert run(SCRIPT, whole)[0] == 0
    rng = np.random.default_rng(0)
    backup = killed / "backup" / "backup.npz"
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(killed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=SCRIPT.parents[2],
        )
        before = backup.stat().st_mtime_ns if backup.exists() else 0
        while process.poll() is None:
            if backup.exists() and backup.stat().st_mtime_ns != before:
                break  # it has gone on by one backup at least
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.wait()
    code, printed = run(SCRIPT, killed)
    assert code == 0, printed
    assert_same_bits(whole, killed)


@pytest.mark.slow
@pytest.mark.parametrize("worker", [0, 1], ids=["chief", "other"])
def test_two_workers(tmp_path, worker):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    code, printed = run(*LAUNCH, SCRIPT, whole, *TWO)
    assert code == 0, printed
    code, printed = run(
        *(*LAUNCH, "--restarts", 1, SCRIPT, killed, *TWO),
        *("--kill", "1:2", "--kill-worker", worker),
    )
    assert code == 0, printed
    assert "starting all workers again" in printed
    assert "epoch 2, 2 steps done" in printed
    assert_same_bits(whole, killed, workers=2)


@pytest.mark.slow
def test_workers_that_do_not_share_the_folder_are_told(tmp_path):
    command = (*LAUNCH, SCRIPT, tmp_path, *TWO, "--own-folders")
    assert run(*command, "--kill", "1:2")[0] != 0
    code, printed = run(*command)
    assert code != 0
    assert "Workers found different backups" in printed
    assert "replicas without a backup: [1] of 2" in printed


if hasattr(os, "fork"):

    def test_a_kill_while_writing_leaves_a_whole_file(tmp_path):
        from keras_ssl.callbacks.backup_file import read_backup, remove_unfinished, write_backup

        path = tmp_path / "backup.npz"
        names = [f"array {i}" for i in range(8)]
        rng = np.random.default_rng(0)
        write_backup(path, {"number": 0}, {name: np.zeros(200_000) for name in names})
        numbers, leftovers = [0], 0
        for _ in range(30):
            child = os.fork()
            if child == 0:
                number = numbers[-1]
                while True:  # until it is killed
                    number += 1
                    arrays = {name: np.full(200_000, float(number)) for name in names}
                    write_backup(path, {"number": number}, arrays)
            time.sleep(rng.uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            manifest, arrays, _ = read_backup(path)
            assert all((arrays[name] == manifest["number"]).all() for name in names)
            assert manifest["number"] >= numbers[-1]
            numbers.append(manifest["number"])
            leftovers += len(list(tmp_path.glob("*.tmp")))
            remove_unfinished(path)
            assert [file.name for file in tmp_path.iterdir()] == ["backup.npz"]
        assert numbers[-1] > 5  # it did write
        assert leftovers > 5  # and it was killed while writing
