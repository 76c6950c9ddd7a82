"""The table of a comparison: in the terminal, as Markdown and as CSV.

Input: a comparison -> columns and rows.
"""

from collections.abc import Sequence
from dataclasses import astuple, fields

from baton.compare import recommendation
from baton.compare.comparison import Cell, Comparison, Labels
from baton.compare.plan import counted
from baton.contracts.training_costs import Costs
from baton.evaluate.report.cards import markdown as cards_markdown
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import spelled

DASH = "–"
AT_ONCE = 4  # numbers of labels in one table, so that it fits into 100 columns
FULL = "full"  # the strategy with which others are compared, if it is there
LONG = ("name", "kind", "labels", "labels_used", "seeds")
ENDS = ("", "_low", "_high")
COSTS = [field.name for field in fields(Costs)]


def names(found: Comparison) -> list[str]:
    """Return what has rows in tables and lines in the figure, in order."""
    return [*found.candidates, *found.others, *found.baselines]


def wide(found: Comparison) -> list[Table]:
    """Return tables with a row for each strategy and a column for each number of labels, see `title`."""
    parts = [found.labels[start : start + AT_ONCE] for start in range(0, len(found.labels), AT_ONCE)]
    return [_wide(found, part) for part in parts]


def _wide(found: Comparison, part: Sequence[Labels]) -> Table:
    chosen = {own.labels: own.name for labels in part if (own := recommendation.choose(found, labels))}
    columns = ["strategy", *map(counted, part), "trained", "min", "GB"]
    rows = []
    for name in names(found):
        cells = [found.cell(name, labels) for labels in part]
        marks = ["*" if chosen.get(labels) == name else "" for labels in part]
        spent = next((cell.costs for cell in reversed(cells) if cell is not None), Costs())
        rows.append(
            [
                name,
                *(_mean(found, cell) + mark for cell, mark in zip(cells, marks, strict=True)),
                *costs(spent),
            ]
        )
    return columns, rows


def title(found: Comparison) -> str:
    """Return the title of the wide tables."""
    percent = ", %" if found.figure.share else ""
    shown = f"{spelled(found.figure.name)} on test{percent}, by {found.unit}"
    return f"{shown}; * recommended; costs at the last number of labels"


def costs(own: Costs) -> list[str]:
    """Return trained parameters, minutes and gigabytes in words."""
    return [
        DASH if own.trained_parameters is None else _count(own.trained_parameters),
        DASH if own.seconds is None else _minutes(own.seconds),
        DASH if own.peak_memory_bytes is None else f"{own.peak_memory_bytes / 1e9:.1f}",
    ]


def compared(found: Comparison, labels: Labels) -> Table:
    """Return mean, interval, and paired differences from the best baseline and from full tuning."""
    others = [name for name in (found.best(found.baselines, labels), _full(found)) if name is not None]
    figure = spelled(found.figure.name)
    columns = [
        "strategy",
        "seeds",
        figure,
        "interval",
        *(f"against {name}" for name in others),
        "trained",
        "minutes",
        "GB",
    ]
    rows = []
    for name in names(found):
        if (cell := found.cell(name, labels)) is None:
            continue
        low_high = DASH if cell.interval is None else " to ".join(map(found.figure.number, cell.interval))
        row = [name, str(len(cell.seeds)), found.figure.number(cell.figures[found.figure.name]), low_high]
        for other in others:
            own = found.difference(name, other, labels) if other != name else None
            row.append(DASH if own is None else recommendation.shown(found, own).replace(", interval", ","))
        rows.append([*row, *costs(cell.costs)])
    return columns, rows


def long(found: Comparison) -> Table:
    """Return a row for each strategy and number of labels, with everything, as numbers."""
    main = found.figure.name
    figures = sorted({key for trial in found.trials for key in trial.figures} - {main})
    differences = [f"{kind}{end}" for kind in ("gain_on_baseline", "gain_on_full") for end in ENDS]
    columns = [
        *LONG,
        *(f"{main}{end}" for end in ENDS),
        *figures,
        "baseline",
        *differences,
        *COSTS,
        "recommended",
    ]
    rows: list[Sequence[object]] = []
    for labels in found.labels:
        chosen = recommendation.choose(found, labels)
        for name in names(found):
            cell = found.cell(name, labels)
            if cell is not None:
                told = chosen is not None and chosen.name == name
                rows.append([*_long(found, cell, figures), "yes" if told else "no"])
    return columns, rows


def _long(found: Comparison, cell: Cell, figures: Sequence[str]) -> list[object]:
    own, labels, name = cell.costs, cell.labels, cell.name
    baseline = found.best(found.baselines, labels)
    row: list[object] = [name, _kind(found, name), counted(labels), cell.used, len(cell.seeds)]
    row += [cell.figures[found.figure.name], *(cell.interval or (None, None))]
    row += [cell.figures.get(figure) for figure in figures]
    row.append(baseline)
    for other in (baseline, _full(found)):
        gain = found.difference(name, other, labels) if other not in (None, name) else None
        row += [None] * 3 if gain is None else [gain.mean, gain.low, gain.high]
    return ["" if value is None else value for value in (*row, *astuple(own))]


def each(found: Comparison) -> Table:
    """Return a row for each trial: a training run, or the fit of a baseline."""
    figures = sorted({key for trial in found.trials for key in trial.figures})
    columns = ["name", "kind", "labels", "labels_used", "seed", *figures, *COSTS]
    rows: list[Sequence[object]] = []
    for trial in found.trials:
        spent = ["" if value is None else value for value in astuple(trial.costs)]
        values = [trial.figures.get(figure, "") for figure in figures]
        head = [trial.name, _kind(found, trial.name), counted(trial.labels), trial.used, trial.seed]
        rows.append([*head, *values, *spent])
    return columns, rows


def markdown(table: Table) -> str:
    """Return a table in Markdown."""
    return cards_markdown.table(*table)


def _mean(found: Comparison, cell: Cell | None) -> str:
    if cell is None:
        return DASH
    value = cell.figures[found.figure.name]
    if cell.interval is None:
        return found.figure.number(value)
    half = max(abs(end - value) for end in cell.interval)
    return f"{found.figure.number(value)} ±{found.figure.number(half)}"


def _kind(found: Comparison, name: str) -> str:
    return "baseline" if name in found.baselines else "strategy"


def _full(found: Comparison) -> str | None:
    return next((name for name in found.candidates if name.split("/")[0] == FULL), None)


def _count(parameters: int) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if parameters >= size:
            return f"{parameters / size:.1f} {unit}"
    return str(parameters)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:,.1f}" if seconds >= 6 else "<0.1"
