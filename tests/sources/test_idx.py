"""IDX files, gzip and plain; invalid ones are refused."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from baton.errors import SourceError
from baton.sources import idx
from tests import image_files

PIXELS = np.random.default_rng(0).integers(0, 256, (2500, 4, 3), dtype=np.uint8)  # three reads
LABELS = np.arange(2500, dtype=np.uint8) % 10


def write(folder: Path, pixels: bytes, labels: bytes) -> tuple[Path, Path]:
    return image_files.put(folder / "pixels", pixels), image_files.put(folder / "labels", labels)


@pytest.mark.parametrize("packed", [True, False])
def test_pixels_and_labels(tmp_path: Path, packed: bool) -> None:
    count, pairs = idx.pairs(
        *write(tmp_path, image_files.idx(PIXELS, packed=packed), image_files.idx(LABELS, packed=not packed))
    )
    rows = list(pairs)
    assert count == len(rows) == 2500
    assert np.array_equal(np.stack([pixels for pixels, _ in rows])[..., 0], PIXELS)
    assert [label for _, label in rows] == [str(label) for label in LABELS]


def test_torchvision_reads_the_same(tmp_path: Path) -> None:
    from torchvision.datasets.mnist import read_image_file

    path = image_files.put(tmp_path / "pixels", image_files.idx(PIXELS, packed=False))
    assert np.array_equal(np.concatenate(list(idx.blocks(path, 3))), read_image_file(str(path)).numpy())


DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist_itself() -> None:
    count, pairs = idx.pairs(DEBIAN / "t10k-images-idx3-ubyte.gz", DEBIAN / "t10k-labels-idx1-ubyte.gz")
    pixels, label = next(pairs)
    assert (count, pixels.shape, label) == (10_000, (28, 28, 1), "9")  # an ankle boot comes first
    assert Counter([label, *(label for _, label in pairs)]) == dict.fromkeys("0123456789", 1000)


@pytest.mark.parametrize(
    ("pixels", "problem"),
    [
        (b"", "is not an IDX file of this kind"),
        (b"\x89PNG and more", "is not an IDX file of this kind"),
        (image_files.idx(LABELS), "is not an IDX file of this kind"),
        (b"\0\0\x0d\3" + image_files.idx(PIXELS, packed=False)[4:], "is not an IDX file of this kind"),
        (image_files.idx(PIXELS, packed=False)[:10], "is truncated"),
        (image_files.idx(PIXELS, packed=False)[:-1], "is truncated"),
        (image_files.idx(PIXELS, packed=False) + b"x", "is longer than its header says"),
        (image_files.idx(PIXELS)[:-200], "is damaged"),
        (image_files.idx(PIXELS)[:100] + bytes(50) + image_files.idx(PIXELS)[150:], "is damaged"),
        (image_files.idx(PIXELS[:0], packed=False), "is empty"),
        (image_files.idx(PIXELS[:-1]), "do not belong together"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, pixels: bytes, problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        list(idx.pairs(*write(tmp_path, pixels, image_files.idx(LABELS)))[1])
    assert all(part in str(caught.value) for part in ("pixels", "got:", "expected:", "next:"))
