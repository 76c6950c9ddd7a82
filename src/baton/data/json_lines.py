"""JSON Lines -> rows; a line that cannot be read is named."""

import json

from baton.data import columns
from baton.data.columns import Columns
from baton.data.raw import RawTable


def read(table: RawTable, wanted: Columns) -> None:
    """Read all lines into `table`.

    Raises:
        DataError: no object has one of the keys.
    """
    seen: dict[str, None] = {}  # keys in order of appearance
    with table.path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not raw.strip():
                table.blank_lines += 1
                continue
            try:
                value = json.loads(raw.decode("utf-8", errors="surrogateescape"))
            except (ValueError, RecursionError) as error:
                table.reject(f"line {number}: no JSON: {error}")
                continue
            if not isinstance(value, dict):
                table.reject(f"line {number}: {type(value).__name__} instead of an object")
                continue
            seen.update(dict.fromkeys(value))
            table.add(*wanted.row({name: value.get(name) for name in wanted.names}))
    for name in wanted.names:
        if seen and name not in seen:
            raise columns.missing(table.path, name, list(seen), wanted)
