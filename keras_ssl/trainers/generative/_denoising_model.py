"""Base of methods that learn to take noise away, and make data by taking it away step by step."""

import inspect
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, networks
from keras_ssl.ops import at_least_float32
from keras_ssl.samplers import NoisePath, Sampler, data_and_noise, target_of
from keras_ssl.trainers._class_labels import class_labels
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_one_view, check_type
from keras_ssl.trainers.generative import _conditions
from keras_ssl.trainers.generative._request import Request, request_of, shapes_fit
from keras_ssl.trainers.generative._sampling import SamplingLoops
from keras_ssl.trainers.generative._spaces import check_in_range, check_range, scaled, unscaled
from keras_ssl.trainers.generative.classifier_guidance import ClassifierGuidance
from keras_ssl.trainers.generative.denoiser_features import DenoiserFeatures
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


class DenoisingModel(SelfSupervisedModel):
    """Base of methods whose network learns to take noise away.

    Data x_0 is moved along a path to noise ε at a random time, and the denoiser predicts, from x_t
    and the time, what the method asks for. Samples are made with the moving average of its weights.
    Nothing here knows of images: an example is a tensor of any shape.

    Args:
        denoiser: `keras.Model` called on a dictionary, which returns the shape of `"x"`.
        noise_path: `samplers.NoisePath`.
        prediction: what the denoiser predicts.
        value_range: range of the values of data, or `None`.
        num_classes: number of classes of labels, or `None`.
        condition_dropout: how often conditions are left out.
        ema_momentum: momentum of the moving average, or a schedule of it.
        augment: layer that makes one view of a batch.
        feature_layer: the layer of `trainer.encoder`.
        feature_time: the time of `trainer.encoder`.
        seed: integer seed of noise and times.
        compress: layer from data to what the denoiser sees in their place. `None` means data,
            from -1 to 1.
        **kwargs: `name`, `dtype` of the model.
    """

    view_count = 1
    default_sampler: Sampler

    def __init__(
        self,
        denoiser: keras.Model,
        noise_path: NoisePath,
        prediction: str,
        value_range: tuple[float, float] | None,
        num_classes: int | None,
        condition_dropout: float,
        ema_momentum: Any,
        augment: keras.layers.Layer | None,
        feature_layer: str | None,
        feature_time: float | None,
        seed: int | None,
        compress: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(None, augment, **kwargs)
        check_type("denoiser", denoiser, keras.Model)
        self.denoiser, self.compress = denoiser, compress
        self.noise_path, self.prediction = noise_path, prediction
        self.value_range = check_range(value_range)
        self.num_classes = checks.integer("num_classes", num_classes, minimum=1, optional=True)
        self.uses_labels = self.num_classes is not None
        self.condition_dropout = checks.probability("condition_dropout", condition_dropout)
        self.teacher = EMATeacher(self, ["denoiser"], ema_momentum, copy_statistics=True)
        self.feature_layer, self.feature_time = feature_layer, feature_time
        self.encoder = self.encoder_at(feature_layer, feature_time)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._loops = SamplingLoops(self)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Configure training, as other trainers, and forget the traced loops of sampling."""
        super().compile(*args, **kwargs)
        self.forget_loops()

    def forget_loops(self) -> None:
        """Forget what `sample` has traced."""
        self._loops.clear()

    # Training

    def to_encode(self, x: Any) -> Any:
        """Return the data of a dictionary of data and conditions."""
        return x["x"] if isinstance(x, dict) and "x" in x else x

    def label_classes(self) -> float | None:
        """Return the number of classes that labels may be of."""
        return super().label_classes() if self.num_classes is None else self.num_classes

    def check_views(self, views: Any) -> None:
        """Raise unless there is one tensor to learn."""
        check_one_view(views, self.denoiser)
        _conditions.of_data(views)

    def check_space(self, x: Any, z: Any) -> None:
        """Raise a `ValueError` if a functional denoiser takes another shape than that of `z`.

        Args:
            x: data.
            z: what the denoiser should see in their place.
        """
        wanted = self._shape_taken("x")
        if wanted is not None and not shapes_fit(wanted[1:], z.shape[1:]):
            what = "data" if self.compress is None else "latents"
            raise ValueError(
                f"`denoiser` must take the shape of {what}. Received: a denoiser for 'x' of shape "
                f"{wanted}, and {what} of shape {tuple(z.shape)}"
            )

    def _shape_taken(self, name: str) -> tuple | None:
        """Return the shape of an input of a functional denoiser, or `None` if it is not known."""
        taken = getattr(self.denoiser, "input", None)
        return tuple(taken[name].shape) if isinstance(taken, dict) and name in taken else None

    def check_values(self, x: Any) -> None:
        """Raise if the values of data lie outside of the stated range, or fill little of it."""
        super().check_values(x)
        data = self.to_encode(x)
        if hasattr(data, "dtype"):
            check_in_range(data, self.value_range, "data", fills=True)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of the prediction for each example, `(batch,)`."""
        x = self.to_space(batch.views)
        self.check_space(batch.views, x)
        count = ops.shape(x)[0]
        time = self._draw(lambda n: self.noise_path.draw_times(n, self.seed_generator), count)
        shape = ops.shape(x)[1:]
        noise = self._draw(
            lambda n: keras.random.normal((n, *shape), seed=self.seed_generator, dtype="float32"),
            count,
        )
        conditions, fault = self._conditions_of(batch, count)
        if training and conditions and self.condition_dropout > 0:
            uniform = self._draw(
                lambda n: keras.random.uniform((n,), seed=self.seed_generator), count
            )
            conditions = _conditions.without_some(
                conditions, self.num_classes, uniform < self.condition_dropout
            )
        noisy = self.noise_path.add_noise(x, noise, time)
        output = self.denoise(self.denoiser, noisy, time, conditions, training)
        a, s = (ops.reshape(one, (-1, *[1] * len(shape))) for one in self.noise_path.levels(time))
        error = ops.square(output - target_of(self.prediction, x, noise, a, s))
        error = ops.mean(ops.reshape(error, (count, -1)), axis=-1)
        return {"denoising": self.loss_weights_at(time) * error + fault}

    def _draw(self, draw: Any, count: Any) -> Any:
        return distribute.draw_per_example(draw, count)

    def loss_weights_at(self, time: Any) -> Any:
        """Return the factor of the error at each time, a number or `(batch,)`."""
        return 1.0

    def _conditions_of(self, batch: Batch, count: Any) -> tuple[dict[str, Any], Any]:
        """Return the conditions of a batch, and a number that is NaN if a label is wrong."""
        conditions, fault = dict(_conditions.of_data(batch.x)), 0.0
        if self.augment is not None and "image" in conditions:
            raise ValueError(
                "`augment` changes 'x' alone, and 'image' would no longer belong to it. Expected "
                "augment=None, and both augmented alike in the dataset. Received: "
                f"augment={self.augment} and data with 'image'"
            )
        for name, one in conditions.items():
            wanted = self._shape_taken(name)
            if wanted is not None and not shapes_fit(wanted[1:], one.shape[1:]):
                raise ValueError(
                    f"The data's '{name}' must have the shape that the denoiser takes, {wanted}. "
                    f"Received: '{name}' of shape {tuple(one.shape)}"
                )
        if self.num_classes is not None:
            labels, is_known, fault = class_labels(batch.y, self.num_classes)
            conditions["label"] = ops.where(is_known, labels, self.num_classes)
        return conditions, fault

    def denoise(
        self,
        denoiser: keras.Model,
        noisy: Any,
        time: Any,
        conditions: dict[str, Any],
        training: bool = False,
    ) -> Any:
        """Return the output of a denoiser, of the shape of `noisy` and at least float32.

        Args:
            denoiser: `trainer.denoiser` or its moving average, `trainer.teacher_denoiser`.
            noisy: x_t, `(batch, ...)`.
            time: float32 `(batch,)`.
            conditions: tensors by name.
            training: whether it runs in training mode.

        Raises:
            ValueError: if it returns another shape.
        """
        output = denoiser({"x": noisy, "time": time, **conditions}, training=training)
        shape = getattr(output, "shape", None)
        if shape is None or tuple(shape[1:]) != tuple(noisy.shape[1:]):
            raise ValueError(
                "`denoiser` must return one tensor of the shape of its input 'x'. Received: "
                f"{'several tensors' if shape is None else tuple(shape)} for "
                f"{tuple(noisy.shape)}"
            )
        return at_least_float32(output)

    def call(self, x: Any) -> Any:
        """Return the representation of data, that of `trainer.encoder`."""
        return self.encoder(self.input_kind.as_floats(x))

    def encoder_at(self, layer: str | None = None, time: float | None = None) -> DenoiserFeatures:
        """Return an encoder: the features of a layer of the averaged denoiser at a time.

        Args:
            layer: name of a layer; `None` means the middle, see `DenoiserFeatures`.
            time: time of the path.
        """
        value_range = self.value_range if self.compress is None else None
        return DenoiserFeatures(
            self.teacher_denoiser,
            self.noise_path,
            layer,
            time,
            value_range,
            self.num_classes,
            self.compress,
        )

    # The space in which data is noise and becomes data: that of the data, from -1 to 1

    def to_space(self, x: Any) -> Any:
        """Return data as the denoiser sees them."""
        return scaled(x, self.value_range) if self.compress is None else self.compress(x)

    def from_space(self, z: Any) -> Any:
        """Return data of what the denoiser made, in their own range."""
        return unscaled(z, self.value_range)

    def unclipped(self, z: Any) -> Any:
        """Return data as `from_space`, not clipped, with gradients everywhere."""
        return unscaled(z, self.value_range, clip=False)

    def mask_in_space(self, mask: Any, z: Any) -> Any:
        """Return a mask of data as one of what the denoiser sees, `z`."""
        return mask

    @property
    def is_bounded(self) -> bool:
        """Whether data lie between -1 and 1 as the denoiser sees them."""
        return self.value_range is not None

    @property
    def sampling_network(self) -> keras.Model:
        """The denoiser with the moving average of the weights."""
        return self.teacher_denoiser

    def data_and_noise(self, output: Any, noisy: Any, a: Any, s: Any) -> tuple[Any, Any]:
        """Return x_0 and ε as an output of the denoiser implies them.

        Args:
            output: what the denoiser returned.
            noisy: x_t.
            a: factor of the data in it.
            s: factor of the noise in it.
        """
        return data_and_noise(self.prediction, output, noisy, a, s)

    # Sampling

    def sample(
        self,
        n: int | None = None,
        steps: int = 50,
        guidance_scale: float = 1.0,
        sampler: Sampler | None = None,
        seed: int | None = None,
        *,
        label: Any = None,
        tokens: Any = None,
        tokens_mask: Any = None,
        image: Any = None,
        start: Any = None,
        strength: float | None = None,
        known: Any = None,
        mask: Any = None,
        classifier: ClassifierGuidance | keras.layers.Layer | None = None,
        batch_size: int = 256,
        verbose: int = 0,
    ) -> np.ndarray:
        """Make data from noise, in one compiled loop, with the average of the weights.

        Args:
            n: how many examples. `None` means as many as `start`, `known` or the conditions have.
            steps: number of steps of the sampler.
            guidance_scale: w of classifier-free guidance: predictions are those without condition
                plus w times the difference that the condition makes. 1 is the plain conditional
                model, 0 the unconditional one. With `condition_dropout=0` the unconditional model
                is not trained: then only 1 is possible, and all conditions must be given.
            sampler: object of `keras_ssl.samplers`; `None` means the method's default.
            seed: integer seed of all random numbers, of which the last 32 bits count. The same seed
                gives the same samples on any number of replicas that divides the batch; `None`
                draws others at each call.
            label: classes, an integer or `(n,)`, of a model of `num_classes`; -1 is no label,
                which with `condition_dropout=0` means something only after training on data of
                which a part had the label -1.
            tokens: `(n, length, dim)`, for a denoiser that attends to tokens.
            tokens_mask: booleans `(n, length)`, `False` for padding.
            image: `(n, height, width, channels)`, for a denoiser that takes a condition image.
            start: data to change, `(n, ...)` in the range of the data: noise is added to it, and
                `steps * strength` steps take it away again.
            strength: how much of `start` is changed, from 0, nothing, to 1, all; `None` means 0.8.
            known: data of which a part is kept, `(n, ...)`, where `mask` is 0.
            mask: `(n, ...)` of the shape of `known`, the last axis may be 1: 1 where data is made.
            classifier: classifier that leads samples to `label`, see `ClassifierGuidance`; a Keras
                model means `ClassifierGuidance(model)`.
            batch_size: how many examples are made together. A smaller `n` is filled up to a power
                of two, so that few loops are traced.
            verbose: 1 for a progress bar.

        Returns:
            float32 array `(n, ...)` in the range of the data.

        Raises:
            ValueError: if the trainer is not built, numbers are out of range, an input does not fit
                the model or another one, or there is guidance but nothing that guides.
            TypeError: if `sampler` is not a sampler.
        """
        request = request_of(
            self,
            n=n,
            steps=steps,
            guidance_scale=guidance_scale,
            sampler=sampler,
            seed=seed,
            label=label,
            tokens=tokens,
            tokens_mask=tokens_mask,
            image=image,
            start=start,
            strength=strength,
            known=known,
            mask=mask,
            classifier=classifier,
        )
        return self._run(request, [len(request.plan)], batch_size, verbose)[0]

    def trajectory(self, frames: int = 8, **arguments: Any) -> np.ndarray:
        """Return what `sample` makes, on its way from noise to data.

        Args:
            frames: how many states to return, the last of which is the result.
            **arguments: as in `sample`.

        Returns:
            float32 array `(frames, n, ...)` in the range of the data.

        Raises:
            ValueError: as `sample`, or if there are fewer steps than frames.
        """
        frames = checks.integer("frames", frames, minimum=1)
        defaults = {
            name: one.default for name, one in inspect.signature(self.sample).parameters.items()
        }
        if unknown := set(arguments) - set(defaults):
            raise TypeError(f"Expected arguments of `sample`. Received: {sorted(unknown)}")
        arguments = defaults | arguments
        batch_size, verbose = arguments.pop("batch_size"), arguments.pop("verbose")
        request = request_of(self, **arguments)
        stops = np.round(np.linspace(0, len(request.plan), frames + 1)[1:]).astype(int).tolist()
        if len(set(stops)) < frames:
            raise ValueError(
                f"`frames` must be at most the number of evaluations, {len(request.plan)}. "
                f"Received: frames={frames}"
            )
        return self._run(request, stops, batch_size, verbose)

    def _run(self, request: Request, stops: list[int], batch_size: int, verbose: int) -> np.ndarray:
        """Return the data at each stop, `(stops, n, ...)`."""
        batch_size = checks.integer("batch_size", batch_size, minimum=1)
        found = None
        for rows, number, made in self._loops.run(request, batch_size, stops, verbose):
            if found is None:
                found = np.empty((len(stops), request.count, *made.shape[1:]), made.dtype)
            found[number, rows] = made
        return found

    def check_can_sample(self) -> None:
        """Raise unless the trainer is built."""
        if self.input_specs is None:
            raise ValueError(
                f"{type(self).__name__} must be trained or built before it can sample: call "
                "`trainer.build(shape)` with the shape of a batch. Received: a trainer not built"
            )

    @classmethod
    def denoiser_for(cls, images: ImageSpec) -> keras.Model:
        """Return the denoiser of a trainer that is made by its name."""
        return networks.diffusion_unet(
            images.shape, (32, 64, 128), num_classes=images.part("num_classes")
        )

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        config = super().get_config()
        del config["encoder"]  # a part of the denoiser
        momentum = self.teacher.momentum
        return {
            **config,
            **serialize_parts(denoiser=self.denoiser),
            "value_range": None if self.value_range is None else list(self.value_range),
            "num_classes": self.num_classes,
            "condition_dropout": self.condition_dropout,
            "ema_momentum": (
                keras.saving.serialize_keras_object(momentum) if callable(momentum) else momentum
            ),
            "feature_layer": self.feature_layer,
            "feature_time": self.feature_time,
            "seed": self.seed,
        }
