"""How published image encoders rescale pixels, from and to the file of the preprocessor."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_ssl.convert._files import PREPROCESSOR, listed, read_json


def rescaling(folder: Path, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that say how pixels are normalized."""
    if "include_rescaling" in kwargs:
        return {}
    config = read_json(folder, PREPROCESSOR)
    if config is None:
        warnings.warn(
            f"The folder has no `{PREPROCESSOR}`, so the encoder takes pixels as they are. "
            "Normalize them as in the training of the weights, or pass `include_rescaling=True`, "
            "`pixel_mean` and `pixel_std`; `include_rescaling=False` silences this.",
            stacklevel=4,
        )
        return {"include_rescaling": False}
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    mean, std = 0.0, 1.0
    if config.get("do_normalize", True):
        if missing := [name for name in ("image_mean", "image_std") if name not in config]:
            raise ValueError(
                f"`{PREPROCESSOR}` lacks {listed(missing)}. Pass `include_rescaling` with "
                f"`pixel_mean` and `pixel_std`. Received: {sorted(config)}"
            )
        mean, std = config["image_mean"], config["image_std"]
    # (x factor - mean) / std as (x / 255 - pixel_mean) / pixel_std
    return {
        "include_rescaling": True,
        "pixel_mean": _divide(mean, 255 * factor),
        "pixel_std": _divide(std, 255 * factor),
    }


def _divide(numbers: Any, by: float) -> Any:
    """Return a number or a list of numbers divided; 1 / 255 times 255 is 1 whatever its digits."""
    by = 1.0 if abs(by - 1) < 1e-9 else by
    return [one / by for one in numbers] if isinstance(numbers, list) else numbers / by


def preprocessor(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of what normalizes images as the encoder does."""
    height, width, channels = arguments["input_shape"]
    mean, std = (
        np.broadcast_to(arguments[name], (channels,)).tolist()
        for name in ("pixel_mean", "pixel_std")
    )
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": mean,
        "image_std": std,
    }
