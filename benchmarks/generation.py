"""How good the images of generators are that are trained on Fashion-MNIST for 20 minutes at most.

VAE, GAN, diffusion, flow matching and latent diffusion learn the 60,000 training images by the
recipes of `generators.py` and make 10,000 images each, which are compared with the 10,000 test
images by the features of a small classifier:

- Fréchet distance (`evaluate.frechet_distance`). That of 10,000 training images stands beside it,
  the floor;
- precision and recall (`evaluate.precision_recall`);
- of the models that are told the class, as many images of each: how often the classifier agrees
  with the asked class, unguided, and at a scale of guidance of 2 as diffusers counts it, where 1 is
  unguided;
- minutes of training, and those of the processor, all cores together; sampling is not counted.

The classifier is trained once and kept in `--folder`, beside pictures of the first 80 images of
each; distances by different classifiers cannot be compared. Results are kept in a file of JSON, so
that methods can be run one by one; `--table` prints what the file holds. Seeds are averaged.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import keras
import numpy as np
from generators import CLASSES, RECIPES, Images
from image_data import read, shuffled_batches
from measure import machine, print_machine, store

from keras_ssl import evaluate, visualize

FLOOR = "training images"
AIM_ACCURACY = 91.0
AIM_OF_VAE = 0.5
AIM_AGREEMENT = 95.0
AIM_MINUTES = 40.0  # of the processor: 20 minutes on two cores
GUIDANCE_SCALE = 2.0
COLUMNS = {
    "frechet": ("Fréchet distance", 2),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
    "agreement": ("agreement, %", 1),
    "guided_agreement": ("guided, %", 1),
    "parameters": ("parameters", 0),
    "minutes": ("minutes", 1),
    "cpu_minutes": ("CPU minutes", 1),
}


def train_classifier(train: Images, epochs: int) -> keras.Model:
    """A small convolutional network, whose features are those of the layer "features"."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(train.images.shape[1:]),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(128, activation="relu", name="features"),
            layers.Dense(CLASSES),
        ]
    )
    data = shuffled_batches(tuple(train), 128)
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, epochs * len(data))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    model.fit(data, epochs=epochs, verbose=2)
    return model


class Judge:
    """A classifier of images, and what it says of them.

    Args:
        folder: where the classifier is kept; one that is missing is trained.
        train: the training images.
        test: the test images.
        epochs: of a classifier that is missing.
    """

    def __init__(self, folder: Path, train: Images, test: Images, epochs: int):
        path = folder / "classifier.keras"
        if not path.exists():
            keras.utils.set_random_seed(0)
            train_classifier(train, epochs).save(path)
        self.classifier = keras.models.load_model(path)
        features = self.classifier.get_layer("features").output
        self.features = keras.Model(self.classifier.inputs, features)
        self.test = test
        digest = hashlib.sha256(b"".join(one.tobytes() for one in self.classifier.get_weights()))
        # tells results by different classifiers apart
        self.name = digest.hexdigest()[:8]
        self.accuracy = self.agreement(*test)

    def agreement(self, images: np.ndarray, labels: np.ndarray) -> float:
        """How often it finds the label, in percent."""
        logits = self.classifier.predict(images, batch_size=500, verbose=0)
        return 100 * float(np.mean(np.argmax(logits, axis=-1) == labels))

    def compare(self, images: np.ndarray) -> dict[str, float]:
        """How near images come to as many test images."""
        real = self.test.images[: len(images)]
        precision, recall = evaluate.precision_recall(self.features, real, images, batch_size=500)
        distance = evaluate.frechet_distance(self.features, real, images, batch_size=500)
        return {"frechet": distance, "precision": precision, "recall": recall}


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Images as those of the data set are, whole numbers from 0 to 255."""
    return np.clip(np.round(images), 0, 255).astype("uint8")


def measure(
    method: str, settings: dict[str, Any], train: Images, judge: Judge, seed: int, folder: Path
) -> dict[str, Any]:
    """Trains a generator, and measures what it makes."""
    function, _ = RECIPES[method]
    keras.utils.set_random_seed(seed)
    wall, processor = time.perf_counter(), time.process_time()
    generator = function(train, seed, **settings["recipe"])
    measured = {
        "minutes": (time.perf_counter() - wall) / 60,
        "cpu_minutes": (time.process_time() - processor) / 60,
        "parameters": generator.parameters(),
    }
    labels = np.arange(settings["samples"]) % CLASSES
    images = as_bytes(generator.sample(labels, seed, 1.0))
    measured |= judge.compare(images)
    pictures = {"": images}
    if generator.takes_labels:
        measured["agreement"] = judge.agreement(images, labels)
        few = labels[: settings["guided_samples"]]
        guided = as_bytes(generator.sample(few, seed, GUIDANCE_SCALE))
        measured["guided_agreement"] = judge.agreement(guided, few)
        pictures["_guided"] = guided
    for kind, images in pictures.items():
        path = folder / f"{method.replace(' ', '_')}{kind}_{seed}.png"
        visualize.plot_samples(images[: 8 * CLASSES], CLASSES, path=path)
    return measured


def settings_of(method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """All that a run of a method is set to."""
    settings = {
        "method": method,
        "samples": arguments.samples,
        "guided_samples": min(arguments.guided_samples, arguments.samples),
    }
    if method == FLOOR:
        return settings
    _, recipe = RECIPES[method]
    epochs = {} if arguments.epochs is None else {"epochs": arguments.epochs}
    return settings | {"images": arguments.images, "recipe": recipe | epochs}


def rows(runs: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By method, the means over seeds of the runs with these settings and the last classifier."""
    table = {}
    for method in (FLOOR, *RECIPES):
        settings = json.loads(json.dumps(settings_of(method, arguments)))
        key = {"classifier": runs[-1]["classifier"], "settings": settings}
        seeds = [run for run in runs if key.items() <= run.items()]
        if seeds:
            names = [name for name in COLUMNS if name in seeds[0]]
            means = {name: fmean(run[name] for run in seeds) for name in names}
            table[method] = means | {"seeds": len(seeds)}
    return table


def print_results(table: dict[str, dict[str, float]]) -> None:
    """Prints a Markdown table with one row per method."""
    titles = [title for title, _ in COLUMNS.values()]
    print(f"\n| method | seeds | {' | '.join(titles)} |\n|---|{'---:|' * (len(titles) + 1)}")
    for method, row in table.items():
        cells = [
            f"{row[name]:,.{digits}f}" if name in row else ""
            for name, (_, digits) in COLUMNS.items()
        ]
        print(f"| {' | '.join([method, str(row['seeds']), *cells])} |")
    print()


def print_aims(table: dict[str, dict[str, float]], accuracy: float) -> None:
    """Prints what the aims ask and what was reached."""

    def show(what: str, value: float, aim: str, met: bool) -> None:
        print(f"{what}: {value:.2f} (aim: {aim}): {'met' if met else 'MISSED'}")

    show(
        "accuracy of the classifier, %",
        accuracy,
        f"at least {AIM_ACCURACY:g}",
        accuracy >= AIM_ACCURACY,
    )
    if {"VAE", "diffusion"} <= set(table):
        ratio = table["diffusion"]["frechet"] / table["VAE"]["frechet"]
        aim = f"at most {AIM_OF_VAE:g}"
        show("Fréchet distance, diffusion / VAE", ratio, aim, ratio <= AIM_OF_VAE)
    for method, row in table.items():
        if "guided_agreement" in row:
            found, aim = row["guided_agreement"], f"more than {AIM_AGREEMENT:g}"
            show(f"{method}, guided agreement, %", found, aim, found > AIM_AGREEMENT)
        if "cpu_minutes" in row:
            minutes, aim = row["cpu_minutes"], f"less than {AIM_MINUTES:g}"
            show(f"{method}, CPU minutes", minutes, aim, minutes < AIM_MINUTES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = list(RECIPES)
    parser.add_argument("--methods", nargs="*", choices=names, default=names, metavar="METHOD")
    parser.add_argument("--epochs", type=int, help="in place of those of the recipes")
    parser.add_argument("--images", type=int, default=60_000, help="training images to use")
    parser.add_argument("--samples", type=int, default=10_000, help="images to make")
    parser.add_argument("--guided-samples", type=int, default=2_000)
    parser.add_argument("--classifier-epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/generation"), help="of kept files"
    )
    parser.add_argument("--results", type=Path, default=Path("generation.json"))
    parser.add_argument("--table", action="store_true", help="print the results, run nothing")
    arguments = parser.parse_args()

    if arguments.table:
        runs = json.loads(arguments.results.read_text())
    else:
        print_machine()
        arguments.folder.mkdir(parents=True, exist_ok=True)
        train = Images(*read("fashion_mnist", "train", arguments.images))
        test = Images(*read("fashion_mnist", "test", 10_000))
        judge = Judge(arguments.folder, train, test, arguments.classifier_epochs)
        for method in (FLOOR, *arguments.methods):
            settings = settings_of(method, arguments)
            if method == FLOOR:
                measured = judge.compare(train.images[: arguments.samples])
            else:
                measured = measure(method, settings, train, judge, arguments.seed, arguments.folder)
            print(f"{method}: {measured}", flush=True)
            run = {
                "seed": 0 if method == FLOOR else arguments.seed,
                "settings": settings,
                "classifier": judge.name,
                "classifier_accuracy": judge.accuracy,
                "machine": machine(),
                **measured,
            }
            runs = store(arguments.results, run, ("seed", "settings", "classifier"))
    table = rows(runs, arguments)
    print_results(table)
    print_aims(table, runs[-1]["classifier_accuracy"])


if __name__ == "__main__":
    main()
