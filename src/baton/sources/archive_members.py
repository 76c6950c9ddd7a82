"""The members of an archive, one after the other: zip, tar (plain or compressed) or a Debian package.

Input: an open archive, whose format is recognized by its first bytes. Output: its members, whose content is
read while they are the current one. What is read is bounded, so that a small archive cannot fill the memory.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from baton.errors import SourceError

MOST_BYTES = 2**35  # of a tar without its compression, and of the members that are read
MOST_HEADER = 2**20  # bytes of a member's name and attributes
AR, AR_HEADER = b"!<arch>\n", 60
ZIP = b"PK"
FOLDER = "a folder"
TAR_HEADER = 512
HEADERS = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
HEADERS |= {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}


@dataclass(frozen=True)
class Member:
    """A member of an archive; `opened` is called while it is the current one."""

    name: str
    size: int
    fault: str  # why it is not a file, such as "a symbolic link"; empty for a file
    opened: Callable[[], IO[bytes]]


def listed(file: IO[bytes]) -> Iterator[Member]:
    """Yield every member, without checks of their names.

    Raises:
        SourceError: a header or the whole archive is too large.
    """
    head = file.read(len(AR))
    file.seek(0)
    if head == AR:
        yield from _tar_members(_data_of_package(file))
    elif head.startswith(ZIP):
        yield from _zip_members(file)
    else:
        yield from _tar_members(file)


# ---- zip -------------------------------------------------------------------------------------------------


def _zip_members(file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():  # all names before the first member is read
            if PurePosixPath(name.replace("\\", "/")).is_absolute() or ".." in PurePosixPath(name).parts:
                yield Member(name, 0, "outside", io.BytesIO)
        for info in archive.infolist():
            link = stat.S_ISLNK(info.external_attr >> 16)
            fault = FOLDER if info.is_dir() else "a symbolic link" if link else ""

            def opened(info: zipfile.ZipInfo = info) -> IO[bytes]:
                return archive.open(info)

            yield Member(str(PurePosixPath(info.filename)), info.file_size, fault, opened)


# ---- tar -------------------------------------------------------------------------------------------------


class _TarInfo(tarfile.TarInfo):
    """A header of a tar; refuses one whose attributes would fill the memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Any:
        info = super().frombuf(buf, encoding, errors)
        if info.type in HEADERS and info.size > MOST_HEADER:
            got, expected = f"a header of {info.size:,} bytes", f"at most {MOST_HEADER:,} bytes"
            raise hostile("the archive has an enormous header", got, expected)
        return info


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than MOST_BYTES."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self.stream, self.given = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self.stream.read(len(buffer))
        buffer[: len(content)] = content
        self.given += len(content)
        if self.given > MOST_BYTES:
            raise hostile("the archive holds too much", "more", f"at most {MOST_BYTES:,} bytes")
        return len(content)


def _tar_members(file: IO[bytes]) -> Iterator[Member]:
    stream = io.BufferedReader(_Bounded(_decompressed(file)), 2**20)
    if len(stream.peek(TAR_HEADER)) < TAR_HEADER:
        raise tarfile.ReadError("the archive is empty or ends in its first header")
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_TarInfo) as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # else all of them stay in memory

            def opened(info: tarfile.TarInfo = info) -> IO[bytes]:
                content = archive.extractfile(info)
                assert content is not None  # of a regular file
                return content

            fault = "" if info.isreg() else _kind(info)
            yield Member(str(PurePosixPath(info.name)), info.size, fault, opened)


def _kind(info: tarfile.TarInfo) -> str:
    kinds = {FOLDER: info.isdir(), "a symbolic link": info.issym(), "a hard link": info.islnk()}
    return next((kind for kind, it_is in kinds.items() if it_is), "a device or a pipe")


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    start = file.read(6)
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start == b"\xfd7zXZ\0":
        return lzma.LZMAFile(file)
    if start.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")  # type: ignore[no-any-return]
    return file


# ---- Debian packages ---------------------------------------------------------------------------------------


class _Part(io.RawIOBase):
    """The bytes of one member of an ar archive."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        super().__init__()
        self.file, self.start, self.size, self.place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        return self.place

    def tell(self) -> int:
        return self.place

    def readinto(self, buffer: Any) -> int:
        self.file.seek(self.start + self.place)
        content = self.file.read(max(0, min(len(buffer), self.size - self.place)))
        buffer[: len(content)] = content
        self.place += len(content)
        return len(content)


def _data_of_package(file: IO[bytes]) -> IO[bytes]:
    """Return `data.tar.*` of a Debian package: an ar archive of three members (deb(5))."""
    file.seek(0, io.SEEK_END)
    end, place = file.tell(), len(AR)
    while place + AR_HEADER <= end:
        file.seek(place)
        header = file.read(AR_HEADER)
        digits = header[48:58].strip()
        if header[58:] != b"`\n" or not digits.isdigit() or place + AR_HEADER + int(digits) > end:
            raise tarfile.ReadError("the package is truncated, or not an ar archive")
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(digits)
        if name.startswith("data.tar"):
            return io.BufferedReader(_Part(file, place + AR_HEADER, size), 2**20)
        place += AR_HEADER + size + size % 2
    raise tarfile.ReadError("the package has no data.tar")


def hostile(problem: str, got: str, expected: str) -> SourceError:
    """Return the error for an archive that is not to be trusted."""
    return SourceError(problem, got=got, expected=expected, hint="do not use this archive")
