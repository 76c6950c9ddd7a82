"""Pixels as a matrix: in the split's order, from 0 to 1, reduced by averaging."""

from pathlib import Path

import numpy as np
import pytest

from baton.batches import array_splits
from baton.measure import features
from tests import tiny, tiny_images


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> tuple[array_splits.Split, np.ndarray]:
    folder: Path = tmp_path_factory.mktemp("digits")
    tiny.write_image_base(folder / "base")
    tiny_images.write_arrays(folder, {"train": 30, "val": 8, "test": 8})
    opened = array_splits.open_splits(folder / "arrays")["train"]
    return opened, np.stack([opened.arrays.image(row) for row in range(30)])  # type: ignore[attr-defined]


@pytest.mark.parametrize("side", [8, 50])
def test_small_pictures_stay_as_they_are(split: tuple[array_splits.Split, np.ndarray], side: int) -> None:
    got = features.pixels(split[0], side, 7)
    assert got.dtype == np.float32
    assert got == pytest.approx(split[1].reshape(30, 64) / 255)


def test_larger_ones_are_averaged(split: tuple[array_splits.Split, np.ndarray]) -> None:
    got = features.pixels(split[0], 4, 30)
    blocks = split[1].reshape(30, 4, 2, 4, 2).mean(axis=(2, 4)) / 255
    assert got == pytest.approx(blocks.reshape(30, 16), abs=1e-6)
