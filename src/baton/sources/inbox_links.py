"""Where links in `inbox/` may lead: within it, or to a file that DVC keeps in its cache. All else is refused.

What is in `inbox/` enters data, the remote and reports, and anybody may send a link there in a pull request:
without a limit it could name any file that this process may read. DVC itself replaces files by links to its
cache (`cache.type: symlink`); a file there has its MD5 as its name.
"""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

from baton import storage
from baton.errors import SourceError, one_line

INBOX = Path("inbox")
CACHED = re.compile(
    r"(files/md5/)?[0-9a-f]{2}/[0-9a-f]{30}"
)  # below DVC's cache; with `files/md5` since DVC 3


def checked(path: Path) -> Path:
    """Return the path if it is outside `inbox/`, or if what it stands for is where links may lead.

    Every reader of the user's files passes their paths through here.

    Raises:
        SourceError: a link leads out of `inbox/`.
    """
    if reason := leads_out(path):
        raise SourceError(
            f"{one_line(str(path))} leads out of {INBOX}/",
            got=reason,
            expected=f"a file or folder in {INBOX}/, or a link to one, or to a file of DVC's cache",
            hint="put the files themselves there; `dvc add` keeps large ones, and `dvc config cache.type "
            "symlink` spares a second copy",
        )
    return path


def leads_out(path: Path) -> str:
    """Return where a path of `inbox/` leads if that is not allowed; empty if it is, or for other paths."""
    if Path(os.path.normpath(path)).parts[:1] != INBOX.parts:
        return ""
    root = os.path.realpath(INBOX)
    if INBOX.is_symlink() and not _of_this_project(Path(root)):
        return f"{INBOX} is a link to {one_line(root)}"
    try:
        found = os.path.realpath(path)
    except ValueError:  # a zero byte: no file has such a name
        return ""
    if found == root or found.startswith(f"{root}{os.sep}") or _cached(found):
        return ""
    return f"a link to {one_line(found)}"


def _of_this_project(root: Path) -> bool:
    """Return whether a folder is the inbox of the project in whose state we work (`baton estimate` does)."""
    return root.name == INBOX.name and root.parent / ".baton" in Path.cwd().resolve().parents


def _cached(path: str) -> bool:
    cache = _cache(storage.project()) if CACHED.search(path) else ""  # asking DVC takes a second
    return bool(cache) and CACHED.fullmatch(os.path.relpath(path, cache)) is not None


@functools.cache
def _cache(project: Path) -> str:
    """Ask DVC for its cache's folder; empty without DVC."""
    command = [sys.executable, "-m", "dvc", "cache", "dir"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return os.path.realpath(project / done.stdout.strip()) if done.returncode == 0 else ""
