"""A method that samples and has no views: a variational autoencoder."""

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.trainers import SelfSupervisedModel, serialize_parts
from tests.trainers.case import Case, zeros
from tests.trainers.small import dense, scaled_images


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class VAE(SelfSupervisedModel):
    def __init__(self, encoder, decoder, seed=0, **kwargs):
        super().__init__(encoder, **kwargs)
        self.decoder = decoder
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        return ops.split(self.encoder(x, training=training), 2, axis=-1)[0]

    def embed(self, batch, training):
        mean, log_variance = ops.split(self.encoder(batch.x, training=training), 2, axis=-1)
        noise = distribute.draw_per_example(
            lambda n: keras.random.normal((n, mean.shape[-1]), seed=self.seed_generator),
            ops.shape(mean)[0],
        )
        z = mean + ops.exp(0.5 * log_variance) * ops.cast(noise, mean.dtype)
        x = ops.cast(batch.x, "float32")
        error = ops.square(ops.cast(self.decoder(z, training=training), "float32") - x)
        kl = 0.5 * (ops.exp(log_variance) + ops.square(mean) - 1 - log_variance)
        return {
            "reconstruction": error,
            "kl": ops.sum(ops.cast(kl, "float32"), axis=-1),
            "representation": mean,
        }

    def get_config(self):
        parts = serialize_parts(decoder=self.decoder)
        return {**super().get_config(), **parts, "seed": self.seed}


CASES = {
    "VAE": Case(
        make=lambda: VAE(
            dense(64, 16, inputs=784), dense(64, 784, inputs=8, last="sigmoid"), seed=0
        ),
        x=scaled_images,
        decreasing_loss="reconstruction",
        decrease=0.048,
        bad_data=((zeros(0, 784), "no data"), (zeros(64, 10), "784")),
        represents="sampling",
    ),
}
