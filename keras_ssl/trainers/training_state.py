"""What belongs to the training of a model and not to the model."""


class NoOptimizers(dict):
    """The optimizers before `compile`: a loaded trainer traces its losses without any."""

    def __missing__(self, name: str) -> None:
        return None


class TrainingState:
    """What belongs to training and not to the model.

    Keras forbids new parts in a model once it is built. What is known only at `compile` or at the
    first batch waits here, where Keras does not track it: the probe's weights are no weights of
    the model, and the optimizer does not see them. The properties `probe` and `optimizers` show
    them to Keras' saving.
    """

    def __init__(self):
        self.probe = None
        self.micro_batch_size = None
        self.examples = None
        self.unseeded = None
        self.train_functions = {}
        self.optimizers = NoOptimizers()
        self.compile_arguments = {}
        self.loss_trackers = {}
        self.representation_spec = None
        self.step_specs = None
