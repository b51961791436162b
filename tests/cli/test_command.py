"""The command itself: what it says before Keras is imported, and that it is found out to be one."""

import subprocess
import sys
from pathlib import Path

import pytest

from keras_ssl import distribute
from keras_ssl._command import is_command
from keras_ssl.cli._encoders import encoder_names

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "Find the images that are most like given ones"),
        (["pretrain", "--help"], 0, "--learning-rate-schedule"),
        (["pretrain"], 2, "--method is needed"),
        (["pretrian"], 2, "no command 'pretrian'. Did you mean pretrain?"),
        (["embed", "run", "--data", "x", "--output", "y"], 2, "--out"),
        (["search", "run", "--data", "x", "--query", "y", "--cuont", "3"], 2, "mean --count?"),
    ],
)
def test_help_and_errors_do_not_wait_for_keras(arguments, status, said):
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "keras_ssl", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == status
    assert said in run.stdout + run.stderr
    assert "keras_ssl.cli" in run.stderr
    assert "keras.src" not in run.stderr and "tensorflow" not in run.stderr.split("error:")[0]


@pytest.mark.parametrize(
    ("program", "started_as", "expected"),
    [
        ("-m", ["python", "-X", "dev", "-m", "keras_ssl", "--help"], True),
        ("/usr/bin/keras-ssl", ["python", "/usr/bin/keras-ssl"], True),
        ("C:/Scripts/keras-ssl.exe", ["keras-ssl.exe"], True),
        ("-m", ["python", "-m", "pytest", "keras_ssl"], False),
        ("-m", ["python", "-mkeras_ssl.other"], False),
        ("keras-ssl.py", ["python", "keras-ssl.py"], False),
        ("-c", ["python", "-c", "import keras_ssl", "-m", "keras_ssl"], False),
        ("", ["python"], False),
    ],
    ids=str,
)
def test_only_the_command_imports_later(program, started_as, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setattr(sys, "orig_argv", started_as)
    assert is_command() is expected


@pytest.mark.slow
def test_a_command_imports_what_the_package_does():
    """And so finds all classes of a file."""
    count = "import keras; print(len(keras.saving.get_custom_objects()))"
    of_command = (
        "import sys; sys.argv = ['keras-ssl', 'methods', '--family', 'none']\n"
        "import keras_ssl; assert 'keras' not in sys.modules\n"
        "from keras_ssl.cli import main; main()\n"
        "assert keras_ssl.trainers.SimCLR and keras_ssl.from_preset\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", start + count], capture_output=True, text=True, cwd=ROOT
        ).stdout
        for start in (of_command, "import keras_ssl\n")
    }
    assert len(outputs) == 1 and int(outputs.pop()) > 100


def test_help_names_all_encoders_and_strategies(command):
    printed = command("pretrain", "--help")[1]
    words = printed.replace(",", " ").replace(";", " ").replace("}", " ").replace("{", " ").split()
    assert {*encoder_names(), *distribute.STRATEGIES} <= set(words)
