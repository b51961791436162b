"""What a trainer holds beside its model."""

from keras_ssl.optimizers.parameter_groups import ParameterGroups
from keras_ssl.trainers.engine.gradients import PlainGradients


class _NoOptimizers(dict):
    """The optimizers before `compile`: a loaded trainer traces its losses without any."""

    def __missing__(self, name: str) -> None:
        return None


class TrainingState:
    """What belongs to training and not to the model, where Keras does not track it.

    Keras forbids new parts in a model once it is built, and what `compile` and the first batch
    bring comes later: the probe, whose weights are no weights of the model, optimizers by name,
    and metrics of the losses. The properties `probe` and `optimizers` show them to Keras' saving.
    """

    def __init__(self):
        self.probe = None
        self.optimizers = _NoOptimizers()
        self.gradients = PlainGradients()
        self.groups = ParameterGroups()
        self.compile_arguments = {}
        self.teachers = []
        self.loss_names = []
        self.loss_trackers = {}
        self.adds_losses = False  # whether layers add to the loss, by `add_loss`
        self.representation_spec = None
        self.step_specs = None
        self.checked = set()  # shapes of data that the losses have been traced on
        self.seeds = None
        self.adapted = None  # weights of layers that derive state from them, at the last step
        self.is_tracing = self.is_called = self.is_evaluating = False
        self.is_started = False  # whether a step was taken, or weights were loaded
