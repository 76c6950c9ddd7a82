"""Read IDX files (the MNIST family), plain or gzip, a thousand items at a time.

An IDX file is a block of unsigned bytes with its sizes in the header.
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from baton.errors import SourceError

GZIP = b"\x1f\x8b"
UNSIGNED_BYTES = 0x08
CHUNK = 1024  # items


def pairs(images: Path, labels: Path) -> tuple[int, Iterator[tuple[NDArray[np.uint8], str]]]:
    """Return the number of items, and each item with its label.

    Args:
        images: an IDX file with three dimensions.
        labels: an IDX file with one dimension.

    Returns:
        The count, and an iterator of (pixels (height, width, 1), the label's digits).

    Raises:
        SourceError: a file is not such an IDX file, is damaged, truncated or too long, or the two have
            different numbers of items.
    """
    (count, *_), (other,) = shape(images, 3), shape(labels, 1)
    if count != other:
        hint = "name the two files of one split in source.images and source.labels"
        raise SourceError(
            f"{images} and {labels} do not belong together",
            got=f"{count} images, {other} labels",
            expected="equal numbers",
            hint=hint,
        )
    return count, (
        (pixels[:, :, np.newaxis], str(label))
        for block, named in zip(blocks(images, 3), blocks(labels, 1), strict=True)
        for pixels, label in zip(block, named, strict=True)
    )


def shape(path: Path, dimensions: int) -> tuple[int, ...]:
    """Return the sizes in the header."""
    try:
        with _opened(path) as file:
            return _header(file, path, dimensions)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from None


def blocks(path: Path, dimensions: int) -> Iterator[NDArray[np.uint8]]:
    """Yield arrays (up to CHUNK, ...), in total as many items as the header states."""
    try:
        with _opened(path) as file:
            count, *rest = _header(file, path, dimensions)
            each = math.prod(rest)
            for start in range(0, count, CHUNK):
                here = min(CHUNK, count - start)
                content = file.read(here * each)
                if len(content) != here * each:
                    got = f"{start * each + len(content):,} bytes"
                    expected = f"{count * each:,} bytes after the header, as stated in it"
                    raise _wrong(path, "is truncated", got, expected)
                yield np.frombuffer(content, np.uint8).reshape(here, *rest)
            if file.read(1):
                raise _wrong(
                    path,
                    "is longer than its header says",
                    "more bytes",
                    f"{count * each:,} bytes after the header",
                )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from None


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


def _header(file: IO[bytes], path: Path, dimensions: int) -> tuple[int, ...]:
    start = file.read(4)
    if start != bytes([0, 0, UNSIGNED_BYTES, dimensions]):
        raise _wrong(
            path,
            "is not an IDX file of this kind",
            f"begins with {start!r}",
            f"0, 0, 8 (unsigned bytes), {dimensions} (dimensions)",
        )
    sizes = file.read(4 * dimensions)
    if len(sizes) != 4 * dimensions:
        raise _wrong(path, "is truncated", f"{4 + len(sizes)} bytes", "a complete header")
    found = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if not all(found):
        raise _wrong(path, "is empty", " x ".join(map(str, found)), "sizes above zero")
    return found


def _wrong(path: Path, problem: str, got: str, expected: str) -> SourceError:
    return SourceError(
        f"{path} {problem}",
        got=got,
        expected=expected,
        hint="fetch the file again, or name another in source",
    )


def _damaged(path: Path, error: Exception) -> SourceError:
    return _wrong(path, "is damaged", str(error), "a complete gzip file")
