"""Every joint-embedding method on CIFAR-10, and the same method made of Lightly's parts.

Both sides train with the same recipe (`methods_of/recipes.py`: encoder, heads, temperatures,
batch, optimizer, number of epochs), on the same images, in memory, shuffled anew each epoch; what
else is alike, and what the libraries do in their own ways, is as `cifar10.py` says. Methods that
Lightly does not have are measured alone.

Each run is a process of its own. Measured are:

- k-NN: weighted k-NN accuracy (k=20, temperature 0.1) of the test images among the training images;
- linear probe: `keras_ssl.evaluate.linear_probe` on frozen features, fitted to all labels;
- effective rank of the test images' features (`keras_ssl.evaluate.effective_rank`);
- images per second, of the median epoch;
- the peak of the process' memory up to the end of training, libraries and images included; the
  peer's loader processes, which come on top, are not counted.

The first three are the same code for both sides, on features that each side writes to a file.
Results are kept in a file of JSON, so that methods can be run one by one; `--table` prints what
the file holds. Several seeds of a run are averaged.

Each side draws the weights that an encoder starts with, which after short runs still matters for
what it has learned. With `--same-start` Lightly's encoder starts with the weights of ours.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from measure import Peer, machine, print_machine
from methods_of.recipes import RECIPES, SHARED, WIDTHS, is_vit
from methods_of.results import print_aims, print_details, print_summary, rows, settings_of, store

SIDES = ("keras_ssl", "lightly")


def train_ours(
    method: str,
    recipe: dict[str, Any],
    width: int,
    batch_size: int,
    epochs: int,
    seed: int,
    images: str,
    labels: str,
    features: dict[str, str],
    start: str | None,
    xla: bool,
    **optimizer: float,
) -> dict[str, Any]:
    """Trains our side; arguments and answer are those of `peers/methods_lightly.py`, and `xla`.

    The weights that the encoder starts with are written to the file `start`.
    """
    # not at the top: the process that waits for this one needs no TensorFlow meanwhile
    import keras
    from image_data import shuffled_batches
    from methods_of.ours import METHODS, Images, write_kernels
    from peers.peak_memory import peak_gigabytes
    from training_run import TrainingRun

    keras.utils.set_random_seed(seed)
    train = Images(np.load(images), np.load(labels))
    make, reads, encoder_of = METHODS[method]
    data = shuffled_batches(reads(train), batch_size)
    trainer = make(train, width, **recipe)
    if start is not None:
        write_kernels(trainer.encoder, start)
    run = TrainingRun(trainer, data, epochs, **optimizer, jit_compile=xla or "auto")
    measured = []
    for number in range(epochs):
        measured.append(run.epoch())
        print(f"keras_ssl, {method}, epoch {number + 1}: {measured[-1]}", flush=True)
    gigabytes = peak_gigabytes()
    encoder = encoder_of(run.trainer, train)
    for source, target in features.items():
        np.save(target, encoder.predict(np.load(source), batch_size=500, verbose=0))
    return {"epochs": measured, "parameters": run.parameters(), "gigabytes": gigabytes}


def in_a_process(function: Callable[..., Any], **arguments: Any) -> Any:
    """The answer of a function that a process of its own runs."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, **arguments).result()


def train_lightly(**arguments: Any) -> dict[str, Any]:
    """Trains Lightly's side."""
    with Peer("methods_lightly.py") as peer:
        return peer.ask("train", **arguments)


def write_data(folder: Path, images: int) -> None:
    """Writes CIFAR-10 as arrays."""
    from image_data import read

    for split, count in (("train", images), ("test", 10_000)):
        x, y = read("cifar10", split, count)
        np.save(folder / f"{split}.npy", x)
        np.save(folder / f"{split}_labels.npy", y)


def score(features: dict[str, str], labels: dict[str, str]) -> dict[str, float]:
    """What features are worth: the same code for both sides."""
    from keras_ssl import evaluate

    train, test = ((np.load(features[s]), np.load(labels[s])) for s in ("train", "test"))
    train, test = ((x.reshape(len(x), -1).astype("float32"), y) for x, y in (train, test))
    return {
        "knn": 100 * evaluate.knn_accuracy(evaluate.raw_pixels, train, test),
        "linear_probe": 100 * evaluate.linear_probe(evaluate.raw_pixels, train, test),
        "effective_rank": evaluate.effective_rank(test[0]),
    }


def random_encoder(kind: str, seed: int, features: dict[str, str]) -> None:
    """Writes the features of an encoder that has learned nothing."""
    import keras
    from methods_of.ours import small_encoder, small_vit

    keras.utils.set_random_seed(seed)
    make = {"random encoder": small_encoder, "random ViT": small_vit}[kind]
    encoder = make(WIDTHS[kind])
    for source, target in features.items():
        np.save(target, encoder.predict(np.load(source), batch_size=500, verbose=0))


def peer_methods() -> list[str]:
    """The methods that the peer has."""
    with Peer("methods_lightly.py") as peer:
        return peer.ask("methods")


def measure(
    folder: Path,
    method: str,
    side: str,
    epochs: int,
    seed: int,
    workers: int,
    xla: bool,
    same_start: bool,
) -> dict[str, Any]:
    """One run, trained and scored."""
    arrays = {split: str(folder / f"{split}.npy") for split in ("train", "test")}
    labels = {split: str(folder / f"{split}_labels.npy") for split in ("train", "test")}
    outputs = {split: str(folder / f"{split}_features.npy") for split in ("train", "test")}
    targets = {arrays[split]: outputs[split] for split in arrays}
    if method == "raw pixels":
        return in_a_process(score, features=arrays, labels=labels)
    if method in WIDTHS:
        in_a_process(random_encoder, kind=method, seed=seed, features=targets)
        return in_a_process(score, features=outputs, labels=labels)

    recipe = dict(RECIPES[method])
    arguments = {
        **{name: recipe.pop(name, value) for name, value in SHARED.items()},
        "epochs": epochs + recipe.pop("first_epochs", 0),
        "method": method,
        "recipe": {name: value for name, value in recipe.items() if name != "epochs"},
        "seed": seed,
        "images": arrays["train"],
        "labels": labels["train"],
        "features": targets,
        "start": str(folder / "start.npz") if same_start else None,
    }
    if side == "keras_ssl":
        measured = in_a_process(train_ours, **arguments, xla=xla)
    else:
        measured = train_lightly(**arguments, workers=workers)
    return measured | in_a_process(score, features=outputs, labels=labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = ["raw pixels", *WIDTHS, *RECIPES]
    parser.add_argument("--methods", nargs="+", choices=names, default=names, metavar="METHOD")
    parser.add_argument("--side", choices=[*SIDES, "both"], default="both")
    parser.add_argument("--epochs", type=int, help="in place of those of the recipes")
    parser.add_argument("--images", type=int, default=50_000, help="training images to use")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="the peer's loader processes")
    parser.add_argument("--xla", action="store_true", help="compile the steps of our side by XLA")
    parser.add_argument(
        "--same-start", action="store_true", help="both sides start with the same encoder"
    )
    parser.add_argument(
        "--untimed", action="store_true", help="leave times out of the table: the machine is busy"
    )
    parser.add_argument("--results", type=Path, default=Path("methods.json"))
    parser.add_argument("--table", action="store_true", help="print the results, run nothing")
    arguments = parser.parse_args()

    if not arguments.table:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        print_machine()
        both = arguments.side == "both"
        small = [name for name in RECIPES if not is_vit(name)]
        if arguments.same_start and not (both and {*arguments.methods} <= {*small}):
            parser.error("--same-start is for both sides, and methods that train the small ResNet")
        of_the_peer = peer_methods() if both or arguments.side == "lightly" else []
        with tempfile.TemporaryDirectory() as folder:
            in_a_process(write_data, folder=Path(folder), images=arguments.images)
            for method in arguments.methods:
                for side in SIDES if both else (arguments.side,):
                    if side == "lightly" and method not in of_the_peer:
                        continue
                    settings = settings_of(
                        method, arguments.epochs, arguments.images, arguments.same_start
                    )
                    measured = measure(
                        Path(folder),
                        method,
                        side,
                        settings.get("epochs", 0),  # nothing learns raw pixels
                        arguments.seed,
                        arguments.workers,
                        arguments.xla,
                        arguments.same_start,
                    )
                    store(
                        arguments.results,
                        {
                            "side": side,
                            "seed": arguments.seed,
                            "settings": settings,
                            "machine": machine(),
                            "timed": not arguments.untimed,
                            **measured,
                        },
                    )
    table = rows(arguments.results, arguments.epochs, arguments.images, arguments.same_start)
    print_summary(table)
    print_details(table)
    print_aims(table)


if __name__ == "__main__":
    main()
