"""What to sample: the arguments of `sample`, checked."""

import random
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl._keras_internals import run_on_shapes
from keras_ssl.samplers import Sampler
from keras_ssl.samplers.sampler import Plan
from keras_ssl.trainers.generative import _conditions
from keras_ssl.trainers.generative._spaces import check_in_range
from keras_ssl.trainers.generative.classifier_guidance import ClassifierGuidance

if TYPE_CHECKING:
    from keras_ssl.trainers.generative._denoising_model import DenoisingModel


class Request(NamedTuple):
    """What to sample, checked.

    Attributes:
        plan: the sampler's plan.
        count: number of examples.
        shape: the shape of an example as the denoiser sees it.
        inputs: arrays with one row per example: conditions by name, `"start"`, `"known"` and
            `"mask"`.
        guidance: scale of classifier-free guidance; at 1 the denoiser is called once.
        classifier: guidance by a classifier, or `None`.
        clip: whether predictions of the data are clipped to [-1, 1].
        seed: seed of all random numbers.
    """

    plan: Plan
    count: int
    shape: tuple[int, ...]
    inputs: dict[str, np.ndarray]
    guidance: float
    classifier: ClassifierGuidance | None
    clip: bool
    seed: int


def request_of(
    trainer: "DenoisingModel",
    *,
    n: int | None,
    steps: int,
    guidance_scale: float,
    sampler: Sampler | None,
    seed: int | None,
    strength: float | None,
    classifier: Any,
    **given: Any,
) -> Request:
    """Check the arguments of `sample`, of which conditions and data are `given` by name."""
    trainer.check_can_sample()
    sampler = trainer.default_sampler if sampler is None else sampler
    if not isinstance(sampler, Sampler):
        raise TypeError(
            "`sampler` must be a sampler of `keras_ssl.samplers`, such as `samplers.DDIM()`. "
            f"Received: sampler={sampler!r}"
        )
    steps = checks.integer("steps", steps, minimum=1)
    given = {name: np.asarray(one) for name, one in given.items() if one is not None}
    if strength is not None and "start" not in given:
        raise ValueError(
            "`strength` is how much of `start` is changed. Expected `start`. Received: "
            f"strength={strength!r} and start=None"
        )
    strength = checks.probability("strength", 0.8 if strength is None else strength)
    guidance = checks.number("guidance_scale", guidance_scale)
    seed = _seed_of_32_bits(seed)
    count = _count(n, given)
    label = given.pop("label", None)
    inputs = {name: _check_rows(name, one, count) for name, one in given.items()}
    inputs |= _label_inputs(trainer, label, count, classifier)
    if isinstance(classifier, keras.layers.Layer):
        classifier = ClassifierGuidance(classifier)
    _check_conditions(trainer, inputs, guidance, label is not None)
    _check_given_data(trainer, inputs)
    inputs |= _missing_conditions(trainer, inputs, count)
    skip = steps - int(steps * strength + 1e-9) if "start" in inputs else 0
    shape = _shape_in_space(trainer, inputs)
    if classifier is not None:
        _check_classifier(trainer, classifier, inputs["target"], shape)
    return Request(
        sampler.plan(trainer.noise_path, steps, skip),
        count,
        shape,
        inputs,
        guidance,
        classifier,
        sampler.clip and trainer.is_bounded,
        seed,
    )


def _check_classifier(
    trainer: "DenoisingModel",
    classifier: ClassifierGuidance,
    labels: np.ndarray,
    shape: tuple[int, ...],
) -> None:
    """Raise unless a classifier has an output for each label."""
    found = run_on_shapes(
        lambda z: classifier.outputs(z, 0.0, lambda: trainer.unclipped(z)),
        keras.KerasTensor((1, *shape), "float32"),
    )
    classes = found.shape[-1]
    if len(found.shape) != 2 or classes < 2:
        raise ValueError(
            "`classifier` must return (batch, classes), of two classes or more. Received: "
            f"outputs of shape {tuple(found.shape)}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(
            f"`label` must be a class of `classifier`, in 0..{classes - 1}. Received: {labels!r}"
        )


def _label_inputs(
    trainer: "DenoisingModel", label: Any, count: int, classifier: Any
) -> dict[str, np.ndarray]:
    """Return labels for the denoiser, for the classifier, or for both."""
    if label is None:
        if classifier is not None:
            raise ValueError(
                "`classifier` leads samples to a class. Expected `label`. Received: label=None"
            )
        if trainer.num_classes is None:
            return {}
        return {"label": np.full(count, trainer.num_classes, "int32")}
    if trainer.num_classes is None and classifier is None:
        raise ValueError(
            "`label` needs a conditional model, made with `num_classes`, or a `classifier`. "
            f"Received: label={label!r} and num_classes=None"
        )
    label = np.broadcast_to(label, (count,)) if label.ndim == 0 else label.reshape(-1)
    if label.dtype.kind not in "iu" or len(label) != count:
        raise ValueError(
            f"`label` must be an integer, or one per example, ({count},). Received: {label!r}"
        )
    label, found = label.astype("int32"), {}
    if trainer.num_classes is not None:
        if label.min() < -1 or label.max() >= trainer.num_classes:
            raise ValueError(
                f"`label` must lie in 0..{trainer.num_classes - 1}, or be -1 for no label. "
                f"Received: {label!r}"
            )
        found["label"] = np.where(label < 0, trainer.num_classes, label).astype("int32")
    return found if classifier is None else {**found, "target": label}


def _check_conditions(
    trainer: "DenoisingModel", inputs: dict[str, np.ndarray], guidance: float, is_labelled: bool
) -> None:
    """Raise a `ValueError` if conditions are not those of training, or guidance has none."""
    specs = trainer.input_specs
    known = set(specs) if isinstance(specs, dict) else set()
    for name in _conditions.IN_DATA:
        if name not in inputs:
            continue
        if name not in known:
            raise ValueError(
                f"`{name}` needs a model that was trained with this condition. Received: "
                f"{name} of shape {inputs[name].shape}, and a model without"
            )
        wanted, found = list(specs[name].shape[1:]), inputs[name].shape[1:]
        if name.startswith("tokens"):
            wanted[0] = None  # there may be more or fewer than in training
        if not shapes_fit(wanted, found):
            raise ValueError(
                f"`{name}` must have the shape that the model was trained with, (n, "
                f"{', '.join(map(str, wanted))}). Received: {inputs[name].shape}"
            )
    is_conditional = is_labelled and trainer.num_classes is not None
    if guidance != 1 and not is_conditional and not set(_conditions.IN_DATA) & set(inputs):
        raise ValueError(
            "Guidance needs a conditional model and a condition to follow: `label`, `tokens` "
            f"or `image`. Received: guidance_scale={guidance:g} without any"
        )
    if trainer.condition_dropout > 0:
        return
    # nothing has taught the denoiser what to make of conditions that are left out
    if guidance != 1:
        raise ValueError(
            "Guidance needs the model without conditions, which condition_dropout=0 leaves "
            "untrained. Expected a trainer with condition_dropout above 0, or "
            f"guidance_scale=1. Received: guidance_scale={guidance:g}"
        )
    missing = [name for name in ("tokens", "image") if name in known and name not in inputs]
    if trainer.num_classes is not None and not is_labelled:
        missing.append("label")
    if missing:
        raise ValueError(
            "With condition_dropout=0 the model without conditions is not trained. Expected "
            "all conditions, where label=-1 is for models that were trained on some examples "
            f"with the label -1. Received: no {' and no '.join(missing)}"
        )


def _missing_conditions(
    trainer: "DenoisingModel", inputs: dict[str, Any], count: int
) -> dict[str, np.ndarray]:
    """Return conditions that say nothing for those of training that are not given."""
    specs, found = trainer.input_specs, {}
    for name in _conditions.IN_DATA:
        if not isinstance(specs, dict) or name not in specs or name in inputs:
            continue
        size = [1 if one is None else one for one in specs[name].shape[1:]]
        if name == "tokens_mask" and "tokens" in inputs:
            size = inputs["tokens"].shape[1:2]
        make = np.ones if name == "tokens_mask" else np.zeros
        found[name] = make((count, *size), specs[name].dtype)
    return found


def _check_given_data(trainer: "DenoisingModel", inputs: dict[str, np.ndarray]) -> None:
    """Check the data that samples start from or fill."""
    if ("known" in inputs) != ("mask" in inputs):
        raise ValueError("`known` data and `mask` belong together. Received: only one of them")
    shape = tuple(keras.tree.flatten(trainer.to_encode(trainer.input_specs))[0].shape[1:])
    if trainer.augment is not None:
        shape = tuple(_shape_of_views(trainer))
    for name in ("start", "known"):
        if name not in inputs:
            continue
        if not shapes_fit(shape, inputs[name].shape[1:]):
            raise ValueError(
                f"`{name}` must have the shape of the data, (n, "
                f"{', '.join(map(str, shape))}). Received: {inputs[name].shape}"
            )
        check_in_range(inputs[name], trainer.value_range, f"`{name}`")
        inputs[name] = inputs[name].astype("float32")
    if "mask" in inputs:
        mask, known = inputs["mask"], inputs["known"]
        if mask.shape != known.shape and mask.shape != (*known.shape[:-1], 1):
            raise ValueError(
                "`mask` must have the shape of `known`, the last axis may be 1. Received: "
                f"{mask.shape} and {known.shape}"
            )
        if mask.min() < 0 or mask.max() > 1:
            raise ValueError(
                "`mask` must be 1 where data is made and 0 where it is known. Received: values "
                f"from {mask.min()} to {mask.max()}"
            )
        inputs["mask"] = mask.astype("float32")


def _shape_of_views(trainer: "DenoisingModel") -> tuple[int | None, ...]:
    """The shape of an example after augmentation."""
    views = run_on_shapes(lambda x: trainer._make_batch((x,)).views, trainer.input_specs)
    return tuple(views.shape[1:])


def _shape_in_space(trainer: "DenoisingModel", inputs: dict[str, np.ndarray]) -> tuple[int, ...]:
    """The shape of an example as the denoiser sees it."""
    data = next((inputs[name] for name in ("start", "known") if name in inputs), None)
    shape = _shape_of_views(trainer) if data is None else data.shape[1:]
    spec = keras.KerasTensor((None, *shape), "float32")
    shape = tuple(run_on_shapes(trainer.to_space, spec).shape[1:])
    if None in shape:
        raise ValueError(
            "The model was built for examples of any size. Expected `start` or `known` data of "
            f"the size to sample. Received: examples of shape {shape}"
        )
    return shape


def shapes_fit(wanted: Any, found: Any) -> bool:
    """Return whether two shapes agree, where `None` is any size."""
    return len(wanted) == len(found) and all(
        None in pair or pair[0] == pair[1] for pair in zip(wanted, found, strict=True)
    )


def _seed_of_32_bits(seed: int | None) -> int:
    """Return a seed as the int32 number that the loops take, and a random one for `None`."""
    if seed is None:
        return random.randrange(2**31)  # as Keras draws seeds, so that `set_random_seed` holds
    return (checks.integer("seed", seed) + 2**31) % 2**32 - 2**31


def _count(n: int | None, given: dict[str, np.ndarray]) -> int:
    """Return how many examples to make."""
    sizes = {name: len(one) for name, one in given.items() if one.ndim}
    if n is None:
        if not sizes:
            raise ValueError(
                "`n` must say how many examples to make, unless `start`, `known` or conditions do. "
                "Received: n=None"
            )
        return next(iter(sizes.values()))
    return checks.integer("n", n, minimum=1)


def _check_rows(name: str, value: np.ndarray, count: int) -> np.ndarray:
    """Return an array, or raise a `ValueError` unless it has one row per example."""
    if value.ndim == 0 or len(value) != count:
        raise ValueError(
            f"`{name}` must have one row per example, {count}. Received: shape {value.shape}"
        )
    return value
