"""The body of a request -> a parsed one, or the refusal with its reason; without the network.

MLflow's scoring server reads a body of any size, and builds a table of it before a model sees it. Here the
size is limited before it is read, and the JSON before it is parsed: a list or object takes up to a hundred
times its two characters in memory.
"""

import json
from dataclasses import dataclass
from typing import Any

SHOWN = 2000  # characters of a reason
MOST_CONTAINERS = 50_000  # lists and objects in a JSON body
MOST_VALUES = 500_000  # values, by their commas; those within texts count, too
FORMATS = ("inputs", "instances", "dataframe_split", "dataframe_records")
LISTED = "inputs"  # under which rows of several requests are computed together
JSON = "application/json"
UNEXPECTED = "Encountered an unexpected error"  # how MLflow begins about an exception of the model


@dataclass(eq=False)  # Python writes the traceback into it
class Refused(Exception):  # noqa: N818  an answer, not a fault of the server
    """A request that is not answered."""

    status: int
    reason: str


def parse(body: bytes, content_type: str, columns: int) -> dict[str, Any]:
    """Return the JSON object of a request to a model whose signature has this many columns.

    Raises:
        Refused: it is no such object, or one that takes too much memory.
    """
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != JSON or rest.strip().lower().replace('"', "") not in {"", "charset=utf-8"}:
        raise Refused(415, f"the content type is {content_type[:SHOWN]!r}; expected: {JSON}, in UTF-8")
    if body.count(b"[") + body.count(b"{") > MOST_CONTAINERS or body.count(b",") > MOST_VALUES:
        raise Refused(400, f"the body has too many values; expected: at most {MOST_CONTAINERS:,} rows")
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not valid JSON: {_told(error)}") from None
    if not isinstance(found, dict) or len(given := {*FORMATS} & {*found}) != 1:
        raise Refused(400, f"expected: a JSON object with one of {', '.join(FORMATS)}; got: {_keys(found)}")
    if more := {*found} - given - {"params"}:
        raise Refused(400, f"the body has unknown keys: {_keys(dict.fromkeys(more))}")
    key = given.pop()
    _check_shape(found[key], found.get("params", {}), columns)
    # MLflow reads `instances` as it does `inputs`, if they are values.
    if (
        key == "instances"
        and isinstance(found[key], list)
        and not any(isinstance(row, dict) for row in found[key])
    ):
        found[LISTED] = found.pop(key)
    return found


def rows(parsed: dict[str, Any]) -> list[Any] | None:
    """Return the rows of a parsed request if they can be computed together with those of others, else None.

    They are a list of values, or of lists of both texts of pairs.
    """
    found = parsed.get(LISTED)
    if not isinstance(found, list) or any(isinstance(row, dict) for row in found):
        return None
    return found


def reason(error: BaseException) -> str | None:
    """Return why a model or MLflow refused a request, from MLflow's error; None if the model has failed."""
    text, inner = str(error), error.__cause__ or error.__context__
    if text.startswith(UNEXPECTED):
        return _told(inner) if isinstance(inner, ValueError | TypeError) else None
    return text.rpartition("Error: ")[2][:SHOWN]  # MLflow repeats the whole input before what was wrong


def _check_shape(data: Any, params: Any, columns: int) -> None:
    """Refuse what MLflow would make other rows of: none, or those of the first column alone."""
    if not isinstance(params, dict):
        raise Refused(400, f"params is not an object; got: {_shown(params)}")
    if data is None or (isinstance(data, list | dict | str) and not data):
        raise Refused(400, f"the request has no rows; got: {_shown(data)}")
    for place, row in enumerate(data if isinstance(data, list) else []):
        if isinstance(row, list) and len(row) != columns:
            raise Refused(400, f"row {place} has {len(row)} values; expected: {columns}")


def _keys(found: Any) -> str:
    shown = ", ".join(map(_shown, sorted(found)[:10])) if isinstance(found, dict) else type(found).__name__
    return shown or "no key"


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _shown(value: Any) -> str:
    return repr(value)[:60]


def _told(error: BaseException) -> str:
    return (str(error) or type(error).__name__)[:SHOWN]
