"""Train a classifier on classes of unequal frequency, in four ways, and see what each is good for.

    python examples/imbalanced.py

Of Fashion-MNIST, ten classes of clothes, so many images are kept that the most frequent class has
50 times as many as the rarest, and the others lie between. A small convolutional network is
trained for the same number of steps

- as is;
- with weights of classes in the loss;
- with epochs in which all classes are equally frequent;
- with these, and the frequencies of the data in the last epochs.

Two numbers are measured on the test images: the mean over the classes of the share of a class that
is recognised (the recall), for which rare classes count as much as frequent ones; and the accuracy
that this gives if classes are as frequent as in training.
"""

import argparse

import _runs as runs
import keras
import numpy as np
from sklearn.metrics import recall_score

from keras_ssl import data

parser = argparse.ArgumentParser(
    description="Classes of unequal frequency.",
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
add = parser.add_argument
add("--dataset", default="fashion_mnist_mini", help="a name for keras_ssl.data.load_images")
add("--imbalance", type=float, default=50, help="largest class divided by smallest")
add("--largest", type=int, help="images of the most frequent class; all if not given")
add("--epochs", type=int, default=6, help="epochs of equally frequent classes")
add("--restored-epochs", type=int, default=2, help="how many of them have the data's frequencies")
add("--batch-size", type=int, default=128)
add("--seeds", type=int, nargs="+", default=[0])
arguments = parser.parse_args()


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of a split as arrays."""
    images, labels = zip(*data.load_images(arguments.dataset, split).batch(1000), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def long_tailed(labels: np.ndarray) -> np.ndarray:
    """Return the rows to keep, so that frequencies fall exponentially from class to class."""
    counts = np.minimum(np.bincount(labels), arguments.largest or len(labels))
    shares = arguments.imbalance ** -np.linspace(0, 1, len(counts))
    kept = np.maximum(1, np.round(counts * shares)).astype(int)
    return np.concatenate([np.flatnonzero(labels == one)[:n] for one, n in enumerate(kept)])


def make_model(shape: tuple, classes: int, steps: int) -> keras.Model:
    """Return a small convolutional network."""
    model = keras.Sequential([keras.Input(shape), keras.layers.Rescaling(1 / 255)])
    for width in (16, 32, 64):
        model.add(keras.layers.Conv2D(width, 3, padding="same", use_bias=False))
        model.add(keras.layers.BatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
        model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dropout(0.3))
    model.add(keras.layers.Dense(classes))
    schedule = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=1e-3), loss)
    return model


x, y = load("train")
x_test, y_test = load("test")
rows = long_tailed(y)
x, y = x[rows], y[rows]
counts = np.bincount(y)
print(f"{len(y)} images, of each class: {', '.join(map(str, counts))}")


def train(method: str, seed: int) -> np.ndarray:
    """Train a model in one of the ways, and return the recall of each class."""
    keras.utils.set_random_seed(seed)
    equal = data.equalise_classes((x, y), seed=seed).batch(arguments.batch_size)
    steps = arguments.epochs * len(equal)
    model = make_model(x.shape[1:], len(counts), steps)
    if method.startswith("equal"):
        restore = data.restore_frequency(equal, arguments.restored_epochs)
        callbacks = [restore] if method.endswith("restored") else []
        # Keras warns of its default: a data set has an order of its own
        options = {"shuffle": False, "callbacks": callbacks, "verbose": 0}
        model.fit(equal, epochs=arguments.epochs, **options)
    else:
        weights = data.class_weights(y) if method == "class weights" else None
        epochs = round(steps * arguments.batch_size / len(y))  # as many steps
        options = {"batch_size": arguments.batch_size, "epochs": epochs, "verbose": 0}
        model.fit(x, y, class_weight=weights, **options)
    predicted = model.predict(x_test, batch_size=500, verbose=0).argmax(axis=1)
    return recall_score(y_test, predicted, average=None, labels=np.arange(len(counts)))


def percent(values: np.ndarray) -> str:
    """Return mean and standard deviation over the seeds."""
    spread = f" ± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread} %"


found = []
for method in ("as is", "class weights", "equal classes", "equal classes, then restored"):
    recalls = np.stack([train(method, seed) for seed in arguments.seeds])
    rare = np.argsort(counts, kind="stable")[:3]
    found.append(
        {
            "training": method,
            "mean recall": percent(recalls.mean(axis=1)),
            "recall of the 3 rarest": percent(recalls[:, rare].mean(axis=1)),
            "accuracy at the frequencies of training": percent(recalls @ (counts / len(y))),
        }
    )
print(runs.table(found))
