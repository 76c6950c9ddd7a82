"""Read plain text: one row per file, or one row per line by a regular expression."""

import re
from itertools import islice

from baton import params
from baton.errors import DataError
from baton.tables import columns, encodings
from baton.tables.columns import Columns
from baton.tables.encodings import AUTO, Encoding
from baton.tables.rows import RawTable

TEXT = "text"  # the column of a document


def read(table: RawTable, settings: params.DocumentsFormat, wanted: Columns) -> None:
    """Add the file as one row; bytes that are not valid in its encoding are left to `invalid_utf8`.

    Raises:
        DataError: The file cannot be decoded at all, or another column than `text` is wanted.
    """
    for name in wanted.names:
        if name != TEXT:
            there = [TEXT, *wanted.given]
            raise columns.missing(table.path, name, there, wanted, "a document has only these columns")
    content = table.path.read_bytes()
    with encodings.text(table.path, _encoding(content, settings.encoding)) as file:
        table.add(*wanted.row({TEXT: file.read()}))


def _encoding(content: bytes, wanted: str) -> Encoding:
    if wanted != AUTO:
        return Encoding(wanted)
    return Encoding(
        next((name for mark, name in encodings.MARKS.items() if content.startswith(mark)), "utf-8-sig")
    )


def read_lines(table: RawTable, settings: params.LinesFormat, wanted: Columns) -> None:
    """Add each line that is not blank as a row, whose columns are the pattern's named groups.

    Raises:
        DataError: The file is not text, its encoding is uncertain, no line matches the pattern, or the
            pattern has no such group.
    """
    pattern = re.compile(settings.pattern)
    for name in wanted.names:
        if name not in pattern.groupindex:
            hint = f"add a group (?P<{name}>…) to {wanted.section}.format.pattern"
            raise columns.missing(table.path, name, list(pattern.groupindex), wanted, hint)
    encoding = encodings.find(table.path, settings.encoding, wanted.encoding_key)
    table.guessed = encoding.name if encoding.guessed else ""
    if encoding.remark:
        table.remarks.append(encoding.remark)
    before = table.readable
    with encodings.text(table.path, encoding) as file:
        for number, line in enumerate(islice(file, settings.skip_lines, None), settings.skip_lines + 1):
            if not line.strip():
                table.blank_lines += 1
            elif match := pattern.match(line.rstrip("\r\n")):
                table.add(*wanted.row({name: match[name] for name in wanted.names}))
            else:
                table.reject(f"line {number}: the pattern does not match")
    if table.count and table.readable == before:
        hint = f"compare a line of the file with {wanted.section}.format.pattern"
        raise DataError(
            f"{table.path}: no line matches the pattern", got=settings.pattern, expected="a match", hint=hint
        )
