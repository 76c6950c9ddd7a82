"""Recognise files that operating systems, network drives and programs leave in a user's folders.

They are neither samples nor classes, and include hidden files and folders. Names are compared without case,
as those systems do.
"""

from collections import Counter
from collections.abc import Mapping

from baton.errors import one_line

FOLDERS = {
    "__macosx",  # added to archives by macOS
    "@eadir",  # Synology's thumbnails
    "@__thumb",  # QNAP's
    "@recycle",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "system volume information",
    "lost+found",
}
FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
FORK = "._"  # macOS stores attributes this way on foreign drives: ._photo.jpg next to photo.jpg


def kind(name: str, *, folder: bool) -> str:
    """Return the kind of system file that an entry is, judged by its name; empty if it is not one."""
    if name.startswith(FORK):
        return f"{FORK}*"
    known = FOLDERS if folder else FILES
    return name if name.startswith(".") or name.casefold() in known else ""


def described(left_out: Mapping[str, int]) -> str:
    """Format counts of files, highest first, as in `4 ._*, 1 Thumbs.db`; empty if there are none."""
    ordered = sorted(Counter(left_out).items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {one_line(name)}" for name, count in ordered if count)
