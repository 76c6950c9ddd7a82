"""Small real images, arrays that look like photographs, and tables of them as `preprocess` writes them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from baton.contracts.input_spec import ImageInput
from baton.images import decoding

INPUT = ImageInput(
    size=(16, 16),
    channels=3,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.2),
    interpolation="bicubic",
    crop_fraction=1.0,
    crop_mode="center",
)


def photo(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Return smooth colours with some noise, (height, width, channels)."""
    draw = np.random.default_rng((seed, height, width))
    coarse = draw.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + draw.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)[..., :channels]


def digits(count: int) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """Return scikit-learn's digits, (8, 8, 1) each, and their labels."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return [(image * 15).astype(np.uint8)[..., None] for image in loaded.images[:count]], loaded.target[
        :count
    ].tolist()


def write_table(
    path: Path, images: Sequence[NDArray[np.uint8] | bytes], labels: Sequence[int], row_group_size: int = 16
) -> Path:
    """Write a clean table of images (PNG) or of the given bytes; its stem names the split."""
    contents = [image if isinstance(image, bytes) else decoding.encode(image) for image in images]
    names = [f"{path.stem}:{index + 1}" for index in range(len(images))]
    columns = {
        "id": pa.array(names, pa.string()),
        "name": pa.array([f"{name}.png" for name in names], pa.string()),
        "image": pa.array(contents, pa.binary()),
        "digest": pa.array([hashlib.sha256(content).hexdigest() for content in contents], pa.string()),
        "label": pa.array(labels, pa.int32()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return path
