"""Learn from time series without labels, and see what the features are worth.

    python examples/time_series.py

The series are made here: six waveforms of random frequency, phase and amplitude, in noise. SimCLR
sees two random windows of each series, scaled and with more noise. `--method masked` predicts spans
of steps that are hidden, and `--method order` tells whether three segments come in their order; for
that the frequency rises from start to end, since an order cannot be seen in what only repeats
itself. Then the features, those of an untrained network and the raw series are compared: by nearest
neighbours, and by a linear classifier with all labels and with 5 labels per class. On series as
simple as these an untrained network does well, and what the two tasks learn is worth little more.
"""

import argparse

import keras
import numpy as np
from scipy import signal

from keras_ssl import augment, evaluate, layers, losses, trainers

STEPS = 160

parser = argparse.ArgumentParser(
    description="A method on time series.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument("--method", choices=["simclr", "masked", "order"], default="simclr")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--series", type=int, default=2000, help="how many to train on")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)


def make_series(count: int, rng: np.random.Generator, rise: float) -> tuple[np.ndarray, np.ndarray]:
    """Series `(count, STEPS, 1)` and the class of each; the frequency rises by a share."""
    labels = rng.integers(0, 6, count)
    cycles, phase = rng.uniform(3, 8, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
    time = np.linspace(0, 1, STEPS)
    angle = 2 * np.pi * cycles * time * (1 + rise * time / 2) + phase
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
rise = 1.0 if arguments.method == "order" else 0.0
x_train, y_train = make_series(arguments.series, rng, rise)
x_test, y_test = make_series(arguments.series // 2, rng, rise)

# Encoder: any Keras model from series to features, here the mean of those of its steps
steps = keras.Sequential([keras.Input((None, 1))], name="steps")
for number, filters in enumerate((32, 64, 128)):
    # to predict hidden steps, there must be features of each
    reach = {"dilation_rate": 2**number} if arguments.method == "masked" else {"strides": 2}
    steps.add(keras.layers.Conv1D(filters, 7, padding="same", use_bias=False, **reach))
    steps.add(keras.layers.BatchNormalization(momentum=0.9))
    steps.add(keras.layers.ReLU())
encoder = keras.Sequential([steps, keras.layers.GlobalAveragePooling1D()], name="encoder")

# Method: two views of a series shall have features alike, or hidden steps or an order be told
if arguments.method == "simclr":
    views = augment.Views(
        [
            augment.sequence.RandomTimeCrop(STEPS * 3 // 4),
            augment.sequence.RandomScale(0.3),
            augment.sequence.RandomJitter(0.2),
        ]
    )
    projector = layers.ProjectionHead((128, 64))
    trainer = trainers.SimCLR(encoder, projector, views, losses.NTXent(temperature=0.2))
elif arguments.method == "masked":
    trainer = trainers.MaskedSeries(steps, rate=0.4, span=8)
else:
    trainer = trainers.TemporalOrder(encoder, length=STEPS // 4, reversible=False)
trainer.compile(optimizer=keras.optimizers.AdamW(2e-3, weight_decay=1e-4))
trainer.fit(x_train, epochs=arguments.epochs, batch_size=arguments.batch_size, verbose=2)

print(
    evaluate.representation_report(
        encoder, (x_train, y_train), (x_test, y_test), labels_per_class=5, verbose=0
    )
)
