"""The library of the encoder in a model folder, by the layout of its config.json: transformers or timm."""

import json
from pathlib import Path


def of_transformers(folder: Path) -> bool:
    """Return whether the encoder in a folder is one of transformers, rather than timm's or none."""
    config = folder / "config.json"
    return config.is_file() and "architecture" not in json.loads(config.read_bytes())
