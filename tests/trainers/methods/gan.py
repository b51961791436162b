"""A method with two optimizers and two updates a step: a GAN."""

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.trainers import SelfSupervisedModel, Update, serialize_parts
from tests.trainers.case import Case, zeros
from tests.trainers.small import dense, scaled_images

_cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class GAN(SelfSupervisedModel):
    """The discriminator's features are the representation; its last layer decides."""

    optimizer_names = ("discriminator", "generator")

    def __init__(self, encoder, generator, noise=8, seed=0, **kwargs):
        super().__init__(encoder, **kwargs)
        self.generator, self.noise, self.seed = generator, noise, seed
        self.decision = keras.layers.Dense(1, dtype="float32")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def updates(self):
        discriminator = self.encoder.trainable_weights + self.decision.trainable_weights
        generator = self.generator.trainable_weights
        return [
            Update(self.discriminator_losses, discriminator, self.optimizers["discriminator"]),
            Update(self.generator_losses, generator, self.optimizers["generator"]),
        ]

    def generate(self, batch, training):
        noise = distribute.draw_per_example(
            lambda n: keras.random.normal((n, self.noise), seed=self.seed_generator),
            ops.shape(batch.x)[0],
        )
        return self.generator(noise, training=training)

    def discriminator_losses(self, batch, training):
        features = self.encoder(batch.x, training=training)
        real = self.decision(features)
        fake = self.decision(self.encoder(self.generate(batch, training), training=training))
        loss = _cross_entropy(ops.ones_like(real), real) + _cross_entropy(
            ops.zeros_like(fake), fake
        )
        return {"discriminator": loss, "representation": features}

    def generator_losses(self, batch, training):
        fake = self.decision(self.encoder(self.generate(batch, training), training=training))
        return {"generator": _cross_entropy(ops.ones_like(fake), fake)}

    def get_config(self):
        parts = serialize_parts(generator=self.generator)
        return {**super().get_config(), **parts, "noise": self.noise, "seed": self.seed}


CASES = {
    "GAN": Case(
        make=lambda: GAN(dense(32, 16, inputs=784), dense(64, 784, inputs=8, last="sigmoid")),
        x=scaled_images,
        decreasing_loss="discriminator",
        decrease=0.7,
        optimizer=lambda: {
            "discriminator": keras.optimizers.Adam(1e-3),
            "generator": keras.optimizers.Adam(1e-4),
        },
        sgd=lambda: {
            "discriminator": keras.optimizers.SGD(0.05),
            "generator": keras.optimizers.SGD(0.05),
        },
        bad_data=((zeros(0, 784), "no data"), (zeros(64, 10), "784")),
        represents="two optimizers",
        micro_batches=False,
    ),
}
