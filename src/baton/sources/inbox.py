"""Whether DVC can take `inbox/` in. Input: the folder. Output: the number of files, or one error that names all that DVC cannot read.

DVC hashes every file there before the first stage runs. What it says of one that it cannot read names no remedy, and for a pipe it waits
without end. `make repro` and `baton retrain` ask here first, and so does `baton inbox`. Links to what is there, also outside, are fine.
"""

import errno
import os
import stat
from pathlib import Path

from baton.errors import SourceError, one_line

SHOWN = 10


def check(folder: Path = Path("inbox")) -> int:
    """Look at every entry; the number of files and links.

    Raises:
        SourceError: the folder is missing; links lead nowhere or in a circle; names are no UTF-8; something is no regular file, or may not
            be read.
    """
    if not folder.is_dir():
        got = "a link to nothing" if folder.is_symlink() else "a file" if folder.exists() else "nothing"
        hint = f"`mkdir {folder}`, also where no recipe of yours reads from it: the stage `download` depends on it"
        raise SourceError(
            f"{folder}/ is no folder",
            got=got,
            expected="a folder with your own files, or an empty one",
            hint=hint,
        )
    count, problems = 0, []
    for where, folders, files in os.walk(
        folder, onerror=lambda error: problems.append((str(error.filename), "a folder that may not be read"))
    ):
        for name in sorted([*folders, *files], key=os.fsencode):
            path = Path(where, name)
            count += name in files or path.is_symlink()
            if reason := _reason(path):
                problems.append((str(path), reason))
    if problems:
        shown = [f"\n    {one_line(path)}: {reason}" for path, reason in problems[:SHOWN]]
        more = f"\n    … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        hint = f"remove, rename or mend them; DVC hashes all of {folder}/ before the first stage"
        raise SourceError(
            f"{folder}/ holds what DVC cannot read",
            got="".join(shown) + more,
            expected="files, folders and links to them",
            hint=hint,
        )
    return count


def _reason(path: Path) -> str:
    """Why DVC cannot read an entry; empty where it can."""
    try:
        os.fsencode(path.name).decode()
    except UnicodeDecodeError:
        return "its name is no UTF-8"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads in a circle"
        return (
            f"a link to nothing ({one_line(str(path.readlink()))})"
            if path.is_symlink()
            else f"cannot be read: {error.strerror}"
        )
    if stat.S_ISDIR(mode):
        return ""  # one that may not be read is found by going into it
    if not stat.S_ISREG(mode):
        return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    return "" if os.access(path, os.R_OK) else "a file that may not be read"
