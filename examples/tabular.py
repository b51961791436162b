"""Learn from the rows of a table without labels, and see what the features are worth.

    python examples/tabular.py

The table is scikit-learn's handwritten digits: 1,797 rows of 64 features. SimCLR (or VICReg) sees
two views of each row, with a part of its features corrupted; SCARF compares a row with its
corrupted version, and VIME tells which features were corrupted and what they were
(`--method scarf`). Then the features, those of an untrained network and the raw table are compared:
by nearest neighbours, and by a linear classifier with all labels and with 5 labels per class. With
all labels the raw table does well by itself; with 5 per class the learned features are worth most.
"""

import argparse

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_ssl import augment, evaluate, layers, losses, trainers

parser = argparse.ArgumentParser(
    description="A method on a table.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
)
parser.add_argument("--method", choices=["simclr", "vicreg", "scarf", "vime"], default="simclr")
parser.add_argument("--epochs", type=int, default=60)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--rate", type=float, default=0.3, help="share of features to corrupt")
parser.add_argument("--seed", type=int, default=0)
arguments = parser.parse_args()
keras.utils.set_random_seed(arguments.seed)

# Data: the labels only measure
x, y = load_digits(return_X_y=True)
x = x.astype("float32") / 16
x_train, x_test, y_train, y_test = train_test_split(
    x, y, test_size=0.3, stratify=y, random_state=arguments.seed
)

# Encoder: any Keras model from rows to features
encoder = keras.Sequential([keras.Input(x.shape[1:])], name="encoder")
for _ in range(2):
    encoder.add(keras.layers.Dense(256, use_bias=False))
    encoder.add(keras.layers.BatchNormalization(momentum=0.9))
    encoder.add(keras.layers.ReLU())

# Method: rows with different features corrupted shall have features alike, or be repaired (VIME)
views = augment.Views(augment.tabular.RandomFeatureCorruption(arguments.rate))
marginals = augment.tabular.RandomMarginalCorruption(arguments.rate)  # of the whole table
if arguments.method == "simclr":
    projector = layers.ProjectionHead((128, 64))
    trainer = trainers.SimCLR(encoder, projector, views, losses.NTXent(temperature=0.5))
elif arguments.method == "vicreg":
    trainer = trainers.VICReg(encoder, layers.ProjectionHead((256, 256)), views)
elif arguments.method == "scarf":
    projector = layers.ProjectionHead((128, 64))
    trainer = trainers.SCARF(encoder, projector, marginals, loss=losses.InfoNCE(temperature=0.5))
else:
    trainer = trainers.VIME(encoder, corruption=marginals)
trainer.compile(optimizer=keras.optimizers.AdamW(2e-3, weight_decay=1e-4))
trainer.fit(x_train, epochs=arguments.epochs, batch_size=arguments.batch_size, verbose=2)

print(
    evaluate.representation_report(
        encoder, (x_train, y_train), (x_test, y_test), labels_per_class=5, verbose=0
    )
)
