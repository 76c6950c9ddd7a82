"""What a table row has besides text and label: group, time, weight, an image's text, columns to keep."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from baton import params
from baton.errors import DataError
from baton.tables import row_sets
from baton.tables.rows import NO_EXTRAS, Extras, RawTable, plain


@dataclass(frozen=True)
class ExtraColumns:
    """The names of the extra columns, as in params `preprocess`."""

    group: str | None = None
    time: str | None = None
    weight: str | None = None
    kept: tuple[str, ...] = ()
    text: str | None = None  # of an image in a table of paths; its value comes last in `Extras.kept`

    @property
    def names(self) -> dict[str, str]:
        """Each column -> the params key that requests it."""
        single = {"group_column": self.group, "time_column": self.time, "weight_column": self.weight}
        single |= {"text_column": self.text}
        return dict.fromkeys(self.kept, "keep_columns") | {
            name: key for key, name in single.items() if name is not None
        }

    def read(self, values: Mapping[str, Any]) -> Extras | str:
        """Return the extras of a row, or why they cannot be read."""
        if not self.names:
            return NO_EXTRAS
        group, weight = "", 1.0
        time: float | None = None
        if self.group is not None:
            if (known := plain(values[self.group])) is None:
                return f"{self.group} is a {type(values[self.group]).__name__}; text or a number is needed"
            # Invalid UTF-8 still distinguishes groups.
            group = known.strip().encode("utf-8", "backslashreplace").decode()
        if self.time is not None:
            if (moment := _moment(values[self.time])) is None:
                return f"{self.time} {_shown(values[self.time])} is no number and no date or time of ISO 8601"
            time = moment
        if self.weight is not None:
            if (number := _number(values[self.weight])) is None or number <= 0:
                return f"{self.weight} {_shown(values[self.weight])} is no number above 0"
            weight = number
        kept = tuple(str(values[name]) if (own := plain(values[name])) is None else own for name in self.kept)
        if self.text is not None:
            if (words := plain(values[self.text])) is None:
                return f"{self.text} is a {type(values[self.text]).__name__}; text or a number is needed"
            kept = (*kept, words)
        dated = self.time is not None and _number(values[self.time]) is None
        return Extras(group, time, weight, kept, dated)


NO_EXTRA_COLUMNS = ExtraColumns()


def of(settings: params.TextPreprocess) -> ExtraColumns:
    """Return the columns requested in params."""
    return ExtraColumns(
        settings.group_column, settings.time_column, settings.weight_column, settings.keep_columns
    )


def refuse_mixed_times(tables: Iterable[RawTable], column: str | None) -> None:
    """Refuse a mix of numbers and dates: as seconds since 1970, 2024 is earlier than almost any date.

    Raises:
        DataError: The column contains both.
    """
    if column is None:
        return
    first: dict[bool, str] = {}
    for table in tables:
        for row in row_sets.brief(table.rows):
            first.setdefault(row.extras.dated, f"{row.id} of {table.path}")
    if len(first) > 1:
        got, hint = (
            f"a date in {first[True]}, a number in {first[False]}",
            "write all as dates (a year as 2024-01-01), or all as numbers",
        )
        raise DataError(
            f"column {column!r} mixes dates and numbers",
            got=got,
            expected="only one of them in all files",
            hint=hint,
        )


def _number(value: Any) -> float | None:
    try:
        number = float(plain(value) or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _moment(value: Any) -> float | None:
    """Return a number unchanged, a date or time as seconds since 1970 (in UTC unless it has a time zone)."""
    if (number := _number(value)) is not None:
        return number
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()


def _shown(value: Any) -> str:
    return repr(plain(value) or value)[:60] if value is not None else "(missing)"
