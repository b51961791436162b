"""Tests of word2vec: its losses, parts, saving, what it learns, errors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl import data, trainers
from keras_ssl.trainers._noise import NoiseDistribution
from tests.trainers.case import Case, zeros

TOPICS, WORDS = 4, 40


def topic_text(lines=400, length=12, seed=0):
    """Lines of words of one of four topics; word w belongs to topic w % 4."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(0, TOPICS, lines)
    return (topics[:, None] + TOPICS * rng.integers(0, WORDS // TOPICS, (lines, length))).ravel()


def topic_rows(count=256, centers=8, window=2):
    """Windows of such a text, as arrays."""
    text = data.word_windows(
        topic_text(),
        [12] * 400,
        window,
        batch_size=count,
        centers=centers,
        subsample=None,
        seed=0,
    )
    return {name: one.numpy() for name, one in next(iter(text))[0].items()}


def rows_of(words):
    """Rows of 8 centers without contexts."""
    return {"words": words, **{side: zeros(64, 8, dtype="int32") for side in ("left", "right")}}


BAD_ROWS = (
    (zeros(64, 12, dtype="int32"), 'dictionary of "words", "left" and "right"'),
    (rows_of(zeros(64, 12)), "must be integers"),
    (rows_of(zeros(64, 8, dtype="int32")), r"\(batch, centers \+ 2 \* window\)"),
    (rows_of(np.full((64, 12), 40)), "from 0 to 39.*indices from 40 to 40"),
    ({name: one[:0] for name, one in topic_rows().items()}, "no data"),
)


def case(architecture, objective, **settings):
    return Case(
        make=lambda: trainers.Word2Vec(
            np.bincount(topic_text()), 8, architecture(), objective(), seed=0
        ),
        x=topic_rows,
        decreasing_loss="loss",
        optimizer=lambda: keras.optimizers.Adam(5e-2),
        sgd=lambda: keras.optimizers.SGD(5.0),  # gradients of the first steps are small
        bad_data=BAD_ROWS,
        probed=lambda: topic_rows()["words"][:, 2:-2] % TOPICS,
        **settings,
    )


CASES = {
    "Word2Vec": case(
        trainers.SkipGram,
        lambda: trainers.NegativeSampling(3, noise_per_row=8, seed=1),
        decrease=2.4,
    ),
    "Word2Vec CBOW NCE": case(
        trainers.CBOW,
        lambda: trainers.NoiseContrastive(3, noise_per_row=8, seed=1),
        decrease=0.6,
    ),
    "Word2Vec full softmax": case(trainers.SkipGram, trainers.FullSoftmax, decrease=2.4),
}


COUNTS = np.array([50, 20, 9, 4, 0, 3])
K, NOISE, DIM = 3, 7, 5
OBJECTIVES = {
    "negative sampling": lambda: trainers.NegativeSampling(K, noise_per_row=NOISE, seed=3),
    "NCE": lambda: trainers.NoiseContrastive(K, noise_per_row=NOISE, seed=3),
    "full softmax": trainers.FullSoftmax,
}


def small_rows():
    """Three rows of two centers, with windows of at most 2."""
    return {
        "words": np.array([[0, 1, 2, 3, 5, 0], [1, 1, 0, 2, 3, 1], [0, 0, 5, 5, 0, 0]]),
        "left": np.array([[1, 2], [0, 2], [0, 1]]),
        "right": np.array([[2, 1], [0, 1], [1, 0]]),
    }


def trainer_of(objective, architecture=trainers.SkipGram):
    rng = np.random.default_rng(0)
    trainer = trainers.Word2Vec(COUNTS, DIM, architecture(), OBJECTIVES[objective](), seed=0)
    tables = [trainer.encoder, trainer.objective.outputs]
    if objective == "NCE":
        tables.append(trainer.objective.biases)
    for table in tables:
        table.set_weights([rng.normal(size=(len(COUNTS), table.output_dim))])
    trainer.compile(keras.optimizers.SGD(0.1))
    return trainer, tables


def next_noise(trainer):
    """The words of noise of the next step, for each of the rows."""
    if not hasattr(trainer.objective, "noise"):
        return None
    generator = keras.random.SeedGenerator(0)
    generator.state.assign(trainer.objective.seed_generator.state)
    return np.asarray(trainer.objective.noise.draw((3, NOISE), generator))


def prediction_loss(objective, h, word, noise, outputs, biases=None):
    """The loss of one vector that predicts one word, in float64."""

    def log_sigmoid(score):
        return -np.log1p(np.exp(-score))

    if objective == "full softmax":
        return np.log(np.exp(outputs @ h).sum()) - outputs[word] @ h
    probabilities = COUNTS**0.75 / np.sum(COUNTS**0.75)

    def score(v):
        value = outputs[v] @ h
        if objective == "NCE":
            value += biases[v, 0] - np.log(K * probabilities[v])
        return value

    return -log_sigmoid(score(word)) - K * np.mean([log_sigmoid(-score(v)) for v in noise])


def loss_float64(objective, architecture, noise, vectors, *tables):
    """The mean over centers of the losses of their predictions, pair by pair."""
    x, total = small_rows(), 0.0
    for row in range(3):
        words = x["words"][row]
        of_row = None if noise is None else noise[row]
        for center in range(2):
            place = center + 2
            first, last = place - x["left"][row, center], place + x["right"][row, center]
            contexts = [words[j] for j in range(first, last + 1) if j != place]
            if architecture is trainers.SkipGram:
                predictions = [(vectors[words[place]], context) for context in contexts]
            else:
                mean = np.mean([vectors[one] for one in contexts], axis=0) if contexts else None
                predictions = [(mean, words[place])] if contexts else []
            for h, word in predictions:
                total += prediction_loss(objective, h, word, of_row, *tables)
    return total / 6


@pytest.mark.parametrize("architecture", [trainers.SkipGram, trainers.CBOW])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_step_follows_the_formula_and_its_gradient(objective, architecture):
    trainer, tables = trainer_of(objective, architecture)
    noise = next_noise(trainer)
    before = [np.asarray(table.embeddings, "float64") for table in tables]
    logs = trainer.train_on_batch(small_rows(), return_dict=True)

    def loss(values):
        return loss_float64(objective, architecture, noise, *values)

    assert logs["loss"] == pytest.approx(loss(before), rel=1e-5)
    # the step of SGD against finite differences of the formula
    rng = np.random.default_rng(2)
    for number, table in enumerate(tables):
        gradient = (before[number] - np.asarray(table.embeddings, "float64")) / 0.1
        direction = rng.normal(size=gradient.shape)
        ahead, back = [*before], [*before]
        ahead[number] = before[number] + 1e-5 * direction
        back[number] = before[number] - 1e-5 * direction
        slope = (loss(ahead) - loss(back)) / 2e-5
        assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_noise_is_drawn_by_its_probabilities():
    noise = NoiseDistribution(len(COUNTS))
    assert not noise.is_known
    noise.set_weights_of(COUNTS**0.75)
    drawn = np.asarray(noise.draw((200, 500), keras.random.SeedGenerator(1)))
    expected = COUNTS**0.75 / np.sum(COUNTS**0.75)
    shares = np.bincount(drawn.ravel(), minlength=6) / drawn.size
    np.testing.assert_allclose(shares, expected, atol=0.006)
    assert shares[4] == 0
    words = np.flatnonzero(COUNTS)
    np.testing.assert_allclose(
        noise.log_probabilities(words), np.log(expected[words]), rtol=1e-6, atol=1e-6
    )


def test_first_losses_are_those_of_zero_scores():
    """As in the authors' code, output vectors begin at 0; NCE at the frequencies of the noise."""
    x = small_rows()
    pairs = (x["left"] + x["right"]).sum() / 6
    expected = {
        "negative sampling": (1 + K) * np.log(2),
        "NCE": np.log1p(K) + K * np.log1p(1 / K),
        "full softmax": np.log(6),
    }
    counts = np.maximum(COUNTS, 1)
    for name, make in OBJECTIVES.items():
        trainer = trainers.Word2Vec(counts, DIM, objective=make(), seed=0)
        trainer.compile("sgd", run_eagerly=True)
        logs = trainer.test_on_batch(x, return_dict=True)
        assert logs["loss"] == pytest.approx(pairs * expected[name], rel=1e-5)
    assert 0 < np.abs(trainer.embeddings).max() <= 0.5 / DIM


def test_a_step_of_sgd_changes_only_the_rows_of_its_words():
    trainer, _ = trainer_of("negative sampling")
    x, before = small_rows(), np.asarray(trainer.embeddings)
    trainer.train_on_batch({**x, "right": 0 * x["right"]})
    changed = np.flatnonzero(np.any(before != np.asarray(trainer.embeddings), axis=1))
    assert changed.tolist() == [2, 3, 5]  # the centers with a context on the left
    gradients = []
    trainer.optimizer.apply = lambda grads, variables: gradients.extend(grads)
    trainer.run_eagerly = True
    trainer.train_step((x,))
    assert [type(one).__name__ for one in gradients] == ["IndexedSlices"] * 2


@pytest.mark.parametrize("objective", ["negative sampling", "NCE"])
def test_vectors_tell_the_topics_of_words(objective):
    """Words never seen side by side are near if their topics are the same."""
    counts = np.bincount(topic_text())
    trainer = trainers.Word2Vec(counts, 16, objective=OBJECTIVES[objective](), seed=0)
    settings = {"window": 3, "batch_size": 8, "centers": 12, "subsample": None, "seed": 0}
    text = data.word_windows(topic_text(), [12] * 400, **settings)
    trainer.compile(keras.optimizers.SGD(0.05 * 8 * 12))
    trainer.fit(text, epochs=4, verbose=0)
    z = np.asarray(trainer.embeddings)
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    nearest = np.argsort(-(z @ z.T), axis=1)[:, 1:10]
    same = nearest % TOPICS == np.arange(WORDS)[:, None] % TOPICS
    assert same.mean() > 0.9  # chance is 0.23


def test_noise_contrastive_estimation_learns_probabilities():
    """Of the contexts of a word, sum 1 included: with exact frequencies in the text."""
    true = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    pairs = [(w, v + 2) for w in range(2) for v in range(3) for _ in range(round(10 * true[w, v]))]
    x = {
        "words": np.array([[0, w, v] for w, v in pairs]),
        "left": np.zeros((20, 1), int),
        "right": np.ones((20, 1), int),
    }
    counts = np.bincount(x["words"][:, 2], minlength=5)
    objective = trainers.NoiseContrastive(10, noise_per_row=200, noise_exponent=0.5, seed=0)
    trainer = trainers.Word2Vec(counts, 4, objective=objective, seed=0)
    trainer.compile(keras.optimizers.Adam(0.05), steps_per_execution=25)
    trainer.fit(tf.data.Dataset.from_tensors((x,)).repeat(150), verbose=0)
    h, c = np.asarray(trainer.embeddings)[:2], np.asarray(objective.outputs.embeddings)[2:]
    learned = np.exp(h @ c.T + np.asarray(objective.biases.embeddings)[2:, 0])
    np.testing.assert_allclose(learned, true, atol=0.05)


def test_saved_trainer_draws_the_same_noise(tmp_path):
    trainer, _ = trainer_of("NCE", trainers.CBOW)
    trainer.train_on_batch(small_rows())
    trainer.save(tmp_path / "trainer.keras")
    loaded = keras.saving.load_model(tmp_path / "trainer.keras")  # safe mode is the default
    assert isinstance(loaded.architecture, trainers.CBOW)
    assert isinstance(loaded.objective, trainers.NoiseContrastive)
    np.testing.assert_array_equal(next_noise(loaded), next_noise(trainer))
    for one in (trainer, loaded):
        one.train_on_batch(small_rows())
    np.testing.assert_array_equal(loaded.embeddings, trainer.embeddings)


def test_trainer_from_a_configuration_does_not_train_without_weights():
    trainer, _ = trainer_of("negative sampling")
    copy = trainers.Word2Vec.from_config(trainer.get_config())
    copy.compile("sgd")
    with pytest.raises(ValueError, match="must know how often words occur"):
        copy.fit(small_rows(), verbose=0)


def test_indices_of_any_shape_are_looked_up():
    trainer, (vectors, _) = trainer_of("negative sampling")
    table = np.asarray(vectors.embeddings)
    np.testing.assert_array_equal(trainer(np.array([[5, 0]])), table[[[5, 0]]])
    x = small_rows()
    np.testing.assert_array_equal(trainer.predict(x, verbose=0), table[x["words"][:, 2:4]])


def test_index_out_of_range_in_a_dataset_is_rejected_by_the_step():
    trainer, _ = trainer_of("negative sampling")
    x = {**small_rows(), "words": small_rows()["words"] + 1}
    with pytest.raises(tf.errors.InvalidArgumentError, match="from 0 to 5"):
        trainer.fit(tf.data.Dataset.from_tensors((x,)), verbose=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"counts": [1.0, 2.0]}, TypeError, "`counts` must hold how often"),
        ({"counts": [0, 0]}, ValueError, "hold positive numbers"),
        ({"counts": [3, -1]}, ValueError, "no negative one"),
        ({"counts": np.ones((2, 2), int)}, ValueError, r"shape \(words,\)"),
        ({"dim": 0}, ValueError, "`dim`"),
        ({"architecture": "cbow"}, TypeError, "`architecture` must be callable"),
        ({"objective": "nce"}, TypeError, "`objective`"),
    ],
)
def test_bad_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        trainers.Word2Vec(**{"counts": COUNTS, **arguments})


@pytest.mark.parametrize("kind", [trainers.NegativeSampling, trainers.NoiseContrastive])
@pytest.mark.parametrize(
    "arguments", [{"noise_per_pair": 0}, {"noise_per_row": 0}, {"noise_exponent": -1.0}]
)
def test_bad_arguments_of_objectives_are_rejected(kind, arguments):
    with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
        kind(**arguments)


def test_an_objective_belongs_to_one_trainer():
    objective = trainers.NegativeSampling()
    trainers.Word2Vec(COUNTS, objective=objective)
    with pytest.raises(ValueError, match=r"output vectors of one trainer\..*6 vectors"):
        trainers.Word2Vec(COUNTS, objective=objective)
