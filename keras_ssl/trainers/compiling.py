"""How a trainer is compiled: optimizers by name, a probe, loss weights."""

from typing import Any

import keras

from keras_ssl.trainers.engine.fit import resolve_jit_compile
from keras_ssl.trainers.micro_batch_checks import check_micro_batch_size
from keras_ssl.trainers.parts import freeze
from keras_ssl.trainers.probe import OnlineProbe


class Compiling:
    """Mix-in of the base: `compile`, which takes no loss, and what is saved of it."""

    def compile(
        self,
        optimizer: Any = "adam",
        probe: OnlineProbe | None = None,
        loss_weights: dict[str, float] | None = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        micro_batch_size: int | None = None,
        **unknown: Any,
    ) -> None:
        """Configure the trainer; the loss belongs to the method and is not named here.

        Args:
            optimizer: Keras optimizer, its name, or, for a method with several gradient steps, a
                dictionary of them by the method's names.
            probe: an `OnlineProbe`, if the data carries labels and their linear separability is
                to be watched.
            loss_weights: what to multiply the named losses with in the total `loss`. A loss that
                is not named counts once.
            run_eagerly: as in `keras.Model.compile`.
            steps_per_execution: as in `keras.Model.compile`.
            jit_compile: as in `keras.Model.compile`. Falls back to `False` with a warning where
                the strategy makes XLA impossible.
            auto_scale_loss: as in `keras.Model.compile`.
            micro_batch_size: how many examples a replica embeds at a time. The step then takes the
                gradient of the whole batch with the activations of so few, at the price of a
                second forward pass ([GradCache](https://arxiv.org/abs/2101.06983)). The gradient
                is that of the plain step, except that batch normalisation sees a micro-batch and
                that layers draw random numbers, such as dropout's, a micro-batch at a time. Losses
                by example need no second pass. `None` embeds the batch at once.
            **unknown: refused, with a hint for the arguments of `keras.Model.compile`.

        Raises:
            TypeError: if `probe` is not an `OnlineProbe`, `micro_batch_size` not an integer, or an
                argument is unknown.
            ValueError: if the optimizers are not those that the method names, one of several
                keeps an average of the weights, or `micro_batch_size` is below 1 or the method
                does not tell what it embeds.
        """
        if unknown:
            raise TypeError(
                "The loss belongs to the method, and a `probe` measures what labels say; `compile` "
                "takes `optimizer`, `probe`, `loss_weights` and how to run. "
                f"Received: {sorted(unknown)}"
            )
        if probe is not None and not isinstance(probe, OnlineProbe):
            raise TypeError(
                f"`probe` must be a `keras_ssl.trainers.OnlineProbe`. Received: {probe}"
            )
        check_micro_batch_size(micro_batch_size)
        for part in self.frozen_parts():
            freeze(part)  # `trainer.trainable = True` thaws all that it holds
        compiled_by_xla = resolve_jit_compile(jit_compile, self._distribute_strategy)
        optimizers = optimizer if isinstance(optimizer, dict) else {"main": optimizer}
        if sorted(optimizers) != sorted(self.optimizer_names):
            expected = "one" if self.optimizer_names == ("main",) else list(self.optimizer_names)
            raise ValueError(
                f"`optimizer` of {type(self).__name__}: expected {expected}. Received: {optimizer}"
            )
        if len({id(one) for one in optimizers.values()}) < len(optimizers):
            raise ValueError(
                "Each update needs an optimizer of its own: it keeps state for its variables. "
                f"Received: {optimizer}"
            )
        scaled = {}
        for name in self.optimizer_names:
            one = optimizers[name]
            # Keras makes the optimizer of a name and wraps it for mixed precision
            super().compile(
                optimizer=one,
                run_eagerly=run_eagerly,
                steps_per_execution=steps_per_execution,
                jit_compile=compiled_by_xla,
                auto_scale_loss=auto_scale_loss,
            )
            scaled[name] = self.optimizer
            if len(optimizers) > 1 and getattr(one, "use_ema", False):
                raise ValueError(
                    "`use_ema` is not possible with several optimizers: Keras puts the averages of "
                    "the first one into all weights. Use `keras.callbacks.SwapEMAWeights`. "
                    f"Received: optimizer={optimizer}"
                )
        self._training_state.optimizers = scaled
        self.optimizer = next(iter(scaled.values()))
        self._training_state.probe = probe
        self._training_state.micro_batch_size = micro_batch_size
        self._training_state.train_functions = {}
        if micro_batch_size and any(update.embed is None for update in self.updates()):
            raise ValueError(
                f"`micro_batch_size` needs a method with `embed` and `losses_of`; "
                f"{type(self).__name__} has `compute_losses` alone. "
                f"Received: micro_batch_size={micro_batch_size}"
            )
        self.loss_weights = dict(loss_weights or {})
        self._training_state.compile_arguments = {
            "optimizer": optimizer if isinstance(optimizer, dict) else scaled["main"],
            "probe": probe,
            "loss_weights": loss_weights,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
            "micro_batch_size": micro_batch_size,
        }
        if self._training_state.step_specs is not None:
            self._build_training_state()

    def get_compile_config(self) -> dict | None:
        """Return the arguments of `compile`, serialised."""
        if self.compiled:
            return keras.saving.serialize_keras_object(self._training_state.compile_arguments)
        return None

    def compile_from_config(self, config: dict) -> None:
        """Compile as `config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def probe(self) -> OnlineProbe | None:
        """The probe that `compile` got."""
        return self._training_state.probe

    @property
    def optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizers that `compile` got, by name; a single one is called "main"."""
        return self._training_state.optimizers
