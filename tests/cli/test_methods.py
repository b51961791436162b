"""The registry of trainers, and what it finds out about them."""

import inspect

import pytest

import keras_ssl
from keras_ssl.cli._arguments import DEFAULTS
from keras_ssl.cli._registry import Paper, papers, sentences, trainer_class, trainer_classes
from keras_ssl.cli._trainer import trainer_options
from keras_ssl.trainers import SelfSupervisedModel

TRAINERS = trainer_classes()
each_trainer = pytest.mark.parametrize("name", TRAINERS)


def test_it_holds_the_public_trainers():
    public = (getattr(keras_ssl.trainers, name) for name in keras_ssl.trainers.__all__)
    methods = {
        one for one in public if inspect.isclass(one) and issubclass(one, SelfSupervisedModel)
    }
    assert set(TRAINERS.values()) == methods - {SelfSupervisedModel}


@each_trainer
def test_every_trainer_is_listed_with_its_papers(name, command):
    status, printed, _ = command("methods")
    line = next(line for line in printed.splitlines() if line.startswith(f"{name} "))
    assert status == 0
    assert TRAINERS[name].learns_from in line
    assert str(papers(TRAINERS[name])[0]) in line


@each_trainer
def test_the_docstring_has_a_sentence_for_every_option(name):
    assert set(trainer_options(TRAINERS[name])) <= set(sentences(TRAINERS[name]))


@each_trainer
def test_no_option_of_a_method_is_one_of_all_methods(name):
    assert set(trainer_options(TRAINERS[name])) & set(DEFAULTS) <= {"encoder", "seed"}


def test_papers_are_those_of_the_docstring():
    assert papers(keras_ssl.trainers.DINO) == [
        Paper(
            "Emerging Properties in Self-Supervised Vision Transformers",
            "https://arxiv.org/abs/2104.14294",
        )
    ]
    assert str(papers(keras_ssl.trainers.DINO)[0]).startswith("arXiv:2104.14294 Emerging")


@pytest.mark.parametrize("name", ["barlow-twins", "BARLOW_TWINS", "BarlowTwins", "barlowtwins"])
def test_case_and_dashes_of_a_name_do_not_count(name):
    assert trainer_class(name) is keras_ssl.trainers.BarlowTwins


def test_one_family(command):
    _, printed, _ = command("methods", "--family", "clustering")
    assert [line.split()[0] for line in printed.splitlines() if line[0] != " "] == [
        "method",
        "DeepClusterV2",
        "SwAV",
    ]
    assert command("methods", "--family", "clusterin")[::2] == (
        2,
        "keras-ssl: error: there is no family 'clusterin'. Did you mean clustering?\n",
    )
