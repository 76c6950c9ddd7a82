"""Write and show learning curves: curve.csv, curve.json and curve.png.

Input: measured curves with their law -> files in a folder, and table and sentences in the terminal.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape

from baton import console, storage
from baton.evaluate.report import csv_files
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import percent, spelled
from baton.labelling import words
from baton.labelling.resampling import Estimate
from baton.labelling.words import Measured


def write(folder: Path, curves: Sequence[Measured], confidence: float) -> None:
    """Write the files."""
    with storage.atomic_file(folder / "curve.csv") as temporary:
        csv_files.write_csv(temporary, *table(curves))
    storage.write_json(
        folder / "curve.json",
        {"confidence": confidence, "curves": {own.name: described(own) for own in curves}},
    )
    draw(folder / "curve.png", curves)


def show(curves: Sequence[Measured], confidence: float) -> None:
    """Print a table of each curve, and what it says."""
    for own in curves:
        title = f"{spelled(own.figure.name)} of {own.said}, by labels of train (on rows of {own.split})"
        rows = [
            [f"{labels:,}", words.value(own, error), own.figure.value(1 - fitted)]
            for labels, error, fitted in zip(
                own.found.labels, own.found.measured, own.found.fitted, strict=True
            )
        ]
        console.table(title, ["labels", "measured", "law"], rows)
        for sentence in words.sentences(own):
            console.say(f"• {escape(sentence)}")
    console.say(
        f"[dim]Intervals are at {percent(confidence, 0)}: a bootstrap over the rows and the draws of labels. "
        "The law is error = a + b * labels^-c.[/]"
    )


def table(curves: Sequence[Measured]) -> Table:
    """Return a row for each point, as measured and by the law."""
    columns = ["curve", "split", "labels", "draws", "figure", "measured", "low", "high", "law"]
    rows: list[Sequence[object]] = [
        [
            own.name,
            own.split,
            labels,
            own.draws,
            own.figure.name,
            *_ends(error),
            1 - fitted,
        ]
        for own in curves
        for labels, error, fitted in zip(own.found.labels, own.found.measured, own.found.fitted, strict=True)
    ]
    return columns, rows


def described(own: Measured) -> dict[str, Any]:
    """Return a curve for curve.json. Without a forecast `gains` is empty, and `verdict` says why."""
    found = own.found
    tested = found.back_test
    forecast = [gain for gain in found.gains if found.verdict == "grows"]
    return {
        "trained": own.said,
        "split": own.split,
        "rows": own.rows,
        "draws": own.draws,
        "figure": own.figure.name,
        "labels": found.pool,
        "measured_to": found.labels[-1],
        "measured": dict(zip(("value", "low", "high"), _ends(found.measured[-1]), strict=True)),
        "law": {key: float(value) for key, value in asdict(found.law).items()},
        "back_test": {
            "fitted_to": tested.fitted_to,
            "predicted": dict(zip(("value", "low", "high"), _ends(tested.predicted), strict=True)),
            "measured": 1 - tested.measured,
            "held": tested.held,
        },
        "verdict": found.verdict,
        "recent_gain": asdict(found.recent),
        "gains": [
            {"more": gain.more, "gain": None if gain.fall is None else asdict(gain.fall)} for gain in forecast
        ],
        "sentences": words.sentences(own),
    }


def draw(path: Path, curves: Sequence[Measured]) -> None:
    """Draw all curves; the law goes beyond the labels at hand only if there is a forecast."""
    from baton.evaluate.report import learning_curve_plots as plots  # matplotlib

    drawn = [
        plots.Course(
            f"{spelled(own.figure.name)} of {own.said}, on rows of {own.split}",
            tuple(
                (float(labels), *_ends(error))
                for labels, error in zip(own.found.labels, own.found.measured, strict=True)
            ),
            tuple(
                (labels, *_ends(error))
                for labels, error in own.found.course
                if own.found.verdict == "grows" or labels <= own.found.labels[-1]
            ),
        )
        for own in curves
    ]
    with storage.atomic_file(path) as temporary:
        plots.draw(temporary, drawn, curves[0].figure)


def _ends(error: Estimate) -> tuple[float, float, float]:
    """Return the figure of an error: value, low and high."""
    return 1 - error.value, 1 - error.high, 1 - error.low
