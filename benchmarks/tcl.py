"""How well time-contrastive learning recovers the sources of a nonlinear mixture.

Laplace sources, whose scales are drawn anew in each segment of a series, are mixed by a network of
leaky rectifiers. `trainers.TCL` learns from the mixtures which segment a point comes from, and
linear ICA follows on its features. TCL finds |s| of each source s, so the figure is the mean
absolute correlation with |s|, after the best assignment. Beside it: linear ICA on the mixtures, the
better of its components' correlation with s and its absolute components' with |s|; and ICA on the
features of the encoder before training. All points serve for both training and the figure: the
method sees no sources.
"""

import argparse
import time
import warnings

import keras
import numpy as np
from measure import print_machine
from sklearn.exceptions import ConvergenceWarning

from keras_ssl import evaluate, layers, trainers


def well_conditioned(rng: np.random.Generator, size: int, draws: int = 200) -> np.ndarray:
    """Returns the best conditioned of some random matrices with columns of length 1."""
    matrices = rng.uniform(-1.0, 1.0, size=(draws, size, size))
    matrices /= np.linalg.norm(matrices, axis=1, keepdims=True)
    return matrices[np.argmin(np.linalg.cond(matrices))]


def make_series(
    seed: int, sources: int, segments: int, length: int, depth: int, slope: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns sources, mixtures with variance 1, and the segment of each point."""
    rng = np.random.default_rng(seed)
    scales = np.repeat(rng.uniform(0.0, 1.0, size=(segments, sources)), length, axis=0)
    s = scales * rng.laplace(size=scales.shape)
    x = s / s.std(axis=0)
    for layer in range(depth):
        if layer:
            x = np.where(x > 0, x, slope * x)
        x = x @ well_conditioned(rng, sources)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return s, x.astype("float32"), np.repeat(np.arange(segments, dtype="int32"), length)


def make_encoder(sources: int, width: int, depth: int) -> keras.Model:
    """Returns hidden layers of maxout, and a last one of absolute values, as in the paper."""
    inputs = keras.Input((sources,))
    x = inputs
    for _ in range(depth - 1):
        x = layers.Maxout(width, pieces=2)(x)
    return keras.Model(inputs, keras.ops.absolute(keras.layers.Dense(sources, use_bias=False)(x)))


def components(features: np.ndarray, seed: int) -> np.ndarray:
    """Returns the independent components of features, silently if ICA does not converge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return evaluate.independent_components(features, seed=seed).transform(features)


def linear_ica(s: np.ndarray, x: np.ndarray, seed: int) -> float:
    """Returns the better of two correlations: with sources, and of absolute values."""
    found = components(x, seed)
    return max(
        evaluate.mean_correlation_coefficient(s, found),
        evaluate.mean_correlation_coefficient(np.abs(s), np.abs(found)),
    )


def ica_of_features(s: np.ndarray, features: np.ndarray, seed: int) -> float:
    """Returns the correlation of the components of features with absolute sources."""
    return evaluate.mean_correlation_coefficient(np.abs(s), components(features, seed))


def measure(seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Trains on one series and returns all figures."""
    s, x, y = make_series(
        seed,
        arguments.sources,
        arguments.segments,
        arguments.length,
        arguments.layers,
        arguments.slope,
    )
    keras.utils.set_random_seed(seed)
    encoder = make_encoder(arguments.sources, arguments.width, arguments.layers)
    trainer = trainers.TCL(encoder, arguments.segments)
    steps = len(x) // arguments.batch * arguments.epochs
    rate = keras.optimizers.schedules.CosineDecay(arguments.rate, steps)
    if arguments.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    else:
        optimizer = keras.optimizers.Adam(rate)
    trainer.compile(optimizer)
    untrained = trainer.predict(x, batch_size=4096, verbose=0)
    start = time.process_time()
    history = trainer.fit(x, y, batch_size=arguments.batch, epochs=arguments.epochs, verbose=0)
    seconds = time.process_time() - start
    features = trainer.predict(x, batch_size=4096, verbose=0)
    logits = np.asarray(trainer.head(features))
    return {
        "TCL": ica_of_features(s, features, seed),
        "untrained": ica_of_features(s, untrained, seed),
        "linear ICA": linear_ica(s, x, seed),
        "loss": history.history["loss"][-1],
        "accuracy": float(np.mean(logits.argmax(axis=1) == y)),
        "CPU seconds": seconds,
    }


def print_row(name: str, values: list[float]) -> None:
    """Prints a row of the table."""
    print("| " + " | ".join([name, *(f"{value:.3f}" for value in values)]) + " |", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sources", type=int, default=5)
    parser.add_argument("--segments", type=int, default=256)
    parser.add_argument("--length", type=int, default=512, help="points of a segment")
    parser.add_argument("--layers", type=int, default=3, help="of the mixture and of the encoder")
    parser.add_argument("--slope", type=float, default=0.2, help="of the mixture's rectifiers")
    parser.add_argument("--width", type=int, default=40, help="units of a hidden layer")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    print_machine()
    names = ("TCL", "untrained", "linear ICA", "loss", "accuracy", "CPU seconds")
    print("| seed | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 1) + "|", flush=True)
    rows = []
    for seed in arguments.seeds:
        rows.append(measure(seed, arguments))
        print_row(str(seed), [rows[-1][name] for name in names])
    print_row("mean", [np.mean([row[name] for row in rows]) for name in names])


if __name__ == "__main__":
    main()
