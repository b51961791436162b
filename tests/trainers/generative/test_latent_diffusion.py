"""Latent diffusion: scale, decoding, fine-tuning of the decoder, filling, and what is refused."""

import keras
import numpy as np
import pytest

from keras_ssl import layers, networks, samplers, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.generative.denoisers import (
    dense_denoiser,
    image_denoiser,
    small_images,
    small_vectors,
)
from tests.trainers.small import dense


def autoencoder():
    """A linear autoencoder of vectors of 64 values from 0 to 255, with latents of 8."""
    encoder, decoder = dense(8, inputs=64), dense(64, inputs=8)
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(64, 8)))[0]
    encoder.set_weights([basis, np.zeros(8)])
    decoder.set_weights([basis.T, np.full(64, 50.0)])
    return encoder, decoder


CASES = {
    "LatentDiffusion": Case(
        make=lambda: trainers.LatentDiffusion(
            dense_denoiser(8), *autoencoder(), ema_momentum=0.9, seed=0
        ),
        x=small_vectors,
        decreasing_loss="loss",
        decrease=0.4,
        epochs=20,
        bad_data=(
            (zeros(0, 64), "no data"),
            (zeros(64, 10), "64"),
            (np.full((64, 64), 300.0, "float32"), "value_range=.*from 300 to 300"),
        ),
    ),
}


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    trainer = CASES["LatentDiffusion"].make()
    trainer.compile(keras.optimizers.Adam(3e-3))
    trainer.fit(small_vectors(), batch_size=64, epochs=2, verbose=0)
    return trainer


def test_scale_is_measured_before_training_saved_and_inverted(trained, tmp_path):
    x, (basis, _) = small_vectors(), trained.latents.encoder.get_weights()
    scale = float(trained.latents.scale)
    assert scale == pytest.approx(1 / np.std(x @ basis), rel=1e-4)
    assert np.std(trained.to_space(x)) == pytest.approx(1, rel=1e-3)
    np.testing.assert_allclose(
        trained.from_space(trained.to_space(x)), (x @ basis @ basis.T + 50).clip(0, 255), atol=0.01
    )
    given = trainers.LatentDiffusion(dense_denoiser(8), *autoencoder(), latent_scale=0.5)
    given.compile("adam")
    given.fit(x[:32], verbose=0)
    assert float(given.latents.scale) == 0.5
    trained.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    assert float(loaded.latents.scale) == scale
    np.testing.assert_allclose(
        loaded.sample(4, steps=3, seed=0),
        trained.sample(4, steps=3, seed=0),
        rtol=1e-4,
        atol=1e-2,
    )


def test_samples_are_data_and_features_are_those_of_latents(trained):
    made = trained.sample(8, steps=4)
    assert made.shape == (8, 64) and made.min() >= 0 and made.max() <= 255
    x = small_vectors()[:8]
    near = trained.sample(start=x, strength=0.0)
    np.testing.assert_allclose(near, trained.from_space(trained.to_space(x)), atol=0.01)
    assert trained.predict(x, verbose=0).shape == trained.encoder(x).shape == (8, 32)
    bits = trained.log_likelihood(x, levels=None)
    assert bits.shape == (8,) and np.isfinite(bits).all()


def test_the_decoder_alone_is_fine_tuned(trained):
    before = [np.array(one) for one in trained.weights]
    x = small_vectors()
    error = np.square(trained.from_space(trained.to_space(x)) - x).mean()
    history = trained.fine_tune_decoder(
        x, keras.optimizers.Adam(0.02), batch_size=64, epochs=8, verbose=0
    )
    assert np.square(trained.from_space(trained.to_space(x)) - x).mean() < 0.8 * error
    assert history.history["loss"][-1] < history.history["loss"][0]
    decoder = {id(one) for one in trained.latent_decoder.weights}
    for weight, value in zip(trained.weights, before, strict=True):
        assert np.array_equal(weight, value) != (id(weight) in decoder)
    assert not trained.latent_decoder.trainable_weights
    trained.fit(x[:64], verbose=0)  # the denoiser goes on learning


def test_images_are_filled_where_latents_have_places():
    """Of 8x8 images with latents of 4x4; a mean and a log-variance are split."""
    encoder = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 2, strides=2, name="both")]
    )
    decoder = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.UpSampling2D(2)])
    decoder.add(keras.layers.Conv2D(1, 1, name="frozen"))
    decoder.add(keras.layers.BatchNormalization())
    decoder.get_layer("frozen").trainable = False
    schedule = samplers.NoiseSchedule("cosine", steps=20)
    trainer = trainers.LatentDiffusion(
        image_denoiser(4), encoder, decoder, schedule, "v", variational=True
    )
    x = small_images()[:8]
    trainer.compile("adam")
    trainer.fit(x, verbose=0)
    mask = np.zeros((8, 8, 8, 1))
    mask[:, :3] = 1
    made = trainer.sample(known=x, mask=mask, steps=3)
    np.testing.assert_array_equal(made[:, 3:], x[:, 3:])
    small = np.array(trainer.mask_in_space(mask.astype("float32"), trainer.to_space(x)))
    np.testing.assert_array_equal(small[0, :, 0, 0], [1, 1, 0, 0])
    # the optimizer gets neither what was frozen nor statistics, which move on their own
    before = decoder.get_weights()
    tuner = keras.optimizers.SGD(0.1, momentum=0.9)
    trainer.fine_tune_decoder(x, tuner, verbose=0)
    moved = [
        not np.array_equal(one, other)
        for one, other in zip(before, decoder.get_weights(), strict=True)
    ]
    assert moved == [False, False, True, True, True, True]
    assert len(tuner.variables) == 4 and not decoder.trainable_weights
    decoder.trainable = False
    with pytest.raises(ValueError, match="whose layers are all frozen"):
        trainer.fine_tune_decoder(x, verbose=0)


def test_tokens_by_an_encoder_in_the_denoiser_condition_latents_of_a_vq_vae(tmp_path):
    """Three labels for each image, embedded by layers that learn with the denoiser."""
    x = small_images()[:64] / 255
    vq_vae = trainers.VQVAE(
        keras.layers.Conv2D(1, 2, strides=2),
        keras.layers.Conv2DTranspose(1, 2, strides=2),
        layers.VectorQuantizer(8, seed=0),
    )
    vq_vae.compile("adam")
    vq_vae.fit(x, verbose=0)
    vectors = keras.Input((4, 4, 1))
    decoder = keras.Model(vectors, vq_vae.decoder(vq_vae.quantizer(vectors)[0]))
    inputs = {
        "x": keras.Input((4, 4, 1), name="x"),
        "time": keras.Input((), name="time"),
        "tokens": keras.Input((3,), dtype="int32", name="tokens"),
    }
    embed = keras.layers.Embedding(6, 4, name="labels")
    output = image_denoiser(4, token_dim=4)({**inputs, "tokens": embed(inputs["tokens"])})
    trainer = trainers.LatentDiffusion(
        keras.Model(inputs, output), vq_vae.encoder, decoder, value_range=(0.0, 1.0), seed=0
    )
    trainer.compile("adam")
    data = {"x": x, "tokens": np.random.default_rng(0).integers(1, 6, (64, 3)).astype("int32")}
    before = embed.get_weights()[0]
    trainer.fit(data, batch_size=16, verbose=0)
    # all six have learned, 0 too, which stands for labels left out
    assert np.any(embed.get_weights()[0] != before, axis=1).all()
    made = trainer.sample(tokens=data["tokens"][:4], steps=3, guidance_scale=2.0, seed=1)
    # each place is the decoder's output of a code
    codes = np.asarray(vq_vae.decode(np.arange(8, dtype="int32")[:, None, None]))
    tiles = made.reshape(4, 4, 2, 4, 2).swapaxes(2, 3).reshape(-1, 4)
    distances = np.abs(tiles[:, None] - codes.reshape(8, 4).clip(0, 1)).max(axis=-1)
    assert distances.min(axis=1).max() < 1e-5
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    again = loaded.sample(tokens=data["tokens"][:4], steps=3, guidance_scale=2.0, seed=1)
    np.testing.assert_allclose(again, made, atol=1e-5)


def texts_of(classes, padding=0):
    """A start token, a word for each class, an end token, and padding."""
    ids = np.full((len(classes), 5), padding, "int32")
    ids[:, :3] = np.stack([np.full_like(classes, 2), classes + 5, np.full_like(classes, 3)], 1)
    return {"tokens": ids, "tokens_mask": np.broadcast_to(np.arange(5) < 3, ids.shape)}


def text_model():
    """Latents of two numbers, told by a text tower that learns with the denoiser."""
    inputs = {
        "x": keras.Input((2,), name="x"),
        "time": keras.Input((), name="time"),
        "tokens": keras.Input((None, 8), name="tokens"),
        "tokens_mask": keras.Input((None,), dtype="bool", name="tokens_mask"),
    }
    h = keras.layers.Concatenate()([inputs["x"], keras.layers.Reshape((1,))(inputs["time"] / 1000)])
    h = keras.layers.Dense(64, "silu")(h)
    query = keras.layers.Reshape((1, 64))(h)
    attention = layers.MultiHeadAttention(2, 8)
    told = attention(query, inputs["tokens"], value_mask=inputs["tokens_mask"])
    h = keras.layers.Dense(64, "silu", name="middle")(
        keras.layers.Concatenate()([h, keras.layers.Flatten()(told)])
    )
    denoiser = networks.text_conditioned(
        keras.Model(inputs, keras.layers.Dense(2)(h)),
        networks.text_transformer((8, 1, 2), 10, max_length=8, seed=0),
    )
    encoder, decoder = dense(2, inputs=2), dense(2, inputs=2)
    for one in (encoder, decoder):
        one.set_weights([np.eye(2), np.zeros(2)])
    return trainers.LatentDiffusion(
        denoiser, encoder, decoder, prediction="v", value_range=None, ema_momentum=0.9, seed=0
    )


def test_texts_lead_samples_and_guidance_leads_them_further(tmp_path):
    """Clouds around (1, 0) and (-1, 0), each with a word of its own."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    classes = np.arange(512) % 2
    points = rng.normal(0, 0.7, (512, 2)) + np.stack([1.0 - 2 * classes, 0 * classes], axis=1)
    trainer = text_model()
    trainer.compile(keras.optimizers.Adam(1e-2))
    embedding = trainer.denoiser.get_layer("text_tokens").trainable_weights[0]
    before = np.array(embedding)
    data = {"x": points.astype("float32"), **texts_of(classes)}
    trainer.fit(data, batch_size=64, epochs=25, verbose=0)
    assert np.any(np.array(embedding) != before)
    asked = np.repeat([0, 1], 64)
    sampler = samplers.DDIM()

    def made(guidance, padding=0, **given):
        given = given or texts_of(asked, padding)
        return trainer.sample(
            128, steps=12, sampler=sampler, guidance_scale=guidance, seed=0, **given
        )

    plain, guided, without = made(1.0), made(3.0), made(0.0)
    means = [one.reshape(2, 64, 2).mean(axis=1)[:, 0] for one in (plain, guided, without)]
    assert means[0][0] > 0.5 and means[0][1] < -0.5  # of 1 and -1
    assert means[1][0] > means[0][0] + 0.2 and means[1][1] < means[0][1] - 0.2
    # without the text both get the samples of one seed, in which both clouds are
    assert np.abs(means[2]).max() < 0.5
    nothing = {"tokens": np.zeros((128, 5), "int32"), "tokens_mask": np.ones((128, 5), bool)}
    np.testing.assert_allclose(made(1.0, **nothing), without, atol=1e-4)
    np.testing.assert_allclose(made(3.0, padding=9), guided, atol=1e-4)  # padding says nothing

    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")
    again = loaded.sample(steps=12, sampler=sampler, guidance_scale=3.0, seed=0, **texts_of(asked))
    np.testing.assert_allclose(again, guided, atol=1e-4)
    assert trainer.predict(data, verbose=0).shape == (512, 64)


def test_bad_parts_and_requests_are_refused(trained):
    encoder, decoder = autoencoder()
    denoiser = dense_denoiser(8)
    with pytest.raises(ValueError, match="`latent_encoder` must be trained"):
        trainers.LatentDiffusion(denoiser, keras.layers.Dense(8), decoder)
    with pytest.raises(TypeError, match="`latent_decoder` must be a Keras Layer"):
        trainers.LatentDiffusion(denoiser, encoder, "decoder")
    with pytest.raises(ValueError, match="`latent_scale` must be a positive number"):
        trainers.LatentDiffusion(denoiser, encoder, decoder, latent_scale=0)
    for parts, message in (
        ((dense_denoiser(5), encoder, decoder), "`denoiser` must take the shape of latents"),
        ((denoiser, encoder, dense(63, inputs=8)), "`latent_decoder` must return one tensor"),
    ):
        trainer = trainers.LatentDiffusion(*parts)
        trainer.compile("adam")
        with pytest.raises(ValueError, match=message):
            trainer.fit(small_vectors()[:32], verbose=0)
    constant = dense(8, inputs=64)
    constant.set_weights([np.zeros((64, 8)), np.zeros(8)])
    trainer = trainers.LatentDiffusion(denoiser, constant, decoder)
    trainer.compile("adam")
    with pytest.raises(ValueError, match="no standard deviation"):
        trainer.fit(small_vectors()[:32], verbose=0)
    x = small_vectors()[:2]
    trainer = trainers.LatentDiffusion(denoiser, encoder, decoder)
    trainer.compile("adam")
    trainer.build((None, 64))
    assert trained.can_sample and not trainer.can_sample
    for call in (lambda: trainer.sample(2), lambda: trainer.predict(x), lambda: trainer.encoder(x)):
        with pytest.raises(ValueError, match="The scale of latents must be known"):
            call()
    with pytest.raises(ValueError, match="an even number of channels"):
        trainers.Latents(dense(3, inputs=64), variational=True, scale=1.0)(x)
    with pytest.raises(ValueError, match="where latents have places"):
        trained.sample(known=x, mask=np.ones_like(x), steps=2)
    with pytest.raises(ValueError, match="and of latents"):
        trained.log_likelihood(x)
