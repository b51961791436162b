"""Files of options."""

import json
from pathlib import Path
from typing import Any

# what config.json of a run has besides
_RECORDED = ("keras_ssl", "finished", "examples")


def read_config(path: str | None) -> dict[str, Any]:
    """Return the options in a file of JSON, by the names of arguments."""
    if path is None:
        return {}
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"--config {path} is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ValueError(
            f'--config {path} must hold options by name, as {{"epochs": 10}}. Received: {config}'
        )
    options = {key.replace("-", "_"): value for key, value in config.items()}
    return {key: value for key, value in options.items() if key not in _RECORDED}
