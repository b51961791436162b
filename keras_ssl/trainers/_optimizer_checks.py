"""What `compile` of a trainer checks of its optimizers."""

from typing import TYPE_CHECKING, Any

from keras_ssl.optimizers._wrapper import innermost

if TYPE_CHECKING:
    from keras_ssl.trainers.base import SelfSupervisedModel


def check_optimizers(trainer: "SelfSupervisedModel", optimizer: Any) -> dict[str, Any]:
    """Return the optimizers by name, or raise a `ValueError` if the trainer cannot use them."""
    optimizers = optimizer if isinstance(optimizer, dict) else {"main": optimizer}
    if sorted(optimizers) != sorted(trainer.optimizer_names):
        expected = "one" if trainer.optimizer_names == ("main",) else list(trainer.optimizer_names)
        raise ValueError(
            f"`optimizer` of {type(trainer).__name__}: expected {expected}. Received: {optimizer}"
        )
    # names stand for new ones
    given = [one for one in optimizers.values() if not isinstance(one, str)]
    if len({id(one) for one in given}) < len(given):
        raise ValueError(
            "Each update needs an optimizer of its own: it keeps state for its variables. "
            f"Received: {optimizer}"
        )
    replicas = trainer.distribute_strategy.num_replicas_in_sync
    inner = [innermost(one) for one in optimizers.values()]
    accumulating = [one for one in inner if getattr(one, "gradient_accumulation_steps", None)]
    if replicas > 1 and accumulating:
        raise ValueError(
            "An optimizer cannot accumulate gradients under several replicas: Keras does so in "
            "a condition, in which TensorFlow exchanges no tensors. Take larger batches with "
            "`compile(micro_batch_size=...)`, which accumulates within a step. Received: "
            f"gradient_accumulation_steps={accumulating[0].gradient_accumulation_steps} and "
            f"{replicas} replicas"
        )
    if len(optimizers) > 1 and any(getattr(one, "use_ema", False) for one in inner):
        raise ValueError(
            "`use_ema` is not possible with several optimizers: Keras puts the averages of "
            "the first one into all weights. Use `keras.callbacks.SwapEMAWeights`. "
            f"Received: optimizer={optimizer}"
        )
    return optimizers
