"""The commands and their arguments.

Nothing here imports Keras: help and errors come at once.
"""

import argparse
from typing import Any

from keras_ssl.cli._names import dashed

PRECISIONS = {"float16": "mixed_float16", "bfloat16": "mixed_bfloat16"}

# options of all methods: they are the settings of a run, beside those of the method
DEFAULTS = {
    "method": None,
    "data": None,
    "split": "train",
    "image_size": None,
    "channels": None,
    "label_column": None,
    "scale": True,
    "encoder": None,
    "epochs": 100,
    "batch_size": None,
    "optimizer": "AdamW",
    "learning_rate": 1e-3,
    "learning_rate_schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": None,
    "seed": 0,
    "mixed_precision": None,
    "strategy": "auto",
}
_DATA = (
    "folder of images; .npy or .npz file of images, rows or series; .csv file of a table; or name "
    "of a set of TensorFlow Datasets"
)
_ENCODERS = (
    "small_resnet, resnet18, resnet34, resnet50, vit, vit_tiny, vit_small, vit_base, "
    "vit_large, vit_huge; a .keras file; or the folder of a run; of tables and series, any layer"
)
_STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


def methods(parser: argparse.ArgumentParser) -> None:
    """List all methods: family, what they learn from, papers."""
    parser.add_argument("--family", help="only those of one family")


def pretrain(parser: argparse.ArgumentParser) -> None:
    """Train a method on images without labels, in a folder from which the same command resumes."""
    parser.argument_default = argparse.SUPPRESS
    _add_settings(parser)
    add = parser.add_argument
    add("--out", metavar="FOLDER", help="folder of the run")
    add("--config", metavar="FILE", help="JSON file of options by name, below those given here")
    add("--backup-steps", type=int, metavar="N", help="back up every N steps, and every epoch")
    add("--verbose", type=int, choices=[0, 1, 2], help="as of `fit` of Keras")
    add("--help", action="store_true", help="show this; with --method, the options of the method")


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Compare the features of a run with raw pixels and an untrained encoder, by labels."""
    _add_run_and_data(parser)
    add = parser.add_argument
    add("--test-data", metavar="DATA", help="images to test on, else a part of --data")
    add("--test-split", help="split of a set to test on, else a part of --split")
    add("--test-share", type=float, default=0.2, help="size of that part (%(default)s)")
    add("--neighbors", type=int, default=20, help="of the k-NN classifier (%(default)s)")
    add("--labels-per-class", type=int, help="also probe with only so many labels per class")
    add("--seed", type=int, default=0, help="of that part and the untrained encoder (%(default)s)")


def embed(parser: argparse.ArgumentParser) -> None:
    """Write the features of images to a file, and a map of them to look at."""
    _add_run_and_data(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="file of features, .npz")


def search(parser: argparse.ArgumentParser) -> None:
    """Find the images that are most like given ones."""
    _add_run_and_data(parser)
    add = parser.add_argument
    add("--query", required=True, nargs="+", metavar="IMAGE", help="files of images")
    add("--count", type=int, default=8, help="how many to find (%(default)s)")
    add("--out", metavar="FILE", help="picture of what is found (search.png in the folder RUN)")


COMMANDS = {one.__name__: one for one in (methods, pretrain, evaluate, embed, search)}


def _add_run_and_data(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of commands that use a run on images."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run of `keras-ssl pretrain`")
    parser.add_argument("--data", required=True, metavar="DATA", help=_DATA)
    parser.add_argument("--split", default="train", help="split of a set of TFDS (%(default)s)")


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options of all methods to a parser that leaves out what is not given."""

    def add(name: str, text: str, **kwargs: Any) -> None:
        default = DEFAULTS[name]
        text += "" if default is None else f" ({default})"
        parser.add_argument(f"--{dashed(name)}", help=text, **kwargs)

    add("method", "name of a method; `keras-ssl methods` lists them")
    add("data", _DATA)
    add("split", "split of a set of TensorFlow Datasets")
    add("image_size", "height and width of the images (their own; of a folder 64)", type=int)
    add("channels", "of the images of a folder (3)", type=int, choices=[1, 3, 4])
    add("label_column", "column of a .csv file that holds labels, which no method sees")
    is_flag = {"action": argparse.BooleanOptionalAction}
    add("scale", "bring columns and channels to mean 0 and variance 1", **is_flag)
    add("encoder", _ENCODERS)
    add("epochs", "how often each image is seen", type=int)
    add("batch_size", "over all devices (256, or all images if they are fewer)", type=int)
    add("optimizer", "name of an optimizer of Keras or keras_ssl")
    add("learning_rate", "the highest, after the warm-up", type=float)
    add("learning_rate_schedule", "after the warm-up", choices=["cosine", "constant"])
    add("warmup", "share of all steps in which the learning rate rises", type=float)
    add("weight_decay", "(that of the optimizer)", type=float)
    add("seed", "of weights, views and the order of images", type=int)
    choices = {"nargs": "?", "const": "float16", "choices": list(PRECISIONS)}
    add("mixed_precision", "compute in float16, or in bfloat16", **choices)
    add("strategy", "devices", choices=_STRATEGIES)
