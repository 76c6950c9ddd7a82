"""Small real images: scikit-learn's digits in the form that stages pass on."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from baton import params, storage
from baton.arrays import image_arrays, image_input
from baton.contracts import input_spec, task_spec
from baton.images import decoding
from tests import tiny

TOKENIZE = params.ImageTokenize(kind="images", size=8, crop_fraction=1.0, channels=1, chunk_size=16)


def write_clean(folder: Path, counts: dict[str, int]) -> Path:
    """Write tables `id, name, image, digest, label` like preprocess, and task.json.

    The splits have different digits.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]  # (1797, 8, 8, 1)
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for split, count in counts.items():
        own = pixels[start : start + count]
        columns = {
            "id": pa.array([f"{split}:{index + 1}" for index in range(count)], pa.string()),
            "name": pa.array([f"{split}/{index + 1}" for index in range(count)], pa.string()),
            "image": pa.array([decoding.encode(picture) for picture in own], pa.binary()),
            "digest": pa.array([decoding.digest(picture) for picture in own], pa.string()),
            "label": pa.array(digits.target[start : start + count].tolist(), pa.int32()),
        }
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
        start += count
    storage.write_json(
        folder / "task.json", task_spec.described(tiny.task(*[str(label) for label in range(10)]))
    )
    storage.write_json(folder / "report.json", {"near_duplicates": {"test_rows": []}})
    return folder


def write_arrays(folder: Path, counts: dict[str, int]) -> dict[str, Any]:
    """Write `folder`/arrays of such tables, for the base model in `folder`/base; return the model's input."""
    clean = write_clean(folder / "clean", counts)
    reads = image_input.describe(storage.read_json(folder / "base/config.json"), TOKENIZE)
    (folder / "arrays").mkdir()
    for split in counts:
        image_arrays.tokenize(
            clean / f"{split}.parquet", reads, folder / "arrays", 16, lambda count: None, tiny.TASK
        )
    storage.write_json(
        folder / "arrays/meta.json",
        {"task": storage.read_json(clean / "task.json"), "input": input_spec.described(reads)},
    )
    return reads
