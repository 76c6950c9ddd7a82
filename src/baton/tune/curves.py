"""The validation curve of a trial: from the file that its stage writes meanwhile, or from its table.

A curve is one dict per validation: `step`, the figures of that validation (`val_accuracy`), and the loss of
the steps before it.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from baton.tracking import points

Curve = list[dict[str, float]]
STEP, LOSS, VALIDATION = "step", "loss", "val_"


def running(path: Path, model: str) -> Curve:
    """Return the curve so far, from the file of `tracking.points`."""
    start = f"{model}/"
    rows = [
        {
            key.removeprefix(start): value
            for key, value in own.items()
            if key == STEP or key.startswith((f"{start}{VALIDATION}", f"{start}{LOSS}"))
        }
        for own in points.read(path)
    ]
    return _curve(rows)


def written(path: Path, model: str) -> Curve:
    """Return the whole curve, from the CSV that the stage writes at its end."""
    with path.open(encoding="utf-8", newline="") as file:
        read = [row for row in csv.DictReader(file) if row["model"] == model]
    kept = (STEP, LOSS, VALIDATION)
    return _curve(
        [{key: float(cell) for key, cell in row.items() if key.startswith(kept) and cell} for row in read]
    )


def figures(curve: Sequence[Mapping[str, float]], metric: str) -> list[float]:
    """Return one figure of each validation."""
    return [own[f"{VALIDATION}{metric}"] for own in curve]


def _curve(rows: Sequence[Mapping[str, float]]) -> Curve:
    """Return the rows with validation figures, each with the loss that was last recorded."""
    found, loss = Curve(), {}
    for row in rows:
        if LOSS in row:
            loss = {LOSS: row[LOSS]}
        scores = {key: value for key, value in row.items() if key.startswith(VALIDATION)}
        if scores:
            found.append({STEP: int(row[STEP]), **loss, **scores})
    return found
