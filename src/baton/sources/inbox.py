"""Check that DVC and we can read `inbox/`.

Input: the folder. Output: the number of files, or one error that names everything that cannot be used.

DVC hashes every file there before the first stage runs. Its errors for unreadable files suggest no remedy,
and on a pipe it waits forever. `baton repro`, `baton retrain` and `baton inbox` run this check first. Links
may lead to other files and folders of the inbox, and to files of DVC's cache (`inbox_links`).
"""

import errno
import os
import stat
from pathlib import Path

from baton.errors import SourceError, one_line
from baton.sources import inbox_links

SHOWN = 10


def check(folder: Path = Path("inbox")) -> int:
    """Check every entry and return the number of files and links.

    Raises:
        SourceError: the folder is missing; a link is broken, circular or leads out of the inbox; a name is
            not valid UTF-8; an entry is not a regular file or cannot be read.
    """
    if not folder.is_dir():
        got = "a broken link" if folder.is_symlink() else "a file" if folder.exists() else "nothing"
        hint = f"`mkdir {folder}`, even if no recipe reads from it: the stage `download` depends on it"
        raise SourceError(
            f"{folder}/ is not a folder",
            got=got,
            expected="a folder with your own files, or an empty one",
            hint=hint,
        )
    inbox_links.checked(folder)
    count, problems = 0, []
    for where, folders, files in os.walk(
        folder, onerror=lambda error: problems.append((str(error.filename), "an unreadable folder"))
    ):
        for name in sorted([*folders, *files], key=os.fsencode):
            path = Path(where, name)
            count += name in files or path.is_symlink()
            if reason := _reason(path):
                problems.append((str(path), reason))
    if problems:
        shown = [f"\n    {one_line(path)}: {reason}" for path, reason in problems[:SHOWN]]
        more = f"\n    … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        hint = (
            f"remove, rename or repair them, and put files in place of links that lead out; DVC hashes all "
            f"of {folder}/ before the first stage"
        )
        raise SourceError(
            f"{folder}/ contains entries that cannot be used",
            got="".join(shown) + more,
            expected="files, folders and links to them, or to DVC's cache",
            hint=hint,
        )
    return count


def _reason(path: Path) -> str:
    """Return why an entry cannot be used; empty if it can."""
    try:
        os.fsencode(path.name).decode()
    except UnicodeDecodeError:
        return "its name is not valid UTF-8"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a circular link"
        return (
            f"a broken link ({one_line(str(path.readlink()))})"
            if path.is_symlink()
            else f"cannot be read: {error.strerror}"
        )
    where = inbox_links.leads_out(path) if path.is_symlink() else ""
    if where and stat.S_IFMT(mode) in {stat.S_IFREG, stat.S_IFDIR}:
        return f"leads out of the inbox: {where}"
    if stat.S_ISDIR(mode):
        return ""  # the walk reports an unreadable folder when it enters it
    if not stat.S_ISREG(mode):
        return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
    return "" if os.access(path, os.R_OK) else "an unreadable file"
