"""Which part of the contract runs by default: all of it takes a minute or two a trainer."""

import pytest

from tests.trainers.cases import DEFAULT_CASES

# what traces or compiles a trainer several times over
COSTLY = {
    "test_a_tpu_can_run_the_steps",
    "test_a_tpu_can_run_what_replicas_do_besides",
    "test_gradient_is_that_of_one_tape_over_all_micro_batches",
    "test_interrupted_trainer_ends_with_the_bits_of_one_that_never_was",
    "test_mixed_precision_starts_like_float32_and_stays_finite",
    "test_saved_and_loaded_trainer_goes_on_as_if_never_stopped",
    "test_saved_weights_load_into_a_new_trainer",
    "test_several_steps_per_execution_equal_single_steps",
    "test_takes_every_form_of_data",
    "test_two_replicas_end_with_the_weights_of_one",
    "test_two_workers_end_with_the_weights_of_one_device",
    "test_xla_step_equals_the_plain_step",
}

# cases of a trainer that has a case already, with another loss: these have tests of their own
OTHER_LOSSES = {"SimCLR with DCL", "SimCLR with DCLW"}


@pytest.hookimpl(tryfirst=True)  # before tests are left out by their marks
def pytest_collection_modifyitems(items):
    """Mark the costly tests of further trainers as slow."""
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if getattr(item, "originalname", "") not in COSTLY or name in DEFAULT_CASES:
            continue
        item.add_marker(pytest.mark.slow)
        if name in OTHER_LOSSES:
            item.add_marker(pytest.mark.skip(reason="but for its loss, SimCLR's own case"))
