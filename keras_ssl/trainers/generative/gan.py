"""GAN: a generator against a discriminator that learns to tell its examples from data."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, losses
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers._class_labels import are_class_labels, class_labels
from keras_ssl.trainers._layer_outputs import layer_model
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type, describe
from keras_ssl.trainers.engine.gradients import input_gradient
from keras_ssl.trainers.generative._image_networks import pixel_discriminator, pixel_generator
from keras_ssl.trainers.generative._output_range import check_output_range
from keras_ssl.trainers.generative._samples import generate, generate_like, numbers_to_sample
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch, Update
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class GAN(SelfSupervisedModel):
    r"""GAN: generative adversarial network.

    A generator G maps random numbers z ~ N(0, 1) to examples. A discriminator d learns to tell them
    from data x, and the generator to deceive it. In a training step the discriminator takes
    `discriminator_steps` gradient steps, then the generator one, each with numbers z of its own.
    The objective is a loss: with the default, `losses.NonSaturatingGAN()`, and D = sigmoid(d),

        L_D = -log D(x) - log(1 - D(G(z))),    L_G = -log D(G(z))

    A gradient penalty keeps the slope of the discriminator, of the mean of several outputs, at 1
    between data and generated examples, as the Wasserstein objective needs it:

        L_D + λ (|∇ d(u)| - 1)²,    u = r x + (1 - r) G(z),    r uniform in [0, 1]

    `sample` draws from a generator whose weights are averages over the steps, which fluctuates
    less. With `num_classes`, both networks get labels too, those of the data: `fit` takes
    `(x, y)`. An example with the label -1 is left out.

    Args:
        generator: layer called on z, float32 `(batch, latent_dim)`, or on `{"z": z, "label":
            labels}`, with int32 labels `(batch,)`, that returns what is shaped as the data.
        discriminator: layer called on data, or on `{"x": data, "label": labels}`, that returns
            `(batch, 1)`, or several outputs per example, such as those of patches, whose losses
            are averaged. A discriminator for a gradient penalty should have no batch
            normalization, since the slope is that of each example.
        latent_dim: number of random numbers that an example is made of.
        loss: objective, a `losses.GANLoss`: `losses.NonSaturatingGAN()`, which `None` means,
            `losses.MinimaxGAN()`, `losses.LeastSquaresGAN()`, `losses.HingeGAN()`,
            `losses.WassersteinGAN()`, or one of your own.
        gradient_penalty: λ, at least 0. The paper on the Wasserstein objective uses 10.
        discriminator_steps: gradient steps of the discriminator on each batch.
        ema_momentum: momentum of the averages of the generator's weights, a number or a schedule;
            `None` keeps no averages. See `trainers.EMATeacher`.
        num_classes: number of classes of a conditional GAN, or `None`.
        feature_layer: name of the layer of the discriminator, a functional or sequential model,
            whose output is the representation. With `None`, it is what the discriminator returns;
            of a conditional one, for each of the classes.
        augment: layer that makes one view of a batch, which is taken for the data.
        seed: integer seed of z and r.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: data.
        training: whether the discriminator runs in training mode.

    Input shape:
        Any structure of tensors `(batch, ...)` that the discriminator takes and the generator
        returns. Integer images become floats of the same numbers: their scale is the generator's.

    Output shape:
        That of the representation.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range, or the discriminator has no layer of the name;
            before the first step, if the generator's output has not the structure and the shapes of
            the data, the data has no labels for `num_classes`, or the generator ends in a sigmoid
            or tanh and the data has other values.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
    >>> trainer = keras_ssl.trainers.GAN(
    ...     generator=keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(2)]),
    ...     discriminator=keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]),
    ...     latent_dim=4,
    ...     loss=keras_ssl.losses.WassersteinGAN(),
    ...     gradient_penalty=10.0,
    ... )
    >>> trainer.compile({"generator": "adam", "discriminator": "adam"})
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['discriminator', 'generator', 'gradient_penalty', 'loss']
    >>> trainer.sample(3, seed=0).shape
    (3, 2)

    Reference:
        - [Goodfellow et al., Generative Adversarial Networks](https://arxiv.org/abs/1406.2661)
        - [Mirza & Osindero, Conditional Generative Adversarial
          Nets](https://arxiv.org/abs/1411.1784)
        - [Gulrajani et al., Improved Training of Wasserstein
          GANs](https://arxiv.org/abs/1704.00028): the gradient penalty
        - [Yazıcı et al., The Unusual Effectiveness of Averaging in GAN
          Training](https://arxiv.org/abs/1806.04498)
    """

    view_count = 1
    # the first is the one whose steps count, for schedules and averages
    optimizer_names = ("generator", "discriminator")

    def __init__(
        self,
        generator: keras.layers.Layer,
        discriminator: keras.layers.Layer,
        latent_dim: int,
        loss: losses.GANLoss | None = None,
        gradient_penalty: float = 0.0,
        discriminator_steps: int = 1,
        ema_momentum: float | keras.optimizers.schedules.LearningRateSchedule | None = 0.999,
        num_classes: int | None = None,
        feature_layer: str | None = None,
        augment: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        check_type("generator", generator, keras.layers.Layer)
        check_type("discriminator", discriminator, keras.layers.Layer)
        loss = losses.NonSaturatingGAN() if loss is None else loss
        if not isinstance(loss, losses.GANLoss):
            raise TypeError(
                "`loss` must be a `keras_ssl.losses.GANLoss`, such as `losses.HingeGAN()`. "
                f"Received: loss={loss!r}"
            )
        num_classes = checks.integer("num_classes", num_classes, minimum=2, optional=True)
        encoder = discriminator if num_classes is None else None
        if feature_layer is not None:
            encoder = layer_model("discriminator", discriminator, feature_layer, key="x")
        super().__init__(encoder, augment, **kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.latent_dim = checks.integer("latent_dim", latent_dim, minimum=1)
        self.loss_function = loss
        self.gradient_penalty = checks.number("gradient_penalty", gradient_penalty, minimum=0)
        self.discriminator_steps = checks.integer("discriminator_steps", discriminator_steps, 1)
        self.num_classes = num_classes
        self.uses_labels = num_classes is not None
        self.feature_layer = feature_layer
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.ema_momentum = ema_momentum
        if ema_momentum is not None:
            self.teacher = EMATeacher(self, ["generator"], ema_momentum, copy_statistics=True)

    def updates(self) -> list[Update]:
        """Return the gradient steps: of the discriminator, then of the generator."""
        return [
            Update(
                self.discriminator_losses,
                self.discriminator.trainable_weights,
                self.optimizers["discriminator"],
                embed=self.discriminate,
                losses_of=self.losses_of_discriminator,
                steps=self.discriminator_steps,
            ),
            Update(
                self.generator_losses,
                self.generator.trainable_weights,
                self.optimizers["generator"],
                embed=self.discriminate_generated,
                losses_of=self.losses_of_generator,
            ),
        ]

    # The discriminator

    def discriminator_losses(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the discriminator's losses of a batch."""
        return self.losses_of_discriminator(self.discriminate(batch, training), training)

    def discriminate(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return what the discriminator says of data and of generated examples, and its slopes."""
        x, labels = batch.views, self._labels_of(batch)
        fake = keras.tree.map_structure(ops.stop_gradient, self._generate_like(x, labels, training))
        outputs = {
            "real": self._outputs(x, labels, training),
            "fake": self._outputs(fake, labels, training),
            **self._weights(batch),
        }
        if self.gradient_penalty:
            slopes = self._slopes(x, fake, labels, training)
            outputs["gradient_penalty"] = losses.gradient_penalty(slopes)
        return outputs

    def losses_of_discriminator(self, outputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the discriminator's part of the objective, and the penalty of its slopes."""
        weights = outputs.get("weights")
        real, fake = outputs["real"], outputs["fake"]
        named = {"discriminator": self.loss_function(real, fake, sample_weight=weights)}
        if self.gradient_penalty:
            penalty = outputs["gradient_penalty"]
            named["gradient_penalty"] = penalty if weights is None else weights * penalty
        return named

    def _slopes(self, real: Any, fake: Any, labels: Any, training: bool) -> Any:
        """Return the discriminator's gradient between each example of the data and a fake."""
        rows = ops.shape(keras.tree.flatten(real)[0])[0]
        share = distribute.draw_per_example(
            lambda n: keras.random.uniform((n,), dtype="float32", seed=self.seed_generator), rows
        )

        def between(x: Any, y: Any) -> Any:
            r = ops.reshape(ops.cast(share, x.dtype), (-1, *[1] * (len(x.shape) - 1)))
            return y + r * (x - y)

        u = keras.tree.map_structure(between, real, fake)

        def mean_output(x: Any) -> Any:  # of patches, whose losses are averaged too
            outputs = at_least_float32(self._outputs(x, labels, training))
            return ops.mean(outputs, axis=tuple(range(1, len(outputs.shape))))

        return input_gradient(mean_output, u)

    # The generator

    def generator_losses(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the generator's loss of a batch."""
        return self.losses_of_generator(self.discriminate_generated(batch, training), training)

    def discriminate_generated(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return what the discriminator says of generated examples."""
        labels = self._labels_of(batch)
        fake = self._generate_like(batch.views, labels, training)
        return {"fake": self._outputs(fake, labels, training), **self._weights(batch)}

    def losses_of_generator(self, outputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the generator's part of the objective."""
        weights = outputs.get("weights")
        return {"generator": self.loss_function.generator(outputs["fake"], sample_weight=weights)}

    # What both need

    def _generate_like(self, x: Any, labels: Any, training: bool) -> Any:
        """Return as many generated examples as there are in `x`."""
        fake = generate_like(
            x,
            lambda z: self.generator(self._with_label("z", z, labels), training=training),
            self.latent_dim,
            self.seed_generator,
        )
        return keras.tree.map_structure(lambda one, other: ops.cast(other, one.dtype), x, fake)

    def _outputs(self, x: Any, labels: Any, training: bool) -> Any:
        outputs = self.discriminator(self._with_label("x", x, labels), training=training)
        if not hasattr(outputs, "shape") or len(outputs.shape) < 2:
            raise ValueError(
                "`discriminator` must return one tensor of shape (batch, 1) or (batch, ...). "
                f"Received: {describe(outputs)}"
            )
        return outputs

    def _with_label(self, name: str, value: Any, labels: Any) -> Any:
        """Return what a network is called on."""
        return value if labels is None else {name: value, "label": labels}

    def _labels_of(self, batch: Batch) -> Any:
        """Return the labels for both networks, int32 `(batch,)`, 0 in place of -1; or `None`."""
        if self.num_classes is None:
            return None
        if not are_class_labels(batch.y):
            raise ValueError(
                "A conditional GAN needs integer labels of shape (batch,). "
                f"Received: y={describe(batch.y)}"
            )
        return class_labels(batch.y, self.num_classes)[0]

    def _weights(self, batch: Batch) -> dict[str, Any]:
        """Return weights of examples that leave out those without a label."""
        if self.num_classes is None:
            return {}
        is_known = class_labels(batch.y, self.num_classes)[1]
        return {"weights": ops.cast(is_known, "float32")}

    def loss_weight(self, name: str) -> Any:
        """Return the factor of a named loss in the total loss: that of the penalty holds λ."""
        weight = super().loss_weight(name)
        return self.gradient_penalty * weight if name == "gradient_penalty" else weight

    def label_classes(self) -> float | None:
        """Return the number of classes, or what the probe says."""
        classes = super().label_classes()
        return classes if self.num_classes is None else min(self.num_classes, classes or np.inf)

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if the generator cannot return values of the data."""
        check_output_range("generator", self.generator, x, self.augment)

    # Use

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the representation: the output of a layer, or those of the discriminator."""
        x = self.input_kind.as_floats(x)
        if self.encoder is not None:
            return self.encoder(x, training=training)
        rows = ops.shape(keras.tree.flatten(x)[0])[0]
        of_classes = [
            self._outputs(x, ops.full((rows,), number, dtype="int32"), training)
            for number in range(self.num_classes)
        ]
        return ops.concatenate(of_classes, axis=-1)

    def sample(
        self,
        n: int,
        seed: int | None = None,
        label: Any = None,
        averaged: bool = True,
        batch_size: int = 256,
    ) -> Any:
        """Draw random numbers and return the examples that the generator makes of them.

        Args:
            n: number of examples.
            seed: integer seed. The same seed gives the same examples, on any number of replicas;
                `None` draws others at each call.
            label: of a conditional GAN, a class for all examples, or integers `(n,)`. `None`
                draws classes.
            averaged: whether to use the generator of averaged weights, if there is one.
            batch_size: number of examples that are generated at a time.

        Returns:
            NumPy array `(n, ...)`, or a structure of them, as the generator returns.

        Raises:
            ValueError: if `n` is not positive, labels are not classes or there are none, or the
                trainer is not built.
        """
        seeds = keras.random.SeedGenerator(seed)
        z = numbers_to_sample(self, n, seeds)
        labels = self._labels_to_sample(int(n), label, seeds)
        is_averaged = averaged and self.ema_momentum is not None
        generator = self.teacher_generator if is_averaged else self.generator
        inputs = self._with_label("z", z, labels)
        return generate(lambda one: generator(one, training=False), inputs, batch_size)

    def _labels_to_sample(self, n: int, labels: Any, seeds: Any) -> Any:
        if self.num_classes is None:
            if labels is not None:
                raise ValueError(
                    f"`label` needs a conditional GAN, of `num_classes`. Received: label={labels!r}"
                )
            return None
        if labels is None:
            return keras.random.randint((n,), 0, self.num_classes, seed=seeds)
        values = np.broadcast_to(np.asarray(labels), (n,)) if np.ndim(labels) == 0 else labels
        values = np.asarray(values)
        are_classes = values.dtype.kind in "iu" and np.all(
            (values >= 0) & (values < self.num_classes)
        )
        if values.shape != (n,) or not are_classes:
            raise ValueError(
                f"`label` must be an integer in 0..{self.num_classes - 1} or {n} of them. "
                f"Received: label={labels!r}"
            )
        return ops.convert_to_tensor(values, "int32")

    @classmethod
    def latent_dim_for(cls, images: ImageSpec) -> int:
        """Return how many random numbers a trainer that is made by its name draws."""
        return 100

    @classmethod
    def generator_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the generator of a trainer that is made by its name: to pixels."""
        return pixel_generator(images.shape, images.part("latent_dim"), images.part("num_classes"))

    @classmethod
    def discriminator_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the discriminator of a trainer that is made by its name: of pixels."""
        return pixel_discriminator(images.shape, images.part("num_classes"))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        config = super().get_config()
        del config["encoder"]  # a part of the discriminator
        parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "loss": self.loss_function,
            "ema_momentum": self.ema_momentum,
        }
        return {
            **config,
            **serialize_parts(**parts),
            "latent_dim": self.latent_dim,
            "gradient_penalty": self.gradient_penalty,
            "discriminator_steps": self.discriminator_steps,
            "num_classes": self.num_classes,
            "feature_layer": self.feature_layer,
            "seed": self.seed,
        }
