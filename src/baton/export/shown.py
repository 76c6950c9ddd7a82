"""What an export is like, for the terminal: its candidates, and the chosen one beside its model."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baton import console
from baton.evaluate.report.wording import amount, percent, spelled
from baton.tasks.figure_scale import Scale

MEGABYTE = 1e6


def show(figures: Mapping[str, Any], timings: Mapping[str, Any], main: Scale, test: bool) -> None:
    """Print the candidates on validation, then the chosen one on test.

    Args:
        figures: metrics/export.json.
        timings: reports/export/timings.json.
        main: the task's main figure.
        test: whether to print it too on test, which is not to be looked at often (`baton summary --test`).
    """
    rates = timings["candidates"]
    rows = [
        [
            f"{'* ' if own['name'] == figures['chosen'] else ''}{own['name']}",
            percent(own["same"]),
            f"{own['largest_difference']:.3f}",
            main.value(own[main.name]),
            f"{own['bytes'] / MEGABYTE:.1f}",
            f"{rates[own['name']]:,.0f}" if rates.get(own["name"]) else "" if own["kept"] else "left out",
        ]
        for own in figures["candidates"]
    ]
    columns = ["validation", "same answers", "largest difference", spelled(main.name), "MB", "samples/s"]
    console.table("ways to export (* chosen: the fastest within the limits)", columns, rows)
    console.say(
        f"test: {percent(figures['same'], 2)} of answers are those of the {figures['of']}; "
        f"{figures['bytes'] / MEGABYTE:.1f} MB"
    )
    if test:
        mine, other = (_value(figures[name], main) for name in ("export", "model"))
        console.say(f"test: {spelled(main.name)} {mine} (the {figures['of']} itself {other})")
    for name, own in timings["ratios"].items():
        low, high = own["interval"]
        console.say(
            f"{own['times_as_fast']:.2f} times as fast as the {name} ({low:.2f} to {high:.2f}), "
            f"{timings['samples_per_second']['export']:,.0f} against "
            f"{timings['samples_per_second'][name]:,.0f} samples/s on {amount(timings['threads'], 'threads')}"
        )


def write_table(path: Path, candidates: Sequence[Mapping[str, Any]]) -> None:
    """Write the candidates as CSV, one a row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(candidates[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(candidates)


def _value(figures: Mapping[str, Any], main: Scale) -> str:
    interval = figures.get(f"{main.name}_interval")
    shown = main.value(figures[main.name])
    return shown if interval is None else f"{shown} [{', '.join(main.number(end) for end in interval)}]"
