"""Write and show a comparison: comparison.md, comparison.csv, trials.csv and comparison.png.

Input: a comparison -> files in a folder, and the table in the terminal.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.markup import escape

from baton import console, storage
from baton.compare import recommendation, tables
from baton.compare.comparison import Cell, Comparison, Labels
from baton.evaluate.report import csv_files
from baton.evaluate.report.cards.markdown import escaped, paragraph
from baton.evaluate.report.wording import percent, spelled

PROBE = "probe"  # the strategy that is compared with full tuning, if both are there
STUDENT, CONTROL = "/student", "/control"  # ends of their names


def write(folder: Path, found: Comparison, notes: Sequence[str]) -> None:
    """Write the files; `notes` are added to the end of the Markdown."""
    for name, table in (("comparison.csv", tables.long(found)), ("trials.csv", tables.each(found))):
        with storage.atomic_file(folder / name) as temporary:
            csv_files.write_csv(temporary, *table)
    draw(folder / "comparison.png", found)
    with storage.atomic_file(folder / "comparison.md") as temporary:
        temporary.write_text(_markdown(found, notes), encoding="utf-8")


def show(found: Comparison) -> None:
    """Print the table and the recommendation."""
    for number, (columns, rows) in enumerate(tables.wide(found)):
        console.table(tables.title(found) if number == 0 else "", columns, [list(row) for row in rows])
    for sentence in sentences(found):
        console.say(f"• {escape(sentence)}")
    console.say(f"[dim]{escape(remark(found))}[/]")


def sentences(found: Comparison) -> list[str]:
    """Return the recommendation, where full tuning overtakes the probe, and students and controls."""
    crossing = recommendation.overtaking(found, tables.FULL, PROBE)
    taught = [recommendation.against(found, *pair) for pair in _pairs(found)]
    return [*recommendation.sentences(found), *filter(None, (crossing[:1].upper() + crossing[1:], *taught))]


def remark(found: Comparison) -> str:
    """Return how the numbers came about."""
    count = max((len(own.seeds) for own in _cells(found)), default=0)
    over = (
        f"Student's t over {count} seeds, each with its own draw of labels and validation, paired by seed"
        if count > 1
        else "those of the test rows, since there is one seed"
    )
    return (
        f"Intervals are at {percent(found.confidence, 0)}: {over}. Differences are positive if the first is "
        "better. What is recommended was chosen on these test rows, so its figure is slightly optimistic."
    )


def draw(path: Path, found: Comparison) -> None:
    """Draw the main figure against the number of labels."""
    from baton.evaluate.report import strategy_plots  # matplotlib

    places = {labels: _place(found, labels) for labels in found.labels}
    lines = []
    for name in tables.names(found):
        cells = [own for labels in found.labels if (own := found.cell(name, labels)) is not None]
        if cells:
            lines.append(
                strategy_plots.Line(
                    name,
                    tuple(places[own.labels] for own in cells),
                    tuple(own.figures[found.figure.name] for own in cells),
                    tuple(own.interval for own in cells),
                    name in found.baselines,
                )
            )
    ticks = [(place, "all" if labels is None else str(labels)) for labels, place in places.items()]
    with storage.atomic_file(path) as temporary:
        strategy_plots.draw(temporary, lines, ticks, found.figure, found.unit)


def _place(found: Comparison, labels: Labels) -> float:
    """Return where a number of labels lies on the axis: itself, or what all labels are on average."""
    used = [own.used for name in tables.names(found) if (own := found.cell(name, None))]
    return float(labels) if labels is not None else max([*used, *(own or 1 for own in found.labels)])


def _markdown(found: Comparison, notes: Sequence[str]) -> str:
    parts = [
        "# Comparison of strategies",
        f"## {escaped(spelled(found.figure.name))} on test",
        escaped(tables.title(found)) + ".",
    ]
    parts += [tables.markdown(table) for table in tables.wide(found)]
    parts += ["![](comparison.png)", "## Recommendation", _list(sentences(found))]
    for labels in found.labels:
        place = recommendation.at(found, labels)
        heading = escaped(place[:1].upper() + place[1:])
        parts += [f"## {heading}", tables.markdown(tables.compared(found, labels))]
    parts += ["## Notes", _list((remark(found), *notes))]
    return "\n\n".join(parts) + "\n"


def _list(texts: Iterable[str]) -> str:
    return "\n".join(f"- {paragraph(text)}" for text in texts)


def _pairs(found: Comparison) -> list[tuple[str, str]]:
    """Return students with their controls."""
    names = [name.removesuffix(STUDENT) for name in found.candidates if name.endswith(STUDENT)]
    return [(f"{name}{STUDENT}", f"{name}{CONTROL}") for name in names]


def _cells(found: Comparison) -> list[Cell]:
    return [
        own for name in tables.names(found) for labels in found.labels if (own := found.cell(name, labels))
    ]
