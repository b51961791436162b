"""The package as a whole: what importing it loads, and what all public objects have."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_ssl

ROOT = Path(__file__).resolve().parents[1]
NAMESPACES = {
    name: room for name in keras_ssl.__all__ if inspect.ismodule(room := getattr(keras_ssl, name))
} | {
    "augment.graph": keras_ssl.augment.graph,
    "augment.sequence": keras_ssl.augment.sequence,
    "augment.tabular": keras_ssl.augment.tabular,
    "layers.graph": keras_ssl.layers.graph,
}
PUBLIC = [
    (namespace, name)
    for namespace, module in NAMESPACES.items()
    for name in module.__all__
    if inspect.isclass(getattr(module, name)) or inspect.isfunction(getattr(module, name))
]

# only their subclasses are ever saved
ABSTRACT = {
    "SelfSupervisedModel",
    "TextEncoder",
    "TokenEncoder",
    "WordObjective",
    "GANLoss",
    "Likelihood",
    "Augmentation",
    "ColorAugmentation",
    "GeometricAugmentation",
    "GraphAugmentation",
    "ImageAugmentation",
}


def imported_after(statement, backend="tensorflow"):
    """The modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.splitlines())


def test_importing_loads_nothing_heavy_that_keras_does_not_load():
    added = imported_after("import keras, keras_ssl") - imported_after("import keras")
    heavy = {
        "sklearn",
        "scipy",
        "matplotlib",
        "tensorflow_datasets",
        "pandas",
        "spektral",
        "tokenizers",
    }
    assert not heavy & {name.partition(".")[0] for name in added}


def test_losses_work_without_tensorflow():
    pytest.importorskip("jax")
    modules = imported_after("import keras_ssl; keras_ssl.losses.NTXent()", backend="jax")
    assert "tensorflow" not in modules


@pytest.mark.parametrize(("namespace", "name"), PUBLIC, ids=lambda value: value)
def test_public_objects_are_documented(namespace, name):
    documented = getattr(NAMESPACES[namespace], name)
    text = inspect.getdoc(documented) or ""
    if inspect.isclass(documented) and issubclass(documented, tuple):
        assert "Attributes:" in text
        return
    assert "Example" in text and ">>>" in text
    if inspect.isclass(documented) and documented.__init__ in (dict.__init__, object.__init__):
        return  # no arguments of its own
    parameters = inspect.signature(documented).parameters
    assert "Args:" in text or not parameters
    assert all(parameter.annotation is not parameter.empty for parameter in parameters.values())


@pytest.mark.parametrize(("namespace", "name"), PUBLIC, ids=lambda value: value)
def test_public_keras_objects_are_registered(namespace, name):
    documented = getattr(NAMESPACES[namespace], name)
    kinds = (keras.layers.Layer, keras.losses.Loss, keras.optimizers.Optimizer)
    if not inspect.isclass(documented) or not issubclass(documented, kinds):
        return
    if name in ABSTRACT:
        return
    assert keras.saving.get_registered_name(documented) == f"keras_ssl>{name}"
    # a class with arguments of its own must not inherit the configuration of its base
    constructed, configured = (
        next(c for c in documented.__mro__ if method in vars(c))
        for method in ("__init__", "get_config")
    )
    if not issubclass(configured, constructed):
        taken, written = (
            set(inspect.signature(one.__init__).parameters) for one in (constructed, configured)
        )
        assert taken <= written


def test_every_trainer_has_a_page_and_a_case():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("trainers need the TensorFlow backend")
    from tests.trainers.cases import CASES

    methods = [
        cls
        for name in keras_ssl.trainers.__all__
        if inspect.isclass(cls := getattr(keras_ssl.trainers, name))
        and issubclass(cls, keras_ssl.trainers.SelfSupervisedModel)
        and cls is not keras_ssl.trainers.SelfSupervisedModel
    ]
    for method in methods:
        assert (ROOT / "docs" / "methods" / f"{method.__name__.lower()}.md").is_file()
        assert method.__name__ in CASES


def test_version_is_the_newest_of_the_changelog():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest and newest[1] == keras_ssl.__version__


def test_python_code_in_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        # the same code on fewer images and epochs
        small = block.replace('"train")', '"train[:256]")').replace('"test")', '"test[:256]")')
        small = re.sub(r"epochs=\d+", "epochs=1", small)
        exec(compile(small, "README.md", "exec"), {})


def test_python_code_of_the_page_on_graphs_runs():
    page = (ROOT / "docs" / "graphs.md").read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        small = re.sub(r"epochs=\d+", "epochs=1", block)
        exec(compile(small, "graphs.md", "exec"), names)
    assert (
        0
        <= names["evaluate"].link_prediction(
            names["trainer"].embeddings, names["split"].test, names["split"].test_negatives
        )["auc"]
        <= 1
    )


@pytest.mark.full
def test_python_code_of_the_page_on_your_data_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (8, 100, 120, 3))
    for number, image in enumerate(images):
        keras.utils.save_img(tmp_path / "photos" / f"{number}.png", image)
    page = (ROOT / "docs" / "your_data.md").read_text()
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        small = re.sub(r"epochs=\d+", "epochs=1", block).replace("batches(64", "batches(4")
        exec(compile(small, "your_data.md", "exec"), names)
    assert 0 <= names["accuracy"] <= 1
    assert names["encoder"](images[:, :96, :96]).shape == (8, 256)
    assert Path("table_encoder.tflite").is_file()
