"""A small folder of JPEGs, a run on it, and what a command prints."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    collect_ignore_glob = ["*"]
else:
    from PIL import Image

    from keras_ssl.cli import main


def write_images(folder, count=24):
    """Write images of several sizes, dark and light ones, into one subfolder for each kind."""
    rng = np.random.default_rng(0)
    for number in range(count):
        kind = ("dark", "light")[number % 2]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 128, (20 + number, 30, 3)) + 100 * (number % 2)
        Image.fromarray(pixels.astype("uint8")).save(folder / kind / f"{number:02}.jpg")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def command(capsys):
    """Run a command and return its status, and what it printed and complained of."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(one) for one in arguments])
        return status, *capsys.readouterr()

    return run


SMALL = (
    *("--encoder", "small_resnet(width=8)", "--image-size", "16", "--batch-size", "8"),
    *("--verbose", "0"),
)


@pytest.fixture(scope="session")
def run_of_simclr(pictures, tmp_path_factory):
    """The options of a run, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "simclr"
    options = ["pretrain", "--method", "simclr", "--data", str(pictures), *SMALL]
    options += ["--projector", "ProjectionHead((16, 8))", "--loss", "NTXent(temperature=0.2)"]
    options += ["--out", str(folder)]
    assert main([*options, "--epochs", "2"]) == 0
    return options, folder
