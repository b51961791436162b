"""Tables and time series: files of numbers, and their scale."""

import csv
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.cli._examples import Examples, load_arrays
from keras_ssl.cli._names import nearest

# axes of the arrays of what a method `learns_from`
AXES = {"tables": ("rows", "columns"), "time series": ("series", "time", "channels")}


@dataclass
class Numbers(Examples):
    """Rows of a table or time series: float32 numbers.

    Attributes:
        x: all of them, an array.
        y: their labels, or `None`.
    """

    x: np.ndarray | None = None
    y: np.ndarray | None = None

    @classmethod
    def of(
        cls, x: np.ndarray, y: np.ndarray | None, files: list[str], classes: list[str] | None
    ) -> "Numbers":
        """Return numbers with labels, or without."""
        examples = tf.data.Dataset.from_tensor_slices(x if y is None else (x, y))
        return cls(examples, x.shape[1:], len(x), files, classes, x, y)

    def scaled(self, scaling: keras.Model) -> "Numbers":
        """Return the numbers as a model scales them."""
        x = scaling.predict(self.x, verbose=0)
        return Numbers.of(x, self.y, self.files, self.classes)


def read_numbers(
    kind: str, source: str, label_column: str | None, needs_labels: bool = True
) -> Numbers:
    """Read a file of numbers.

    Args:
        kind: `"tables"` or `"time series"`.
        source: a `.npy` or `.npz` file; or the `.csv` file of a table, whose first line has the
            names of the columns.
        label_column: name of the column that holds labels, or `None`.
        needs_labels: whether a table without this column is an error.

    Raises:
        ValueError: if there is no such file, or it holds something else than numbers.
    """
    axes, suffix = AXES[kind], Path(source).suffix
    is_table = kind == "tables" and suffix == ".csv"
    if not is_table and suffix not in (".npy", ".npz"):
        files = ".csv, .npy or .npz" if kind == "tables" else ".npy or .npz"
        raise ValueError(f"the method learns from {kind}: --data must be a {files} file of them")
    if label_column is not None and not is_table:
        raise ValueError("--label-column is of a .csv file. A .npz file has labels as `y`")
    if is_table:
        arrays, classes = _of_table(source, label_column, needs_labels)
    else:
        arrays, classes = load_arrays(source), None
    x = arrays["x"]
    if x.ndim != len(axes) or x.dtype.kind not in "biuf" or not x.size:
        raise ValueError(
            f"{source} must hold numbers of shape ({', '.join(axes)}). Received: {x.dtype} of "
            f"shape {x.shape}"
        )
    x = x.astype("float32")
    if not np.isfinite(x).all():
        place = [int(n) for n in np.argwhere(~np.isfinite(x))[0]]
        raise ValueError(
            f"{source} must hold finite numbers. Received: {x[tuple(place)]} at {place}"
        )
    files = [f"{source}[{n}]" for n in range(len(x))]
    return Numbers.of(x, arrays.get("y"), files, classes)


def scaling_of(numbers: Numbers) -> keras.Model:
    """Return a model that brings columns or channels to mean 0 and variance 1."""
    layer = keras.layers.Normalization(dtype="float32")
    layer.adapt(numbers.x)
    return keras.Sequential([keras.Input(numbers.shape), layer])


def _of_table(
    path: str, label_column: str | None, needs_labels: bool
) -> tuple[dict[str, np.ndarray], list[str] | None]:
    """Return `x`, and `y` and the names of the classes if a column holds labels."""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path!r}")
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        names, *rows = list(csv.reader(file)) or [[]]
    if all(map(_is_number, names)) or len({*names}) < len(names):
        raise ValueError(
            f"the first line of {path} must hold the names of the columns, all different. "
            f"Received: {names}"
        )
    for line, row in enumerate(rows, start=2):
        if len(row) != len(names):
            raise ValueError(
                f"line {line} of {path} must have {len(names)} values. Received: {len(row)}"
            )
    table = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    if needs_labels and label_column not in (None, *names):
        raise ValueError(f"{path} has no column {label_column!r}.{nearest(label_column, names)}")
    labels = table.pop(label_column, None)
    columns = [_column(path, name, values) for name, values in table.items()]
    arrays = {"x": np.stack(columns, axis=1) if columns else np.zeros((0, 0))}
    if labels is None:
        return arrays, None
    classes, arrays["y"] = np.unique(labels, return_inverse=True)
    return arrays, classes.tolist()


def _column(path: str, name: str, values: tuple[str, ...]) -> np.ndarray:
    for line, value in enumerate(values, start=2):
        if not _is_number(value):
            raise ValueError(
                f"the columns of {path} must hold numbers: fill what is missing, write categories "
                f"as columns of 0 and 1, and name a column of labels by --label-column. Received: "
                f"{value!r} in column {name!r}, line {line}"
            )
    return np.array(values, "float32")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
