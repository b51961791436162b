"""A method whose targets are made from an integer input: masked tokens, as BERT's."""

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.trainers import SelfSupervisedModel
from tests.trainers.case import Case, zeros
from tests.trainers.small import tokens


@keras.saving.register_keras_serializable(package="keras_ssl_tests")
class MaskedTokenModel(SelfSupervisedModel):
    """The encoder maps tokens to `(batch, length, features)`; token 0 is the mask."""

    def __init__(self, encoder, vocabulary, mask_rate=0.3, seed=0, **kwargs):
        super().__init__(encoder, **kwargs)
        self.vocabulary, self.mask_rate, self.seed = vocabulary, mask_rate, seed
        self.tokens = keras.layers.Dense(vocabulary, dtype="float32")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def check_views(self, views):
        if len(views.shape) != 2 or "int" not in str(views.dtype):
            raise ValueError(
                "Expected integer tokens of shape (batch, length). "
                f"Received: {views.dtype} of shape {views.shape}"
            )

    def call(self, x, training=False):
        return ops.mean(self.encoder(x, training=training), axis=1)

    def embed(self, batch, training):
        length = batch.x.shape[1]
        draw = distribute.draw_per_example(
            lambda n: keras.random.uniform((n, length), seed=self.seed_generator),
            ops.shape(batch.x)[0],
        )
        mask = ops.cast(draw < self.mask_rate, "float32")
        visible = ops.where(mask > 0, ops.zeros_like(batch.x), batch.x)
        logits = self.tokens(self.encoder(visible, training=training))
        loss = keras.losses.sparse_categorical_crossentropy(batch.x, logits, from_logits=True)
        # by the expected number of masked positions: the true one differs between replicas
        return {"masked_tokens": loss * mask / self.mask_rate}

    def get_config(self):
        own = {"vocabulary": self.vocabulary, "mask_rate": self.mask_rate, "seed": self.seed}
        return {**super().get_config(), **own}


CASES = {
    "masked tokens": Case(
        make=lambda: MaskedTokenModel(
            keras.Sequential(
                [
                    keras.layers.Input((28,), dtype="int32"),
                    keras.layers.Embedding(9, 8),
                    keras.layers.Conv1D(16, 5, padding="same", activation="relu"),
                ]
            ),
            vocabulary=9,
        ),
        x=tokens,
        decreasing_loss="loss",
        decrease=0.45,
        bad_data=((zeros(64, 28), "integer tokens"), (zeros(64, 28, 1, dtype="int32"), "tokens")),
        represents="tokens",
    ),
}
