"""Read a folder of files into one raw table, file by file in the order of their paths.

Each row also has the columns `file`, the file's name without suffix, and `folder`, the first folder in its
path (empty if it lies directly in the given one), such as the class of a text.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from baton import params
from baton.tables.columns import Columns
from baton.tables.rows import RawTable

FILE, FOLDER = "file", "folder"
MOST_REMARKS = 5

ReadFile = Callable[[RawTable, params.Format, Columns], None]


def read(table: RawTable, form: params.Format, wanted: Columns, read_file: ReadFile) -> None:
    """Read every file below `table.path` into `table`.

    Raises:
        DataError: as the reader of the format does, for any of the files.
    """
    root = table.path
    for path in sorted((path for path in root.rglob("*") if path.is_file()), key=os.fsencode):
        table.path, table.part = path, path.relative_to(root).as_posix()
        read_file(table, form, replace(wanted, given=_given(path, root)))
    table.path, table.part = root, ""
    if len(table.remarks) > MOST_REMARKS:
        more = len(table.remarks) - MOST_REMARKS
        table.remarks[MOST_REMARKS:] = [f"{root}: {more} more remarks like these"]


def _given(path: Path, root: Path) -> dict[str, str]:
    *folders, _ = path.relative_to(root).parts
    return {FILE: path.stem, FOLDER: folders[0] if folders else ""}
