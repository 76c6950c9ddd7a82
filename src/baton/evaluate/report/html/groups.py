"""The main figure by groups of test rows: length, what is read, near-duplicates, kept columns.

Inputs: tables/groups.csv, slices.csv and strata.csv -> `Group`s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from baton.evaluate.report.csv_files import excerpt
from baton.evaluate.report.html.csv_reading import Reports, Row, number
from baton.tasks.figure_scale import Scale

VALUES = 20  # of a group, besides those that are worse


@dataclass(frozen=True)
class Cell:
    """A model's figure on the rows with one value."""

    shown: str
    interval: str
    worse: bool  # than on all rows, even at the better end of the interval


@dataclass(frozen=True)
class Group:
    """A property of rows, with a line for each of its values."""

    title: str
    lines: Sequence[tuple[str, str, Sequence[Cell]]]  # value, its rows, cells of the models
    left_out: int  # values

    @property
    def worse(self) -> int:
        """How many values are worse for some model."""
        return sum(any(cell.worse for cell in cells) for _, _, cells in self.lines)


def read(reports: Reports, models: Sequence[str], main: Scale, overall: dict[str, float]) -> list[Group]:
    """Return the groups; `overall` is the main figure of each model on all test rows."""
    sources = (
        ("groups.csv", "group", "{}"),
        ("slices.csv", "column", "column “{}”"),
        ("strata.csv", "stratum", "{}"),
    )
    found = []
    for file, column, title in sources:
        rows = reports.table(file)
        for name in dict.fromkeys(row[column] for row in rows):
            own = [row for row in rows if row[column] == name]
            found.append(_group(title.format(name), own, models, main, overall))
    return found


def _group(
    title: str, rows: Sequence[Row], models: Sequence[str], main: Scale, overall: dict[str, float]
) -> Group:
    values = list(dict.fromkeys(row["value"] for row in rows))
    of = {(row["value"], row["model"]): row for row in rows}
    lines = [
        (
            excerpt(value),
            f"{int(of[value, models[0]]['rows']):,}",
            [_cell(of[value, model], main, overall[model]) for model in models],
        )
        for value in values
    ]
    shown = [
        line for place, line in enumerate(lines) if place < VALUES or any(cell.worse for cell in line[2])
    ]
    return Group(title, shown, len(lines) - len(shown))


def _cell(row: Row, main: Scale, overall: float) -> Cell:
    value, low, high = (number(row[f"{main.name}{end}"]) for end in ("", "_low", "_high"))
    better = max(main.gain(low), main.gain(high))
    interval = f"{main.number(low)} to {main.number(high)}" if low == low else ""  # noqa: PLR0124  not NaN
    return Cell(main.value(value), interval, better < main.gain(overall))
