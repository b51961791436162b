"""A trainer that nobody holds any more is freed, with its networks and its variables."""

import gc
import weakref

import pytest

from tests.trainers.cases import CASES


@pytest.mark.parametrize("settings", [{}, {"micro_batch_size": 8}], ids=str)
def test_trainer_is_freed_after_fit(settings):
    case = CASES["SimCLR"]
    trainer = case.make()
    trainer.compile("sgd", **settings)
    trainer.fit(case.x()[:16], batch_size=16, verbose=0)
    held = [weakref.ref(part) for part in (trainer, trainer.encoder, trainer.optimizer)]
    del trainer
    gc.collect()
    assert [ref() for ref in held] == [None] * 3
