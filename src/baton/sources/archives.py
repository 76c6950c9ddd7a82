"""Read chosen members of an archive: zip, tar (plain, gzip, bzip2, xz, zstandard) or a Debian package.

Input: the path of a verified archive. Output: files below a target folder. Nothing else is unpacked, links
are never followed or made, and what is read is bounded, so that a small archive cannot fill disk or memory.
"""

import contextlib
import errno
import fnmatch
import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from rich.markup import escape

from baton import console
from baton.errors import SourceError, one_line
from baton.sources import archive_members
from baton.sources.archive_members import Member, hostile

MOST_MEMBERS = 2_000_000
SHOWN = 10
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    OverflowError,
    UnicodeDecodeError,
)


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
        The names that were written, sorted. Links and other members that are not files are left out, and
        said.

    Raises:
        SourceError: as for `extract`; also if nothing matches a pattern.
    """
    unmatched, taken, others = set(patterns), [], []
    left_out: list[str] = []
    with _explained(archive):
        for member in _members(archive):
            hits = {pattern for pattern in patterns if matches(member.name, pattern)}
            if member.fault or not hits:
                others.append(member.name)
                if hits and member.fault != archive_members.FOLDER:
                    left_out.append(f"{one_line(member.name)} ({member.fault})")
                continue
            _write(member, inside(target, member.name))
            unmatched -= hits
            taken.append(member.name)
    for pattern in sorted(unmatched):
        raise _missing(pattern, others + taken)
    if left_out:
        more = f" and {len(left_out) - SHOWN:,} more" if len(left_out) > SHOWN else ""
        shown = f"{', '.join(sorted(left_out)[:SHOWN])}{more}"
        console.say(escape(f"note: {archive.name}: members that are not files are left out: {shown}"))
    return sorted(taken)


def complete(archive: Path) -> bool:
    """Return whether an archive can be read to its end: a transfer that stopped early cannot."""
    try:
        for _ in _members(archive):
            pass
    except DAMAGED:
        return False
    except OSError as error:
        if error.errno not in {None, errno.EINVAL}:
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
    return len(parts) >= len(wanted) and all(
        part == each or fnmatch.fnmatchcase(part, each) for part, each in zip(parts, wanted, strict=False)
    )


def _write(member: Member, path: Path) -> None:
    if one_line(member.name) != member.name or path.exists():
        got = f"{one_line(member.name)}{', twice' if path.exists() else ''}"
        raise hostile("the archive has a member that cannot be a file's name", got, "distinct, plain names")
    path.parent.mkdir(parents=True, exist_ok=True)
    with member.opened() as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def _members(archive: Path) -> Iterator[Member]:
    """Yield every member, checked; the archive is read once, from its beginning to its end."""
    count = size = 0
    with archive.open("rb") as file:
        for member in archive_members.listed(file):
            path = PurePosixPath(member.name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                # A sound archive has no such member; the others are not trustworthy either.
                problem = "the archive has a member outside its root"
                raise hostile(problem, member.name, "relative paths without '..'")
            count, size = count + 1, size + max(0, member.size)
            if count > MOST_MEMBERS or size > archive_members.MOST_BYTES:
                got = f"{count:,} members, {size:,} bytes, and more"
                expected = f"at most {MOST_MEMBERS:,} members and {archive_members.MOST_BYTES:,} bytes"
                raise hostile("the archive holds too much", got, expected)
            yield member


# ---- errors ------------------------------------------------------------------------------------------------


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
        # A damaged zip may point before its beginning (EINVAL).
        if error.errno == errno.ENAMETOOLONG:
            problem = "the archive has a member that cannot be a file's name"
            raise hostile(problem, "a name that is too long", "names of at most 255 bytes") from None
        if error.errno not in {None, errno.EINVAL}:
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
