"""Read chosen members of an archive: zip, tar (plain, gzip, bzip2, xz, zstandard) or a Debian package.

Input: the path of a verified archive. Output: files below a target folder. Nothing else is unpacked, links
are never followed or made, and what is read is bounded, so that a small archive cannot fill disk or memory.
The format is recognized by the first bytes.
"""

import bz2
import contextlib
import errno
import fnmatch
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from baton.errors import SourceError, one_line

MOST_BYTES = 2**35  # of a tar without its compression, and of the members that are read
MOST_MEMBERS = 2_000_000
MOST_HEADER = 2**20  # bytes of a member's name and attributes
AR, AR_HEADER = b"!<arch>\n", 60
ZIP = b"PK"
TAR_HEADER = 512
SHOWN = 10
HEADERS = {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
HEADERS |= {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


@dataclass(frozen=True)
class Member:
    """A member of an archive; `opened` is called while it is the current one."""

    name: str
    size: int
    fault: str  # why it is not a file, such as "a symbolic link"; empty for a file
    opened: Callable[[], IO[bytes]]


def extract(archive: Path, members: Mapping[str, str], target: Path) -> None:
    """Write the named members below `target`.

    Args:
        archive: a verified archive.
        members: member -> path relative to `target`.
        target: an existing folder.

    Raises:
        SourceError: the archive is damaged, too large or contains a member outside its root; it lacks a named
            member; a member is not a file; or a path leaves `target`.
    """
    paths = {member: inside(target, name) for member, name in members.items()}
    missing, others = set(members), []
    with _explained(archive):
        for member in _members(archive):
            if member.name not in members:
                others.append(member.name)
                continue
            if member.fault:
                hint = "name a regular file in params.yaml"
                raise SourceError(
                    f"member {member.name} is not a file",
                    got=member.fault,
                    expected="a regular file",
                    hint=hint,
                )
            _write(member, paths[member.name])
            missing.discard(member.name)
    for name in sorted(missing):
        raise _missing(name, others)


def extract_matching(archive: Path, patterns: Sequence[str], target: Path) -> list[str]:
    """Write the members that match below `target`, under their own names.

    Args:
        archive: a verified archive.
        patterns: names of members, in which `*` and `?` match within one folder; the name of a folder matches
            everything in it, and `.` everything.
        target: an existing folder.

    Returns:
        The names that were written, sorted. Links and other members that are not files are left out.

    Raises:
        SourceError: as for `extract`; also if nothing matches a pattern.
    """
    unmatched, taken, others = set(patterns), [], []
    with _explained(archive):
        for member in _members(archive):
            hits = {pattern for pattern in patterns if matches(member.name, pattern)}
            if member.fault or not hits:
                others.append(member.name)
                continue
            _write(member, inside(target, member.name))
            unmatched -= hits
            taken.append(member.name)
    for pattern in sorted(unmatched):
        raise _missing(pattern, others + taken)
    return sorted(taken)


def complete(archive: Path) -> bool:
    """Return whether an archive can be read to its end: a transfer that stopped early cannot."""
    try:
        for _ in _members(archive):
            pass
    except DAMAGED:
        return False
    except OSError as error:
        if error.errno is not None:
            raise
        return False
    except SourceError:  # complete, but not to be trusted
        return True
    return True


def inside(target: Path, name: str) -> Path:
    """Return the path of `name` below `target`.

    Raises:
        SourceError: the path would be outside `target`.
    """
    path = (target / name).resolve()
    if target.resolve() not in path.parents:
        raise SourceError(
            "a file would be written outside its folder",
            got=name,
            expected=f"a path below {target}",
            hint="fix its name",
        )
    return path


def matches(name: str, pattern: str) -> bool:
    """Return whether a member is named by a pattern, or is in a folder that is."""
    parts, wanted = PurePosixPath(name).parts, PurePosixPath(pattern).parts
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _write(member: Member, path: Path) -> None:
    if one_line(member.name) != member.name or path.exists():
        got = f"{one_line(member.name)}{', twice' if path.exists() else ''}"
        raise _hostile("the archive has a member that cannot be a file's name", got, "distinct, plain names")
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.opened() as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _members(archive: Path) -> Iterator[Member]:
    """Yield every member, checked; the archive is read once, from its beginning to its end."""
    count = size = 0
    with archive.open("rb") as file:
        for member in _listed(file):
            path = PurePosixPath(member.name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                # A sound archive has no such member; the others are not trustworthy either.
                problem = "the archive has a member outside its root"
                raise _hostile(problem, member.name, "relative paths without '..'")
            count, size = count + 1, size + max(0, member.size)
            if count > MOST_MEMBERS or size > MOST_BYTES:
                got = f"{count:,} members, {size:,} bytes, and more"
                expected = f"at most {MOST_MEMBERS:,} members and {MOST_BYTES:,} bytes"
                raise _hostile("the archive holds too much", got, expected)
            yield member


def _listed(file: IO[bytes]) -> Iterator[Member]:
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
            fault = "a folder" if info.is_dir() else "a symbolic link" if link else ""

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
            raise _hostile("the archive has an enormous header", got, expected)
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
            raise _hostile("the archive holds too much", "more", f"at most {MOST_BYTES:,} bytes")
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
    kinds = {"a folder": info.isdir(), "a symbolic link": info.issym(), "a hard link": info.islnk()}
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


# ---- errors ------------------------------------------------------------------------------------------------


def _hostile(problem: str, got: str, expected: str) -> SourceError:
    return SourceError(problem, got=got, expected=expected, hint="do not use this archive")


def _missing(name: str, others: Iterable[str]) -> SourceError:
    suffix = PurePosixPath(name).suffix
    close = sorted(other for other in set(others) if PurePosixPath(other).suffix == suffix)[:SHOWN]
    return SourceError(
        f"the archive has no member {name}",
        got=", ".join(map(one_line, close)) or "no similar member",
        expected=name,
        hint="name its members in params.yaml; `unzip -l`, `tar -t` or `dpkg-deb -c` lists them",
    )


@contextlib.contextmanager
def _explained(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise _damaged(archive, error) from None
    except OSError as error:  # damaged gzip and zstandard; what the disk refuses has a number
        if error.errno == errno.ENAMETOOLONG:
            problem = "the archive has a member that cannot be a file's name"
            raise _hostile(problem, "a name that is too long", "names of at most 255 bytes") from None
        if error.errno is not None:
            raise
        raise _damaged(archive, error) from None


def _damaged(archive: Path, error: Exception) -> SourceError:
    hint = "pin another version: the pinned file itself is damaged, so fetching it again would not help"
    return SourceError(
        f"archive {archive.name} is damaged or truncated",
        got=error,
        expected="a complete zip, tar or Debian archive",
        hint=hint,
    )
