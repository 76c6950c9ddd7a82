"""Tiny images for the data tests: arrays, files of every format, and data sets in the layout of the originals."""

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
    """Pixels (height, width, channels), no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(seed: int, height: int = 48, width: int = 64) -> Pixels:
    """A picture that a lossy format keeps well."""
    image = Image.fromarray(noise(seed, 3, 4)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def saved(image: Pixels | Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002  Pillow's word
    """An encoded image, made by Pillow."""
    target = io.BytesIO()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    image.save(target, format, **options)
    return target.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG made by hand: what Pillow reads but does not write."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        *chunks,
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in parts
    )


def bomb() -> bytes:
    """A hundred bytes that say they are 50,000 x 50,000 pixels."""
    return png(50_000, 50_000, 8, 2, bytes(1000))


def idx(array: NDArray[np.uint8], *, packed: bool = True) -> bytes:
    """An IDX file."""
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    return gzip.compress(content, mtime=0) if packed else content


def archive(files: dict[str, bytes]) -> bytes:
    """A .tar.gz."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Pickles as Python 2 and its NumPy did: text is bytes, an array is rebuilt by `numpy.core.multiarray._reconstruct`."""

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
            self.write(b"K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")  # ... type, ...
            by_columns = not value.flags.c_contiguous
            self.write(b"\x88" if by_columns else b"\x89")
            self.save(value.tobytes("F" if by_columns else "C"))
            self.write(b"tb")
        else:
            super().save(value, save_persistent_id)


def python2_pickle(value: Any) -> bytes:
    """See Python2Pickler."""
    target = io.BytesIO()
    Python2Pickler(target, protocol=2).dump(value)
    return target.getvalue()


def planes(pixels: Pixels) -> Pixels:
    """CIFAR's rows: (n, 32, 32, 3) -> (n, 3072), the red plane first."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def put(path: str | Path, content: bytes) -> Path:
    """Write a file, with its folders."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
