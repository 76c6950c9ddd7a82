"""The user's own files in `inbox/`: copy them, list them in a manifest, or report them missing."""

import shutil
from pathlib import Path

from baton import storage
from baton.errors import SourceError, one_line
from baton.sources import system_files

INBOX = Path("inbox")


def copy(source: Path, target: Path) -> None:
    """Copy the bytes of a file (or of a link's target) and create the folders above the target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def entry(folder: Path, name: str, origin: str) -> dict[str, object]:
    """Return a file's entry in a manifest."""
    path = folder / name
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
