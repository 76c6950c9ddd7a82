"""Read a model file of CTranslate2, `model.bin`: its specification's name and its variables.

The format is that of its converter (https://github.com/OpenNMT/CTranslate2). Numbers are little-endian; a
name is its length with a closing zero (uint16) and its bytes. After the binary version, the specification's
name, its revision and the number of variables come the variables, each with name, rank, dimensions, type,
number of bytes and values; then the aliases: names of variables that are equal to others. None of it is code.
"""

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from baton.errors import SourceError

VERSION = 6  # of the binary format
TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)  # by their number; bfloat16, 5, is unknown here
HINT = "use a model that the converter of CTranslate2 3 or 4 wrote, with --quantization float16 or float32"


def read(path: Path, origin: str) -> tuple[str, dict[str, NDArray[np.generic]]]:
    """Return the specification's name, such as `WhisperSpec`, and the variables, by their names.

    Args:
        path: the file, which is mapped into memory.
        origin: what messages call it.

    Raises:
        SourceError: it is not such a file, of another version, or incomplete.
    """
    content = _Reader(np.memmap(path, np.uint8, mode="r"), origin)
    version = content.number("I")
    if version != VERSION:
        raise SourceError(
            f"{origin} is not a model file of CTranslate2 that can be read",
            got=f"binary version {version}",
            expected=f"binary version {VERSION}",
            hint=HINT,
        )
    name = content.name()
    content.number("I")  # the specification's revision
    variables = {}
    for _ in range(content.number("I")):
        variable = content.name()
        variables[variable] = content.values(variable)
    for _ in range(content.number("I")):
        alias, variable = content.name(), content.name()
        variables[alias] = variables[variable]
    if content.place != len(content.bytes):
        raise content.damaged(f"{len(content.bytes) - content.place:,} bytes after its end")
    return name, variables


class _Reader:
    """The bytes of a file and the place of the next one to read."""

    def __init__(self, content: NDArray[np.uint8], origin: str) -> None:
        self.bytes, self.origin, self.place = content, origin, 0

    def take(self, count: int) -> NDArray[np.uint8]:
        """Return the next `count` bytes."""
        end = self.place + count
        if end > len(self.bytes):
            raise self.damaged(f"{len(self.bytes):,} bytes, which end within a value")
        found = self.bytes[self.place : end]
        self.place = end
        return found

    def number(self, form: str) -> int:
        """Return the next number; `form` is that of `struct`."""
        found: int
        (found,) = struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")).tobytes())
        return found

    def name(self) -> str:
        """Return the next name."""
        return self.take(self.number("H")).tobytes().rstrip(b"\0").decode("utf-8", "replace")

    def values(self, name: str) -> NDArray[np.generic]:
        """Return the next variable's values."""
        shape = tuple(self.number("I") for _ in range(self.number("B")))
        kind, size = self.number("B"), self.number("I")
        if kind >= len(TYPES):
            raise self.damaged(f"{name} of type {kind}")
        if size != math.prod(shape) * np.dtype(TYPES[kind]).itemsize:
            raise self.damaged(f"{name} of shape {shape}, type {kind} and {size:,} bytes")
        return self.take(size).view(TYPES[kind]).reshape(shape)

    def damaged(self, got: str) -> SourceError:
        """Return the error for content that is not that of such a file."""
        return SourceError(
            f"{self.origin} is damaged or not a model file of CTranslate2",
            got=got,
            expected="a whole model.bin with variables of the types float32, float16 or integer",
            hint=HINT,
        )
