"""Tiny images for the data tests: arrays, files of every format, and data sets in their original layout."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def noise(seed: int, height: int = 6, width: int = 9, channels: int = 3) -> Pixels:
    """Return pixels (height, width, channels), no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(seed: int, height: int = 48, width: int = 64) -> Pixels:
    """Return an image that a lossy format preserves well."""
    image = Image.fromarray(noise(seed, 3, 4)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def saved(image: Pixels | Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002  Pillow's word
    """Return an image encoded by Pillow."""
    target = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    image.save(target, format, **options)
    return target.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a hand-made PNG, of a kind that Pillow reads but does not write."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


def tiff(
    pixels: NDArray[Any], *, bits: int = 0, photometric: int | None = None, **more: tuple[int, int, bytes]
) -> bytes:
    """Return a hand-made TIFF of pixels (height, width) or (height, width, bands).

    Their type is the sample format.

    Args:
        pixels: written as they are, one strip, little-endian.
        bits: bits per sample; by default those of the type. 12: two values in three bytes.
        photometric: 0: white is zero, 1: black is zero, 2: RGB. By default 1, or 2 for three or more bands.
        more: name -> tag, type, content.
    """
    height, width, bands = (*pixels.shape, 1)[:3]
    depth = bits or pixels.dtype.itemsize * 8
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    content = (
        np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
        if depth != 12
        else twelve(pixels)
    )
    shorts = {
        258: [depth] * bands,
        259: [1],
        262: [(2 if bands > 2 else 1) if photometric is None else photometric],
        277: [bands],
        339: [kind] * bands,
    }
    longs = {256: [width], 257: [height], 273: [8], 278: [height], 279: [len(content)]}
    if bands > 3 or bands == 2:
        shorts[338] = [0] * (bands - (3 if bands > 3 else 1))
    entries = {
        tag: (3, len(values), struct.pack(f"<{len(values)}H", *values)) for tag, values in shorts.items()
    }
    entries |= {tag: (4, 1, struct.pack("<I", *values)) for tag, values in longs.items()}
    entries |= {tag: (kind, len(value) // {2: 1, 3: 2}[kind], value) for tag, kind, value in more.values()}
    content += b"\0" * (len(content) % 2)
    start, packed, tail = 8 + len(content), b"", b""
    for tag, (kind, count, value) in sorted(entries.items()):
        place = struct.pack("<I", start + 2 + 12 * len(entries) + 4 + len(tail))
        tail += value + b"\0" * (len(value) % 2) if len(value) > 4 else b""
        packed += struct.pack("<HHI", tag, kind, count) + (place if len(value) > 4 else value.ljust(4, b"\0"))
    return (
        b"II*\0"
        + struct.pack("<I", start)
        + content
        + struct.pack("<H", len(entries))
        + packed
        + b"\0" * 4
        + tail
    )


def twelve(pixels: NDArray[Any]) -> bytes:
    """Return rows of 12-bit values, the first bits first; each row begins at a new byte."""
    bits = (pixels[..., None].astype(np.uint16) >> np.arange(11, -1, -1)) & 1
    return np.packbits(bits.reshape(len(pixels), -1), axis=1).tobytes()


def bmp(pixels: Pixels, alpha: int) -> bytes:
    """Return a 32-bit BMP with an alpha mask (header of 108 bytes), rows from bottom to top."""
    height, width, _ = pixels.shape
    rows = np.dstack([pixels[::-1, :, ::-1], np.full((height, width), alpha, np.uint8)]).tobytes()
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = (
        struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, len(rows), 2835, 2835, 0, 0)
        + masks
        + b"BGRs"
        + bytes(48)
    )
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows


def bomb() -> bytes:
    """Return a hundred bytes that claim to be 50,000 x 50,000 pixels."""
    return png(50_000, 50_000, 8, 2, bytes(1000))


def idx(array: NDArray[np.uint8], *, packed: bool = True) -> bytes:
    """Return an IDX file."""
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    return gzip.compress(content, mtime=0) if packed else content


def archive(files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Pickles like Python 2 and its NumPy.

    Text is bytes, an array is rebuilt by `numpy.core.multiarray._reconstruct`.
    """

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, bytes):
            self.write(b"T" + struct.pack("<i", len(value)) + value)  # BINSTRING
        elif isinstance(value, str):
            self.save(value.encode())
        elif isinstance(value, np.ndarray):
            self.write(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n")
            self.save((0,))
            self.save(b"b")
            self.write(b"tR(K\x01")  # REDUCE, then the state: version 1, ...
            self.save(value.shape)
            self.write(b"cnumpy\ndtype\n(")
            self.save(value.dtype.str[1:])
            self.write(
                b"K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            )  # ... type, ...
            by_columns = not value.flags.c_contiguous
            self.write(b"\x88" if by_columns else b"\x89")
            self.save(value.tobytes("F" if by_columns else "C"))
            self.write(b"tb")
        else:
            super().save(value, save_persistent_id)


def python2_pickle(value: Any) -> bytes:
    """Pickle with Python2Pickler."""
    target = io.BytesIO()
    Python2Pickler(target, protocol=2).dump(value)
    return target.getvalue()


def planes(pixels: Pixels) -> Pixels:
    """Return CIFAR's rows: (n, 32, 32, 3) -> (n, 3072), the red plane first."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def put(path: str | Path, content: bytes) -> Path:
    """Write a file, creating its folders."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
