"""Recognize files that are not text tables by their first bytes, whatever their names, and say what to do."""

import re
from pathlib import Path

from baton.errors import DataError

SPREADSHEET = "open it in the program that made it and save the sheet as CSV (UTF-8)"
UNPACK = "unpack it and replace it with the table"
PARQUET = b"PAR1"
# First bytes -> (kind of file, what to do).
KINDS: dict[bytes, tuple[str, str]] = {
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Office file, such as an Excel .xls", SPREADSHEET),
    b"\x1f\x8b": ("gzip", f"{UNPACK} (`gunzip FILE`)"),  # of Parquet; gzipped text is read directly
    b"BZh": ("bzip2", f"{UNPACK} (`bunzip2 FILE`)"),
    b"\xfd7zXZ\0": ("xz", f"{UNPACK} (`unxz FILE`)"),
    b"\x28\xb5\x2f\xfd": ("zstandard", f"{UNPACK} (`unzstd FILE`)"),
    b"\x04\x22\x4d\x18": ("lz4", f"{UNPACK} (`unlz4 FILE`)"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", UNPACK),
    b"Rar!": ("a RAR archive", UNPACK),
    PARQUET: ("Parquet", "set the format's kind: parquet"),
    b"ARROW1": ("an Arrow (Feather) file", "write it as Parquet or CSV"),
    b"SQLite format 3": ("an SQLite database", 'export the table (`sqlite3 -csv -header FILE "select …"`)'),
    b"%PDF": ("a PDF", "export its table as CSV"),
    b"{\\rtf": ("a rich text document", "save it as plain text"),
    b"\x80\x04\x95": ("a Python pickle, which is not opened", "write its table as CSV or Parquet"),
    b"\x89HDF": ("HDF5", "write its table as CSV or Parquet"),
    b"version https://git-lfs.github.com/spec": (
        "a Git LFS pointer, not the file itself",
        "run `git lfs pull`, or download the file",
    ),
}
ZIPS = {
    b"xl/": ("a zip that holds an Excel workbook (.xlsx)", SPREADSHEET),
    b"mimetypeapplication/vnd.oasis.opendocument": (
        "a zip that holds an OpenDocument file (.ods)",
        SPREADSHEET,
    ),
    b"word/": ("a zip that holds a Word document (.docx)", "save its table as CSV"),
}
HTML = re.compile(rb"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE)


def what(path: Path, head: bytes) -> tuple[str, str] | None:
    """Return what kind of file begins with `head`, and what to do with it; None if it may be text."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(path)
    for start, kind in KINDS.items():
        if head.startswith(start):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive", UNPACK
    if HTML.match(head.removeprefix(b"\xef\xbb\xbf")):
        return (
            "a web page or XML",
            "download the table itself: sites often return such a page instead",
        )
    return None


def refuse(path: Path, head: bytes) -> None:
    """Refuse a file that is not text.

    Raises:
        DataError: The file is not text; the message says what it is and what to do.
    """
    if found := what(path, head):
        kind, hint = found
        raise DataError(f"{path} is {kind}, not text", got=start(head), expected="a table as text", hint=hint)


def start(head: bytes) -> str:
    """Return a description of the first bytes for a message."""
    return f"a file that begins with {head[:8]!r}"


def _zip(path: Path) -> tuple[str, str]:
    """Return what a zip holds, judged by its member names, which are stored uncompressed."""
    with path.open("rb") as file:
        content = file.read(2**20)
    for sign, kind in ZIPS.items():
        if sign in content:
            return kind
    return "a zip archive", UNPACK
