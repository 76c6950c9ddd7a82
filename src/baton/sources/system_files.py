"""What operating systems, network drives and programs leave in a user's folders: no samples and no classes, whoever put it there.

Hidden files and folders are among it. Names are compared without case, as those systems do it.
"""

from collections import Counter
from collections.abc import Mapping

from baton.errors import one_line

FOLDERS = {
    "__macosx",  # what macOS adds to an archive
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
FORK = "._"  # how macOS keeps a file's attributes where a drive cannot: ._picture.jpg beside picture.jpg


def kind(name: str, *, folder: bool) -> str:
    """What kind of litter an entry of a folder is, by its name; empty if it is none."""
    if name.startswith(FORK):
        return f"{FORK}*"
    known = FOLDERS if folder else FILES
    return name if name.startswith(".") or name.casefold() in known else ""


def described(left_out: Mapping[str, int]) -> str:
    """`4 ._*, 1 Thumbs.db`: counts of files, the most first; empty where there are none."""
    ordered = sorted(Counter(left_out).items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {one_line(name)}" for name, count in ordered if count)
