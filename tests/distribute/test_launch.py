"""The launcher, with small scripts instead of training; it only imports the standard library."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_ssl.distribute.launch._program import parse_arguments
from keras_ssl.distribute.launch._worker import (
    HOST,
    Lines,
    find_ports,
    share_cores,
    share_gpus,
)

if sys.platform == "win32":
    pytest.skip("the launcher needs process groups", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = [sys.executable, "-P", str(ROOT / "keras_ssl" / "distribute" / "launch")]
INDEX = "import json, os; index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}


def start(folder, code, *options, arguments=(), **environment):
    """Start the launcher on a script that holds `code`; the number of the worker is `index`."""
    script = folder / "script.py"
    script.write_text(INDEX + code)
    return subprocess.Popen(
        [*LAUNCHER, *options, str(script), *arguments],
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, code, *options, **more):
    """Run the launcher to its end; return its exit code and the lines of output and errors."""
    process = start(folder, code, *options, **more)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output.splitlines(), errors.splitlines()


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def is_running(pid):
    try:
        # a zombie has ended; the process that adopted it may be slow to reap it
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except FileNotFoundError:
        return False


# The pieces


@pytest.mark.parametrize(
    ("cores", "workers", "per_worker", "shares"),
    [
        ([0, 1, 2, 3], 2, None, [[0, 1], [2, 3]]),
        ([1, 3, 5], 3, None, [[1], [3], [5]]),
        ([0, 1, 2], 2, None, None),
        ([0], 2, None, None),
        ([4, 5, 6, 7], 2, 1, [[4], [5]]),
    ],
)
def test_cores_are_shared_without_overlap(cores, workers, per_worker, shares):
    assert share_cores(cores, workers, per_worker) == shares


@pytest.mark.parametrize("per_worker", [0, -1, 3])
def test_more_cores_than_available(per_worker):
    with pytest.raises(ValueError, match="from 1 to 2: 2 workers share 4 cores"):
        share_cores([0, 1, 2, 3], 2, per_worker)


@pytest.mark.parametrize(
    ("visible", "shares"),
    [(None, None), ("", None), ("-1", None), ("0,1", ["0", "1"]), ("3, 2,1,0", ["3,2", "1,0"])],
)
def test_gpus_are_shared(visible, shares):
    assert share_gpus(2, visible) == shares


def test_gpus_that_do_not_divide():
    with pytest.raises(ValueError, match=r"number of workers, 2. Received: 0,1,2"):
        share_gpus(2, "0,1,2")


def test_ports_are_free_and_differ():
    ports = find_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as one:
            one.bind((HOST, port))


def test_a_used_port_is_named():
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} of 127.0.0.1"):
            find_ports(1, port)
    assert find_ports(1, port) == [port]


@pytest.mark.parametrize(
    ("written", "lines", "unfinished"),
    [
        (b"one\ntwo\n", [b"one", b"two"], b""),
        (b"one\n\ntw", [b"one", b""], b"tw"),
        (b"windows\r\n", [b"windows"], b""),
        (b"1/3\r2/3\r3/3\n", [b"3/3"], b""),
        (b"1/3\b\b\b\r2/3", [], b"2/3"),
        (b"1/3\b\b\b\r", [], b"1/3"),
        (b"1/3\r", [], b"1/3"),
    ],
)
def test_lines_of_progress_bars(written, lines, unfinished):
    whole, by_byte = Lines(), Lines()
    assert whole.feed(written) == lines
    assert [line for byte in written for line in by_byte.feed(bytes([byte]))] == lines
    assert whole.unfinished == by_byte.unfinished == unfinished


def test_a_long_progress_bar_does_not_pile_up():
    lines = Lines()
    for step in range(10_000):
        lines.feed(b"\r%d/10000 [====================]" % step)
    assert len(lines._rest) < 100


# The program


def test_workers_get_their_configuration_and_arguments(tmp_path):
    code = "import sys; print(os.environ['TF_CONFIG'], sys.argv[1:])"
    arguments = ("--epochs", "3", "--workers", "7")
    exit_code, output, errors = run(tmp_path, code, "--workers", "3", arguments=arguments)
    assert exit_code == 0 and errors == []
    clusters = []
    for index, line in enumerate(sorted(output)):
        prefix = f"[worker {index}] "
        assert line.startswith(prefix) and line.endswith(f"}} {list(arguments)!r}")
        config = json.loads(line.removeprefix(prefix).partition("} [")[0] + "}")
        assert config["task"] == {"type": "worker", "index": index}
        clusters.append(config["cluster"]["worker"])
    assert len(output) == 3 and clusters[0] == clusters[1] == clusters[2]
    assert len(set(clusters[0])) == 3 and all(a.startswith("127.0.0.1:") for a in clusters[0])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_workers_are_pinned_to_their_own_cores(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core only")
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    code = f"print(sorted(os.sched_getaffinity(0)), [os.environ[name] for name in {names}])"
    environment = {"OMP_NUM_THREADS": "5"}
    options = ("--workers", "2", "--cores-per-worker", "1")
    _, output, _ = run(tmp_path, code, *options, **environment)
    assert sorted(output) == [
        f"[worker 0] [{cores[0]}] ['1', '1', '5']",
        f"[worker 1] [{cores[1]}] ['1', '1', '5']",
    ]


def test_modules_are_run_as_python_runs_them(tmp_path):
    (tmp_path / "train.py").write_text("import sys; print(__name__, sys.argv[1:])")
    command = [*LAUNCHER, "--workers", "1", "-m", "train", "--fast"]
    printed = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert printed.stdout == "[worker 0] __main__ ['--fast']\n"


def test_output_and_errors_are_separate_and_lines_are_not_mixed(tmp_path):
    code = """
import sys
for number in range(2000):
    print("out", index, number, "x" * 100)
    print("err", index, number, file=sys.stderr)
sys.stdout.write("no end of line")
"""
    exit_code, output, errors = run(tmp_path, code, "--workers", "2")
    assert exit_code == 0
    for index in range(2):
        prefix = f"[worker {index}] "
        mine = [line.removeprefix(prefix) for line in output if line.startswith(prefix)]
        assert mine[:-1] == [f"out {index} {n} {'x' * 100}" for n in range(2000)]
        assert mine[-1] == "no end of line"
        mine = [line.removeprefix(prefix) for line in errors if line.startswith(prefix)]
        assert mine == [f"err {index} {n}" for n in range(2000)]


def test_a_progress_bar_is_printed_as_one_line(tmp_path):
    code = """
for step in range(100):
    print("\\b" * 9 + f"\\r{step + 1}/100 \N{BOX DRAWINGS HEAVY HORIZONTAL}", end="")
print()
"""
    _, output, _ = run(tmp_path, code, "--workers", "1", PYTHONIOENCODING="utf-8")
    assert output == ["[worker 0] 100/100 \N{BOX DRAWINGS HEAVY HORIZONTAL}"]


def test_logs_hold_all_attempts_without_prefix(tmp_path):
    code = "import sys; print('trained'); print('warned', file=sys.stderr); sys.exit(index)"
    run(tmp_path, code, "--workers", "2", "--log-dir", str(tmp_path / "logs" / "run"))
    logs = sorted((tmp_path / "logs" / "run").iterdir())
    assert [log.name for log in logs] == ["worker-0.log", "worker-1.log"]
    assert sorted(logs[1].read_text().splitlines()) == ["trained", "warned"]


@pytest.mark.parametrize(
    ("death", "exit_code", "fate"),
    [
        ("sys.exit(7)", 7, "worker 1 ended with code 7"),
        ("os.kill(os.getpid(), 9)", 128 + 9, "worker 1 was killed by SIGKILL"),
    ],
)
def test_the_exit_code_is_that_of_the_failed_worker_and_the_others_stop(
    tmp_path, death, exit_code, fate
):
    code = f"""
import sys, time
if index == 1:
    {death}
time.sleep(60)
"""
    began = time.monotonic()
    returned, _, errors = run(tmp_path, code, "--workers", "3")
    assert returned == exit_code
    assert errors == [f"[launch] {fate}; stopping the others"]
    assert time.monotonic() - began < 30


def test_all_are_restarted_with_other_ports_until_they_succeed(tmp_path):
    code = """
import sys
from pathlib import Path
attempts = Path(f"attempts-{index}")
with attempts.open("a") as file:
    print(os.environ["TF_CONFIG"], file=file)
sys.exit(index == 1 and len(attempts.read_text().splitlines()) < 3)
"""
    exit_code, _, errors = run(tmp_path, code, "--workers", "2", "--restarts", "5")
    assert exit_code == 0
    configs = (tmp_path / "attempts-1").read_text().splitlines()
    assert len(configs) == len(set(configs)) == 3
    assert "[launch] starting all workers again (2 of 5)" in errors
    assert not any("3 of 5" in line for line in errors)


def test_restarts_are_limited(tmp_path):
    code = "import sys; print('tried'); sys.exit(4)"
    exit_code, output, _ = run(tmp_path, code, "--workers", "1", "--restarts", "2")
    assert exit_code == 4
    assert output == ["[worker 0] tried"] * 3


def test_a_worker_that_does_not_stop_is_killed_after_a_timeout(tmp_path):
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if index == 0:
    open("ready", "w").close()
    time.sleep(60)
while not os.path.exists("ready"):
    time.sleep(0.01)
sys.exit(3)
"""
    began = time.monotonic()
    exit_code, _, _ = run(tmp_path, code, "--workers", "2", "--stop-timeout", "0.5")
    assert exit_code == 3
    assert time.monotonic() - began < 30


# A worker that writes down its process id, that of a child, and the signals that it gets
NOTES = """
import signal, subprocess, sys, time
from pathlib import Path
def note(number, frame):
    Path(f"got-{index}").write_text(str(number))
    sys.exit(0)
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
child = subprocess.Popen(["sleep", "60"])
Path("new").write_text(f"{os.getpid()} {child.pid}")
Path("new").rename(f"pids-{index}")
while True:
    time.sleep(0.05)
""".replace('"new"', 'f"new-{index}"')


def started_processes(folder, workers=2):
    files = [folder / f"pids-{index}" for index in range(workers)]
    wait_for(lambda: all(file.exists() for file in files))
    return [[int(pid) for pid in file.read_text().split()] for file in files]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_sent_on_and_no_process_is_left(tmp_path, number):
    process = start(tmp_path, NOTES, "--workers", "2", "--restarts", "5")
    pids = started_processes(tmp_path)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    for index in range(2):
        assert (tmp_path / f"got-{index}").read_text() == str(int(number))
    wait_for(lambda: not any(is_running(pid) for pair in pids for pid in pair))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_a_second_signal_kills(tmp_path):
    stubborn = NOTES.replace("sys.exit(0)", "pass")
    process = start(tmp_path, stubborn, "--workers", "2", "--stop-timeout", "300")
    pids = started_processes(tmp_path)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: (tmp_path / "got-0").exists() and (tmp_path / "got-1").exists())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    wait_for(lambda: not any(is_running(pid) for pair in pids for pid in pair))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux'")
def test_workers_die_with_a_launcher_that_is_killed(tmp_path):
    process = start(tmp_path, NOTES, "--workers", "2")
    pids = started_processes(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    try:
        wait_for(lambda: not any(is_running(worker) for worker, _ in pids))
    finally:  # child processes of the workers outlive a killed launcher
        for _, child in pids:
            os.kill(child, signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_child_processes_of_a_worker_end_with_it(tmp_path):
    code = """
import subprocess
child = subprocess.Popen(["sleep", "60"])  # it holds the worker's output open
print(child.pid)
"""
    exit_code, output, _ = run(tmp_path, code, "--workers", "1")
    assert exit_code == 0
    child = int(output[0].removeprefix("[worker 0] "))
    wait_for(lambda: not is_running(child))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "0", "SCRIPT"], "--workers must be at least 1. Received: 0"),
        (["--workers", "2", "--restarts", "-1", "SCRIPT"], "--restarts must not be negative"),
        (["--workers", "2", "missing.py"], "there is no file missing.py"),
        (
            ["--workers", "2", "--port", "65535", "SCRIPT"],
            "all ports must lie in 1 to 65535",
        ),
        (["--workers", "2", "--cores-per-worker", "999", "SCRIPT"], "--cores-per-worker must be"),
        (["--workers", "2", "--stop-timeout", "nan", "SCRIPT"], "--stop-timeout must not be"),
        (["--workers", "2"], "required: script"),
        (["SCRIPT"], "required: --workers"),
    ],
)
def test_wrong_options(capsys, monkeypatch, options, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    options = [__file__ if option == "SCRIPT" else option for option in options]
    with pytest.raises(SystemExit) as stopped:
        parse_arguments(options)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_worker_of_a_cluster_starts_no_workers(capsys, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(SystemExit):
        parse_arguments(["--workers", "2", __file__])
    assert "TF_CONFIG is already set" in capsys.readouterr().err


def test_a_used_port_or_an_unwritable_folder(tmp_path):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        exit_code, _, errors = run(tmp_path, "", "--workers", "1", "--port", port)
    assert exit_code == 1
    assert len(errors) == 1 and f"port {port} of 127.0.0.1" in errors[0]
    (tmp_path / "file").touch()
    exit_code, _, errors = run(tmp_path, "", "--workers", "1", "--log-dir", "file/logs")
    assert exit_code == 1 and "file/logs" in errors[0]


def test_the_launcher_does_not_load_tensorflow(tmp_path):
    script = tmp_path / "script.py"
    # prints the memory of the launcher, the parent of the worker
    script.write_text("import os; print(open(f'/proc/{os.getppid()}/status').read())")
    if not Path("/proc/self/status").exists():
        pytest.skip("looks into /proc")
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    printed = subprocess.run(
        [sys.executable, "-m", "keras_ssl.distribute.launch", "--workers", "1", str(script)],
        env=ENVIRONMENT | {"PYTHONPATH": paths},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert printed.returncode == 0, printed.stderr
    status = dict(line.split(":", 1) for line in printed.stdout.splitlines() if ":" in line)
    assert int(status["[worker 0] VmRSS"].split()[0]) < 100_000
    assert int(status["[worker 0] Threads"]) == 1
