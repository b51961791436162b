"""Learn from spectrograms without labels, and see what the features are worth.

    python examples/spectrograms.py

The sounds are made here: tones, chirps up and down, vibrato, tremolo and clicks, of random pitch
and loudness, in noise. SimCLR sees two views of each spectrogram by SpecAugment. Then its features,
those of an untrained network and the raw spectrograms are compared: by nearest neighbours, and by
a linear classifier with all labels and with 5 labels per class.
"""

import argparse

import keras
import numpy as np
from scipy import signal

from keras_ssl import augment, evaluate, layers, losses, trainers

RATE, SECONDS = 4000, 1.0  # samples per second

parser = argparse.ArgumentParser(
    description="SimCLR on spectrograms.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--sounds", type=int, default=1500, help="how many to train on")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)


def make_spectrograms(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Spectrograms `(count, time, frequencies)` in decibels around 0, and the class of each."""
    t = np.arange(0, SECONDS, 1 / RATE)
    labels = rng.integers(0, 6, count)
    pitch, phase = rng.uniform(300, 1500, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
    slow = 2 * np.pi * rng.uniform(3, 8, (count, 1)) * t + phase
    turns = pitch * t
    tone = np.sin(2 * np.pi * turns)
    waves = [
        tone,
        np.sin(2 * np.pi * (turns + 200 * t**2)),
        np.sin(2 * np.pi * (turns - 200 * t**2)),
        np.sin(2 * np.pi * turns + 15 * np.sin(slow)),
        tone * (1 + np.sin(slow)) / 2,
        signal.square(slow, duty=0.05) + 1 + 0.3 * tone,
    ]
    sounds = np.choose(labels[:, None], waves) * rng.uniform(0.3, 1, (count, 1))
    sounds += rng.normal(0, 0.3, sounds.shape)
    _, _, spectrum = signal.stft(sounds, RATE, nperseg=128, noverlap=64)
    decibels = 20 * np.log10(np.abs(spectrum) + 1e-3).transpose(0, 2, 1)
    return ((decibels + 40) / 20).astype("float32"), labels


rng = np.random.default_rng(arguments.seed)
x_train, y_train = make_spectrograms(arguments.sounds, rng)
x_test, y_test = make_spectrograms(arguments.sounds // 2, rng)

# Encoder: any Keras model from spectrograms to features
encoder = keras.Sequential(
    [keras.Input(x_train.shape[1:]), keras.layers.Reshape((*x_train.shape[1:], 1))],
    name="encoder",
)
for filters in (16, 32, 64):
    encoder.add(keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False))
    encoder.add(keras.layers.BatchNormalization(momentum=0.9))
    encoder.add(keras.layers.ReLU())
encoder.add(keras.layers.GlobalAveragePooling2D())

# Method: two views of a sound shall have features alike
views = augment.Views(augment.sequence.SpecAugment())
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
