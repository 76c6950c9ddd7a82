"""Whether cells of a label column are numbers, or numbers that are names: part of `task_kind`."""

import math
import re
from collections import Counter

from baton.errors import DataError
from baton.tables import labels
from baton.tables.task_readings import CLASSES, CODES, MEASURED, NUMBERS, Inferred, Reading, several, some

FEW = 20  # distinct numbers that may still be classes, if they repeat
MARKS = labels.NULLS | {"-", "--", "–", "—", "?", "."}  # that stand for a missing number
COMMA = re.compile(r"[+-]?\d{1,3}(\.?\d{3})*,\d+|[+-]?\d+,\d+|[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


def of_numbers(texts: list[str], column: str, where: str) -> Inferred | None:
    """Return numbers or, for few that repeat, classes; None if the cells are no numbers.

    Raises:
        DataError: they may be either; or they have a decimal comma, which may also separate labels.
    """
    known = [text for text in texts if text.lower() not in MARKS]
    found = [text for text in known if _number(text) is not None]
    commas = [text for text in known if COMMA.fullmatch(text)]
    if commas and len(found) + len(commas) == len(known):
        raise _with_commas(commas, texts, column, where)
    if 2 * len(found) <= len(known) or not known:
        return None
    distinct = {_number(text) for text in found}
    seen = _seen(texts, found, len(distinct))
    if len(found) < len(known):
        if len(distinct) <= FEW:
            return None  # names such as 1, 2 and other
        raise several(column, seen, [_lost(MEASURED), CODES], where)
    if labels.continuous(found):
        return Inferred(NUMBERS, f"{column!r} has {seen}", str(CODES))
    whole = all(value is not None and value.is_integer() for value in distinct)
    if whole and len(distinct) <= FEW and 2 * len(distinct) <= len(found):
        return Inferred(CLASSES, f"{column!r} has only {seen}", str(MEASURED))
    readings: list[Reading | str] = [MEASURED, CODES]
    if len(distinct) == len(found):
        readings.append("another `preprocess.label_column` if they only number the rows")
    raise several(column, seen, readings, where)


def _seen(texts: list[str], found: list[str], distinct: int) -> str:
    """Return what the cells hold: numbers, and anything in place of one."""
    decimals = any(not value.is_integer() for value in map(_number, found) if value is not None)
    others = Counter(text for text in texts if _number(text) is None)
    rest = (
        f"; {others.total():,} other{'s' * (others.total() > 1)}, such as {others.most_common(1)[0][0]!r}"
        if others
        else ""
    )
    kind = "decimal" if decimals else "whole"
    return f"{distinct:,} different {kind} numbers in {len(found):,} rows ({some(found)}){rest}"


def _lost(reading: Reading) -> Reading:
    return reading._replace(condition=f"{reading.condition}; rows without a number count as malformed")


def _with_commas(commas: list[str], texts: list[str], column: str, where: str) -> DataError:
    seen = f"{len(commas):,} of {len(texts):,} cells are numbers with a comma ({some(commas)})"
    numbers = MEASURED._replace(condition="if they are numbers, and write these with a decimal point")
    apart = Reading({"kind": "labels", "separator": ","}, "if the comma stands between two labels")
    return several(column, seen, [numbers, apart, CODES], where)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
