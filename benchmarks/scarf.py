"""What SCARF's pretraining is worth on tables of scikit-learn with a tenth of the labels.

A table is split into 70 % for training and 30 % for the test. `trainers.SCARF` learns from all
training rows without labels. Then a tenth of their labels train a classifier: the pretrained
encoder and a linear layer together (fine-tuned), the same network from random weights with the same
number of steps (from scratch), and logistic regression on the frozen features before and after
pretraining and on the table itself. Splits, labels, weights and draws change with the seed.
"""

import argparse
import time

import keras
import numpy as np
from measure import print_machine
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from keras_ssl import evaluate, trainers

TABLES = {"digits": datasets.load_digits, "breast cancer": datasets.load_breast_cancer}


def probe(train: tuple, test: tuple) -> float:
    """Returns the accuracy of logistic regression."""
    return LogisticRegression(max_iter=5000).fit(*train).score(*test)


def measure(table: str, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Trains on one split and returns all accuracies."""
    x, y = TABLES[table](return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(x)
    x, x_test = (scaler.transform(rows).astype("float32") for rows in (x, x_test))
    labelled, _ = train_test_split(
        np.arange(len(x)), train_size=arguments.labels, stratify=y, random_state=seed
    )
    few, test = (x[labelled], y[labelled]), (x_test, y_test)

    keras.utils.set_random_seed(seed)
    encoder = keras.Sequential([keras.Input(x.shape[1:])])
    for _ in range(4):
        encoder.add(keras.layers.Dense(256, "relu"))

    def probed() -> float:
        h, h_test = (encoder.predict(rows, verbose=0) for rows in (few[0], x_test))
        return probe((h, few[1]), (h_test, y_test))

    def tuned() -> float:
        optimizer = keras.optimizers.Adam(arguments.rate)
        options = {"epochs": arguments.tuning_epochs, "batch_size": 128, "seed": seed}
        return evaluate.fine_tune(encoder, few, test, optimizer=optimizer, **options)[1]

    found = {"table": probe(few, test), "untrained": probed(), "from scratch": tuned()}
    trainer = trainers.SCARF(encoder)
    trainer.compile(keras.optimizers.Adam(arguments.rate))
    start = time.process_time()
    trainer.fit(x, batch_size=128, epochs=arguments.epochs, verbose=0)
    seconds = time.process_time() - start
    found |= {"probed": probed(), "fine-tuned": tuned()}
    return {name: 100 * value for name, value in found.items()} | {"CPU seconds": seconds}


def print_row(name: str, values: list[float]) -> None:
    """Prints a row of a table."""
    print("| " + " | ".join([name, *(f"{value:.1f}" for value in values)]) + " |", flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", choices=list(TABLES), nargs="+", default=list(TABLES))
    parser.add_argument("--labels", type=float, default=0.1, help="share of rows with labels")
    parser.add_argument("--epochs", type=int, default=100, help="of pretraining")
    parser.add_argument("--tuning-epochs", type=int, default=60)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    arguments = parser.parse_args()
    print_machine()
    for table in arguments.tables:
        rows = []
        for seed in arguments.seeds:
            rows.append(measure(table, seed, arguments))
            if len(rows) == 1:
                print(f"\n| {table} | " + " | ".join(rows[0]) + " |")
                print("|---" * (len(rows[0]) + 1) + "|", flush=True)
            print_row(f"seed {seed}", list(rows[-1].values()))
        print_row("mean", list(np.mean([list(row.values()) for row in rows], axis=0)))


if __name__ == "__main__":
    main()
