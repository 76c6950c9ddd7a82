"""The user's own files in `inbox/`: copy them, list them in a manifest, or report them missing."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.markup import escape

from baton import console, storage
from baton.errors import SourceError, one_line
from baton.sources import inbox_links, system_files
from baton.sources.inbox_links import INBOX


def copy(source: Path, target: Path) -> None:
    """Copy the bytes of a file (or of a link's target) and create the folders above the target.

    Raises:
        SourceError: a link leads out of inbox/.
    """
    inbox_links.checked(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def copy_folder(source: Path, target: Path) -> None:
    """Copy every file below a folder, except those that operating systems, programs and DVC left there.

    Raises:
        SourceError: there are none, or a link leads to a folder above it or out of inbox/.
    """
    left_out: Counter[str] = Counter()
    for path in files_of(source, left_out):
        if path.is_dir():
            raise SourceError(
                f"{one_line(str(path))} leads to a folder that contains it",
                got="a circular link",
                expected="files, folders and links to them",
                hint=f"remove the link, or move it out of {INBOX}/",
            )
        if path.suffix != ".dvc":
            copy(path, target / path.relative_to(source))
    if not target.is_dir():
        hint = "put the files there, or name another folder in params.yaml"
        raise SourceError(f"{source} has no files", got="an empty folder", expected="files", hint=hint)
    if left_out:
        skipped = system_files.described(left_out)
        console.say(escape(f"{source}: skipped hidden files and files left by operating systems: {skipped}"))


def copy_named(name: str, target: Path, key: str) -> None:
    """Copy the file or folder `name` of inbox/, which the YAML path `key` names.

    Raises:
        SourceError: it does not exist, is a folder without files, or leads out of inbox/.
    """
    path = inbox_links.checked(Path(name))
    if path.is_dir():
        copy_folder(path, target)
    elif path.is_file():
        copy(path, target)
    else:
        raise missing(path, key, "a file or a folder of files")


def entry(folder: Path, name: str, origin: str) -> dict[str, object]:
    """Return the entry of a file in a manifest, or of a folder of files."""
    path = folder / name
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        content = {"sha256": storage.sha256_tree(path), "bytes": size, "files": len(files)}
        return {"path": name, "origin": origin, **content}
    return {"path": name, "origin": origin, "sha256": storage.sha256(path), "bytes": path.stat().st_size}


def missing(path: Path, key: str, expected: str) -> SourceError:
    """Return the error for a path that should exist in `inbox/`; `key` is the YAML path that names it."""
    there = (
        sorted(
            one_line(item.name)
            for item in INBOX.iterdir()
            if not system_files.kind(item.name, folder=item.is_dir())
        )
        if INBOX.is_dir()
        else []
    )
    hint = (
        "`dvc pull` fetches it"
        if Path(f"{path}.dvc").is_file()
        else f"put it there or change {key} in params.yaml"
    )
    got = f"inbox/ contains {', '.join(there)}" if there else "inbox/ is empty"
    return SourceError(f"{path} does not exist", got=got, expected=expected, hint=hint)


def files_of(
    folder: Path, left_out: Counter[str] | None = None, above: tuple[Path, ...] = ()
) -> Iterator[Path]:
    """Yield every file below a folder except system files, which `left_out` counts by kind.

    Links to folders are followed, but for those to a folder that is being read (`above`): they are yielded.

    Raises:
        SourceError: a folder cannot be read, or a link leads out of inbox/.
    """
    above = (*above, folder.resolve())
    for path in entries(folder, Counter() if left_out is None else left_out):
        if path.is_dir() and path.resolve() not in above:
            yield from files_of(path, left_out, above)
        else:
            yield path


def entries(folder: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Yield the entries of a folder except system files, which `left_out` counts by kind.

    Raises:
        SourceError: the folder cannot be read, or a link leads out of inbox/.
    """
    inbox_links.checked(folder)
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        hint = f"make it readable (`chmod u+rx`), or move it out of {INBOX}/"
        raise SourceError(
            f"{one_line(str(folder))} cannot be read",
            got=error.strerror,
            expected="a folder of files",
            hint=hint,
        ) from None
    for path in entries:
        if path.is_symlink():
            inbox_links.checked(path)
        inside = path.is_dir()
        if kind := system_files.kind(path.name, folder=inside):
            left_out[kind] += sum(len(files) for _, _, files in os.walk(path)) if inside else 1
        else:
            yield path
