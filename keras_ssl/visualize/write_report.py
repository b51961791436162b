"""A report of a run as one HTML file."""

from __future__ import annotations

import base64
import html
import importlib.resources
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_ssl import checks
from keras_ssl.version import __version__
from keras_ssl.visualize._features import (
    check_features,
    check_projection,
    nearest_neighbors,
    project,
    unit_features,
)
from keras_ssl.visualize._figures import (
    COLORS,
    check_images,
    check_labels,
    check_value_range,
    to_unit,
)
from keras_ssl.visualize._history import default_panels, entry_names, join

if TYPE_CHECKING:
    import numpy as np

# values of a curve; of more, every n-th is kept
_VALUES = 1000
# the longer side of a thumbnail, in pixels
_THUMBNAIL = 64
# thumbnails that are made at once
_AT_ONCE = 128


def write_report(
    path: str | PathLike[str],
    title: str = "Report",
    history: Any = None,
    tables: Mapping[str, Mapping[str, Any]] | None = None,
    features: Any = None,
    images: Any = None,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    projection: Any = None,
    neighbors: int = 8,
    max_points: int = 2000,
    value_range: tuple[float, float] = (0, 255),
    seed: int = 0,
) -> Path:
    """Write a report of a run as one HTML file, to be opened in a browser.

    The file has the curves of training, tables, and a map of the features, on which the image
    under the pointer is shown, and the nearest neighbors of the one that is clicked on. It is
    complete in itself: it needs no server and loads nothing. It fits a phone, goes by the system's
    light or dark colors, and can be used by keyboard.

    The map is that of `keras_ssl.visualize.plot_embedding`, and neighbors are by cosine similarity
    among the points of the map.

    The size is bounded: with images, 2,000 points take up to about 6 MB, without them 0.2 MB, and
    a curve of more than 1,000 values is thinned out.

    Args:
        path: the file to write, such as `"report.html"`. Its folder is made if it is missing.
        title: title of the page.
        history: the `keras.callbacks.History` returned by `fit`, or a dictionary of lists, or a
            list of either, as in `keras_ssl.visualize.plot_history`.
        tables: tables by title. Each is a dictionary of values, such as settings, or a dictionary
            of rows that are dictionaries of values, such as what
            `keras_ssl.evaluate.representation_report` returns.
        features: array of shape `(n, dimensions)`, or `None` for no map.
        images: the images of the map, of shape `(n, height, width, channels)` with 1 or 3 channels;
            or a function that returns those of an array of indices, such as the method `images` of
            `keras_ssl.data.image_folder`.
        labels: classes of shape `(n,)`, integers, -1 for no label, or strings.
        class_names: names of the classes in the order of the labels.
        names: a name for each example, such as that of its file.
        projection: object with a method `fit_transform` from `(n, dimensions)` to `(n, 2)`, or
            `None` for PCA and t-SNE. Features of two dimensions are shown unchanged by default.
        neighbors: number of neighbors of each point, fewer if there are not so many points.
        max_points: maximum number of points. If there are more, a random subset is shown.
        value_range: the values shown as black and as white. Values outside are clipped.
        seed: seed of the subset and of the default projection.

    Returns:
        The path of the file.

    Raises:
        TypeError: if `history`, `tables` or `projection` have the wrong type.
        ValueError: if there is nothing to report, images, labels or names do not match the
            features or are given without them, or an argument has a wrong value.

    Example:

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from keras_ssl import visualize
    >>> rng = np.random.default_rng(0)
    >>> path = visualize.write_report(
    ...     pathlib.Path(tempfile.mkdtemp()) / "report.html",
    ...     title="SimCLR on noise",
    ...     history={"loss": [4.1, 3.2], "probe_accuracy": [0.4, 0.6]},
    ...     tables={"Settings": {"epochs": 2, "learning rate": 0.1}},
    ...     features=rng.normal(size=(20, 2)),
    ...     images=rng.integers(0, 256, (20, 8, 8, 3)),
    ...     labels=np.arange(20) % 2,
    ...     class_names=["cat", "dog"],
    ... )
    >>> "<title>SimCLR on noise</title>" in path.read_text(encoding="utf-8")
    True
    """
    if history is None and not tables and features is None:
        raise ValueError(
            "`history`, `tables` or `features` must be given: there is nothing to report. "
            "Received: none of them"
        )
    panels = [] if history is None else _panels(history)
    table_section = _table_section(tables)
    sprite, points = "", None
    if features is not None:
        rows, points = _map(
            features, labels, class_names, names, projection, neighbors, max_points, seed
        )
        if images is not None:
            sprite, points["sprite"] = _sprite(
                _images_of(images, points["total"]), rows, value_range
            )
    elif any(value is not None for value in (images, labels, names, class_names)):
        raise ValueError(
            "`images`, `labels`, `class_names` and `names` are those of the map, which needs "
            "`features`. Received: features=None"
        )
    template = importlib.resources.files("keras_ssl.visualize").joinpath("report.html")
    page = _fill(
        template.read_text(encoding="utf-8"),
        {
            "title": html.escape(str(title)),
            "version": html.escape(__version__),
            "tables": table_section,
            "sprite": sprite,
            "data": _json({"panels": panels, "map": points, "colors": len(COLORS)}),
            "colors": _css_colors(COLORS),
            "colors_on_dark": _css_colors(map(_lighter, COLORS)),
        },
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _fill(template: str, parts: dict[str, str]) -> str:
    """Put parts into the places of a template, in one pass, so that none is searched itself."""
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def _json(value: Any) -> str:
    """Return JSON that ends no element of HTML."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _css_colors(colors: Iterable[str]) -> str:
    return " ".join(f"--color-{number}: {color};" for number, color in enumerate(colors))


def _lighter(color: str) -> str:
    """Return a color with a third of white, to be seen on dark ground."""
    parts = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return "#" + "".join(f"{(2 * part + 255) // 3:02x}" for part in parts)


def _panels(history: Any) -> list[dict[str, Any]]:
    """Return the panels of curves, with an entry and its validation in one color."""
    curves = join(history)
    panels = []
    for title, entries in default_panels(entry_names(curves)).items():
        is_percent = all("accuracy" in entry for entry in entries)
        drawn = [
            _curve(key, *curves[key], number % len(COLORS), 100 if is_percent else 1)
            for number, entry in enumerate(entries)
            for key in (entry, f"val_{entry}")
            if key in curves
        ]
        if drawn:
            panels.append({"title": title, "unit": "%" if is_percent else "", "curves": drawn})
    return panels


def _curve(
    key: str, epochs: list[float], values: list[float], color: int, scale: float
) -> dict[str, Any]:
    step = -(-len(values) // _VALUES)
    kept = slice((len(values) - 1) % step, None, step)  # the last one is among them
    return {
        "name": key.replace("_", " "),
        "color": color,
        "dashed": key.startswith("val_"),
        "x": [round(epoch, 3) for epoch in epochs[kept]],
        "y": [_number(scale * value) for value in values[kept]],
    }


def _number(value: float) -> float | None:
    """Return six digits of a number, or `None` if it is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _table_section(tables: Any) -> str:
    if not tables:
        return ""
    if not isinstance(tables, Mapping) or not all(isinstance(t, Mapping) for t in tables.values()):
        raise TypeError(
            "`tables` must be a dictionary of tables by title, each a dictionary. Received: "
            f"tables={tables!r}"
        )
    cards = "\n".join(_card(html.escape(str(title)), table) for title, table in tables.items())
    return (
        '<section aria-labelledby="tables-title">\n<h2 id="tables-title">Tables</h2>\n'
        f'<div id="tables">\n{cards}\n</div>\n</section>'
    )


def _card(title: str, table: Mapping[str, Any]) -> str:
    """Return a table with its title; one that has columns takes the whole width."""
    is_wide = bool(table) and all(isinstance(row, Mapping) for row in table.values())
    return (
        f'<div class="card{" full" if is_wide else ""}"><h3>{title}</h3>'
        f'<div class="wide" tabindex="0" role="region" aria-label="{title}"><table>'
        f"{_with_columns(table) if is_wide else _pairs(table)}</table></div></div>"
    )


def _pairs(table: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr>{_row_title(key)}<td>{_text(one)}</td></tr>" for key, one in table.items())
    return f"<tbody>{rows}</tbody>"


def _with_columns(table: Mapping[str, Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    titles = "".join(
        f'<th scope="col" class="number">{html.escape(str(column).replace("_", " "))}</th>'
        for column in columns
    )
    body = ""
    for key, row in table.items():
        cells = "".join(f'<td class="number">{_text(row.get(one, ""))}</td>' for one in columns)
        body += f"<tr>{_row_title(key)}{cells}</tr>"
    return f"<thead><tr><td></td>{titles}</tr></thead><tbody>{body}</tbody>"


def _row_title(key: Any) -> str:
    return f'<th scope="row">{html.escape(str(key))}</th>'


def _text(value: Any) -> str:
    """Return a value as text of HTML, numbers with four digits."""
    return html.escape(_plain(value))


def _plain(value: Any) -> str:
    if isinstance(value, str | bool):
        return str(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(one)}" for key, one in value.items())
    if isinstance(value, Sequence):
        return ", ".join(map(_plain, value))
    is_float = hasattr(value, "__float__") and not hasattr(value, "__index__")
    return f"{float(value):.4g}" if is_float else str(value)


def _map(
    features: Any,
    labels: Any,
    class_names: Sequence[str] | None,
    names: Sequence[str] | None,
    projection: Any,
    neighbors: int,
    max_points: int,
    seed: int,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the rows of the features that are shown, and what the page knows of them."""
    import keras
    import numpy as np

    features = keras.ops.convert_to_numpy(features)
    check_projection(projection)
    max_points = checks.integer("max_points", max_points, minimum=4)
    neighbors = checks.integer("neighbors", neighbors, minimum=0)
    check_features(features, max_points)
    total = len(features)
    labels, class_names = check_labels(labels, class_names, total)
    if names is not None and len(names) != total:
        raise ValueError(
            f"`names` must hold one name per row of `features`, {total}. Received: {len(names)}"
        )

    # shuffled in any case: sorted by class, the last class would cover the others
    rows = np.random.default_rng(seed).permutation(total)[:max_points]
    shown = features[rows].astype("float32")
    places = project(shown, projection, seed).astype("float64")
    places = (places - places.min(axis=0)) / (np.ptp(places, axis=0).max() or 1.0)
    places += (1 - places.max(axis=0)) / 2
    units = unit_features(shown, len(rows))
    near, similarity = nearest_neighbors(units, np.arange(len(rows)), min(neighbors, len(rows) - 1))
    x, y = places.round(4).T.tolist()
    labels, classes = (None, None) if labels is None else _classes(labels[rows], class_names)
    count = f"{total:,}" if len(rows) == total else f"{len(rows):,} of {total:,}"
    return rows, {
        "note": f"{count} examples.",
        "total": total,
        "x": x,
        "y": y,
        "rows": rows.tolist(),
        "labels": labels,
        "classes": classes,
        "names": None if names is None else [str(names[row]) for row in rows],
        "neighbors": near.tolist(),
        "similarity": similarity.round(3).tolist(),
    }


def _classes(labels: np.ndarray, class_names: Sequence[str] | None) -> tuple[list[int], list[str]]:
    """Return labels as indices of the classes that occur, -1 for none, and the names of these."""
    import numpy as np

    present = np.unique(labels[labels >= 0])
    numbers = np.where(labels < 0, -1, np.searchsorted(present, labels))
    names = present if class_names is None else [class_names[label] for label in present]
    return numbers.tolist(), [str(name) for name in names]


def _images_of(images: Any, total: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that returns images by their rows."""
    import keras

    if callable(images):
        return lambda rows: check_images("images", images(rows))
    array = keras.ops.convert_to_numpy(images)
    check_images("images", array)
    if len(array) != total:
        raise ValueError(
            f"`images` must hold one image per row of `features`, {total}. Received: {len(array)}"
        )
    return lambda rows: array[rows]


def _sprite(
    images_of: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, value_range: Any
) -> tuple[str, dict[str, Any]]:
    """Return all thumbnails as one embedded JPEG, and where they are in it."""
    import numpy as np
    from PIL import Image

    check_value_range(value_range)
    small = [
        _thumbnail((to_unit(image, value_range) * 255).round().astype(np.uint8))
        for start in range(0, len(rows), _AT_ONCE)
        for image in images_of(rows[start : start + _AT_ONCE])
    ]
    height, width, channels = small[0].shape
    # whole blocks of JPEG, filled by the edge, so that no image shows in the next
    cell_height, cell_width = -(-height // 8) * 8, -(-width // 8) * 8
    fill = ((0, cell_height - height), (0, cell_width - width), (0, 0))
    columns = math.ceil(math.sqrt(len(small)))
    sheet = np.zeros((-(-len(small) // columns) * cell_height, columns * cell_width, channels))
    sheet = sheet.astype(np.uint8)
    for number, image in enumerate(small):
        top, left = number // columns * cell_height, number % columns * cell_width
        sheet[top : top + cell_height, left : left + cell_width] = np.pad(image, fill, "edge")
    content = io.BytesIO()
    pixels = sheet[..., 0] if channels == 1 else sheet
    Image.fromarray(pixels).save(content, "JPEG", quality=88, subsampling=0)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    place = {
        "columns": columns,
        "cell": [cell_width, cell_height],
        "width": width,
        "height": height,
    }
    return f'<img id="sprite" alt="" hidden src="data:image/jpeg;base64,{encoded}">', place


def _thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return an image whose longer side is at most that of a thumbnail."""
    import numpy as np
    from PIL import Image

    height, width, channels = pixels.shape
    scale = _THUMBNAIL / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR)).reshape(*size[::-1], channels)
