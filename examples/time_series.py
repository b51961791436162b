"""Learn from time series without labels, and see what the features are worth.

    python examples/time_series.py

The series are made here: six waveforms of random frequency, phase and amplitude, in noise. SimCLR
sees two random windows of each series, scaled and with more noise. Then its features, those of an
untrained network and the raw series are compared: by nearest neighbours, and by a linear
classifier with all labels and with 5 labels per class.
"""

import argparse

import keras
import numpy as np
from scipy import signal

from keras_ssl import augment, evaluate, layers, losses, trainers

STEPS = 160

parser = argparse.ArgumentParser(
    description="SimCLR on time series.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--series", type=int, default=2000, help="how many to train on")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)


def make_series(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Series `(count, STEPS, 1)` and the class of each."""
    labels = rng.integers(0, 6, count)
    cycles, phase = rng.uniform(3, 8, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
    angle = 2 * np.pi * cycles * np.linspace(0, 1, STEPS) + phase
    waves = [
        np.sin(angle),
        signal.square(angle),
        signal.sawtooth(angle),
        signal.sawtooth(angle, width=0),
        signal.sawtooth(angle, width=0.5),
        np.sin(angle) ** 9,
    ]
    series = np.choose(labels[:, None], waves) * rng.uniform(0.5, 2, (count, 1))
    series += rng.normal(0, 0.3, series.shape)
    return series[:, :, None].astype("float32"), labels


rng = np.random.default_rng(arguments.seed)
x_train, y_train = make_series(arguments.series, rng)
x_test, y_test = make_series(arguments.series // 2, rng)

# Encoder: any Keras model from series to features
encoder = keras.Sequential([keras.Input((None, 1))], name="encoder")
for filters in (32, 64, 128):
    encoder.add(keras.layers.Conv1D(filters, 7, strides=2, padding="same", use_bias=False))
    encoder.add(keras.layers.BatchNormalization(momentum=0.9))
    encoder.add(keras.layers.ReLU())
encoder.add(keras.layers.GlobalAveragePooling1D())

# Method: two views of a series shall have features alike
views = augment.Views(
    [
        augment.sequence.RandomTimeCrop(STEPS * 3 // 4),
        augment.sequence.RandomScale(0.3),
        augment.sequence.RandomJitter(0.2),
    ]
)
trainer = trainers.SimCLR(
    encoder, layers.ProjectionHead((128, 64)), views, losses.NTXent(temperature=0.2)
)
trainer.compile(optimizer=keras.optimizers.AdamW(2e-3, weight_decay=1e-4))
trainer.fit(x_train, epochs=arguments.epochs, batch_size=arguments.batch_size, verbose=2)

print(
    evaluate.representation_report(
        encoder, (x_train, y_train), (x_test, y_test), labels_per_class=5, verbose=0
    )
)
