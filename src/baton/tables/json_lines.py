"""Read JSON Lines into rows; report unreadable lines, and refuse a file that is one JSON document."""

import json
from pathlib import Path
from typing import Any

from baton import params
from baton.errors import DataError
from baton.tables import columns, encodings
from baton.tables.columns import Columns
from baton.tables.rows import NO_KEY, RawTable

EXPECTED = "JSON Lines: one object per line"
SEVERAL = "several JSON values in one line"


def read(table: RawTable, settings: params.JsonLinesFormat, wanted: Columns) -> None:
    """Read all lines into `table`.

    Raises:
        DataError: The file is not text, its encoding is uncertain, it is one JSON document, every line has
            several objects, or one of the keys is missing from all objects.
    """
    encoding = encodings.find(table.path, settings.encoding, wanted.encoding_key)
    table.guessed = encoding.name if encoding.guessed else ""
    if encoding.remark:
        table.remarks.append(encoding.remark)
    seen: dict[str, None] = {}  # keys in order of appearance
    first = True
    with encodings.text(table.path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                table.blank_lines += 1
                continue
            if first:
                _refuse_document(table.path, line, wanted)
                first = False
            value = _value(line)
            if isinstance(value, dict):
                seen.update(dict.fromkeys(value))
                _add(table, number, value, wanted)
            else:
                table.reject(f"line {number}: {value}")
    _refuse_others(table, seen, wanted)


def keys(path: Path, settings: params.JsonLinesFormat, wanted: Columns) -> list[str]:
    """Return the keys of all objects in order of appearance.

    Raises:
        DataError: The file is not text, its encoding is uncertain, or it is one JSON document.
    """
    seen: dict[str, None] = {}
    with encodings.text(path, encodings.find(path, settings.encoding, wanted.encoding_key)) as file:
        for line in filter(str.strip, file):
            if not seen:
                _refuse_document(path, line, wanted)
            value = _value(line)
            seen.update(dict.fromkeys(value) if isinstance(value, dict) else {})
    return list(seen)


def _add(table: RawTable, number: int, value: dict[str, Any], wanted: Columns) -> None:
    """Add a record: without a text it is malformed; without a label it is a row that lacks its label."""
    if any(name in value or name in wanted.given for name in wanted.texts):
        table.add(
            *wanted.row(
                {name: value.get(name) for name in wanted.names}
                | {name: value.get(name, NO_KEY) for name in wanted.labels}
            )
        )
    else:
        table.reject(f"line {number}: no key {' or '.join(map(repr, wanted.texts))}", wanted.target(value))


def _value(line: str) -> dict[str, Any] | str:
    """Return the object of a line, or the fault."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return SEVERAL if _several(line) else f"no JSON: {error}"
    return value if isinstance(value, dict) else f"{type(value).__name__} instead of an object"


def _several(line: str) -> bool:
    """Return whether the line begins with two values, one after the other."""
    decoder = json.JSONDecoder()
    try:
        _, end = decoder.raw_decode(line.lstrip())
        _, _ = decoder.raw_decode(line.lstrip()[end:].lstrip(" \t,"))
    except (ValueError, RecursionError):
        return False
    return True


# ---- files that are not JSON Lines -------------------------------------------------------------------------


def _refuse_document(path: Path, line: str, wanted: Columns) -> None:
    """Refuse a file that begins like a list, or holds its rows as a list in one object."""
    if line.lstrip().startswith("["):
        raise _document(path, "one JSON document, a list", "jq -c '.[]'")
    value = _value(line)
    if isinstance(value, dict) and not set(wanted.names) & set(value):
        for name, inner in value.items():
            if (
                isinstance(inner, list)
                and inner
                and isinstance(inner[0], dict)
                and set(wanted.names) & set(inner[0])
            ):
                raise _document(
                    path,
                    f"one JSON document with its rows in a list under {name!r}",
                    f"jq -c '.[{json.dumps(name)}][]'",
                )


def _refuse_others(table: RawTable, seen: dict[str, None], wanted: Columns) -> None:
    reasons = [reason.partition(": ")[2] for reason in table.malformed.values()]
    if not table.readable and reasons and set(reasons) == {SEVERAL}:
        raise _document(table.path, "JSON with several objects per line", "jq -c .")
    if not seen and len(reasons) > 1 and not table.readable:
        raise _document(
            table.path,
            "not JSON Lines: no line is an object; it may be one JSON document spread over several lines",
            "jq -c '.[]'",
            reasons[0],
        )
    for name in wanted.names:
        if seen and name not in seen:
            raise columns.missing(table.path, name, list(seen), wanted)


def _document(path: Path, what: str, command: str, got: str = "") -> DataError:
    hint = f"convert it, for example with `{command} FILE > NEW.jsonl`"
    return DataError(f"{path} is {what}", got=got or "not one object per line", expected=EXPECTED, hint=hint)
