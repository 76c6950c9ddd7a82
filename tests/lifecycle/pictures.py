"""Tables of small images as written by `preprocess`: horizontal stripes, vertical stripes and plain ones.

A tiny model can tell the three classes apart.
"""

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from baton import storage
from baton.contracts import task_spec
from baton.images import decoding
from tests import tiny

LABELS = ["across", "along", "plain"]
SIDE = 12


def draw(count: int, seed: int = 0, light: int = 0, side: int = SIDE) -> list[tuple[bytes, int]]:
    """Return encoded RGB images with cyclic labels; `light` is added to every pixel, otherwise 40 to 160."""
    random = np.random.default_rng(seed)
    found = []
    for place in range(count):
        label = place % len(LABELS)
        stripes = (
            60 * (np.indices((side, side))[min(label, 1)] // 2 % 2)
            if label < 2
            else np.full((side, side), 30)
        )
        pixels = 40 + light + stripes[..., None] + random.integers(0, 60, (side, side, 3))
        found.append((decoding.encode(pixels.clip(0, 255).astype(np.uint8)), label))
    return found


def base64_of(image: bytes) -> str:
    """Encode an image as in JSON."""
    return base64.b64encode(image).decode()


def write(
    folder: Path, splits: dict[str, Sequence[tuple[bytes, int]]], labels: Sequence[str] = LABELS
) -> Path:
    """Write tables `id, name, image, digest, label`, and task.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        images = [image for image, _ in rows]
        columns = {
            "id": pa.array([f"{split}:{place + 1}" for place in range(len(rows))], pa.string()),
            "name": pa.array([f"{split}/{place + 1}" for place in range(len(rows))], pa.string()),
            "image": pa.array(images, pa.binary()),
            "digest": pa.array(
                [decoding.digest(decoding.decode(image, 10**6).pixels) for image in images], pa.string()
            ),
            "label": pa.array([label for _, label in rows], pa.int32()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    storage.write_json(folder / "task.json", task_spec.described(tiny.task(*list(labels))))
    return folder
