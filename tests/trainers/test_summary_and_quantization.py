"""What a trainer shows of itself, and its quantized form in files."""

import re

import keras
import numpy as np
import pytest

from keras_ssl import trainers
from tests.trainers.cases import CASES, costly, each_shape
from tests.trainers.runs import make
from tests.trainers.small import images


def built(name, batch=52):
    """A trainer built for batches of 52, a number that no shape of the cases has otherwise."""
    trainer, case = make(name), CASES[name]

    def spec(one):
        return keras.KerasTensor((batch, *one.shape[1:]), str(one.dtype))

    x = keras.tree.map_structure(spec, case.first(batch))
    trainer.build_step(x, None if case.y() is None else spec(case.y()))
    return trainer


def summary_of(trainer, **options):
    lines = []
    trainer.summary(print_fn=lambda text, **_: lines.append(text), line_length=140, **options)
    return "\n".join(lines)


@each_shape
def test_the_summary_does_not_show_the_size_of_the_first_batch(name):
    try:
        trainer = built(name)
    except ValueError as error:
        # a queue holds whole batches
        assert "multiple of the batch" in str(error)
        summaries = [summary_of(built(name, batch)) for batch in (16, 32)]
        # columns are as wide as the names of layers, which Keras numbers
        one, other = (re.findall(r"\(.*\d.*\)", re.sub(r" +", " ", shown)) for shown in summaries)
        assert one == other
        return
    before = [(id(one), set(vars(one))) for one in trainer._flatten_layers()]
    shown = summary_of(trainer, expand_nested=True)
    shapes = re.findall(r"\((?:\d+|None)(?:, (?:\d+|None))*\)", shown)
    sizes = {size for shape in shapes for size in re.findall(r"\d+|None", shape)}
    assert not {"52", "104", "208"} & sizes
    # all that `summary` sets on layers is gone
    assert [(id(one), set(vars(one))) for one in trainer._flatten_layers()] == before


def test_the_summary_shows_what_layers_return():
    shown = summary_of(built("DINO"))
    for shape in ("(4, None, 32)", "(2, None, 32)", "(None, 16)"):
        assert shape in shown


def test_the_summary_of_a_trainer_that_is_not_built():
    assert "0 (0.00 B)" in summary_of(CASES["SimCLR"].make())


@costly(slow=("graph",))
def test_a_quantized_trainer_is_loaded_as_it_was(name, tmp_path):
    quantized_and_loaded(name, "int8", tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("mode", ["int4", "float8"])
def test_other_modes_of_quantization(mode, tmp_path):
    quantized_and_loaded("BYOL", mode, tmp_path)


def quantized_and_loaded(name, mode, folder):
    trainer, x = built(name, 32), CASES[name].first(8)
    before = np.asarray(trainer(x))
    trainer.quantize(mode)
    trainer.save(folder / "trainer.keras")
    loaded = keras.saving.load_model(folder / "trainer.keras")
    expected = np.asarray(trainer(x))
    np.testing.assert_allclose(np.asarray(loaded(x)), expected, rtol=1e-6, atol=1e-6)
    assert np.abs(expected - before).max() < 0.5 * (1 + np.abs(before).max())
    assert len(trainer.weights) == len(loaded.weights)
    kinds = [sorted((str(w.dtype), tuple(w.shape)) for w in t.weights) for t in (trainer, loaded)]
    assert kinds[0] == kinds[1]
    again = folder / "again.keras"
    loaded.save(again)
    np.testing.assert_allclose(
        np.asarray(keras.saving.load_model(again)(x)), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.full
def test_all_parts_of_a_quantized_trainer_are_loaded(tmp_path):
    trainer = built("BYOL")
    trainer.quantize("int8")
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    h = np.asarray(trainer(images()[0][:4]))
    for part in ("projector", "predictor", "teacher_projector"):
        mine, theirs = getattr(trainer, part), getattr(loaded, part)
        x = np.asarray(trainer.projector(h)) if part == "predictor" else h
        np.testing.assert_allclose(theirs(x), mine(x), rtol=1e-5, atol=1e-6)
        assert any(w.dtype == "int8" for w in theirs.weights)


def test_a_quantized_trainer_is_not_trained():
    trainer = built("SimCLR")
    trainer.quantize("int8")
    with pytest.raises(ValueError, match="quantized"):
        trainer.fit(images()[0][:32], verbose=0)
    with pytest.raises(ValueError, match="isn't yet built"):
        CASES["SimCLR"].make().quantize("int8")


@pytest.mark.full
def test_a_quantized_teacher_of_a_distillation_trains():
    trainer = built("KnowledgeDistillation")
    dense = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    dense.build((None, 28, 28, 1))
    dense.quantize("int8")
    student = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])
    trainer = trainers.KnowledgeDistillation(student, dense)
    trainer.compile("sgd")
    x, y = images()[0][:32], images()[1][:32]
    assert np.isfinite(trainer.fit(x, y, verbose=0).history["loss"][0])
