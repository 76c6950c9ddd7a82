"""Tables behind the plots, as CSV: per class, per row, per bin, per step.

The same values give the same bytes.

Inputs: predictions, labels and bootstrap of the test rows -> rows for reports/tables and reports/plots.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.evaluate import calibration, robustness, slices
from baton.evaluate.baselines import Outputs
from baton.evaluate.calibration import Calibration, reliability
from baton.evaluate.inputs import Rows
from baton.evaluate.report.image_galleries import mistakes
from baton.evaluate.results import TRANSFORMERS, Evaluation
from baton.evaluate.significance import Bootstrap

EXCERPT = 200  # characters of a text in the table of errors
PER_CLASS = ["model", "class", "support"] + [
    f"{figure}{part}" for figure in ("precision", "recall", "f1") for part in ("", "_low", "_high")
]
ERRORS = ["model", "id", "actual", "predicted", "probability"]  # plus the text, or the name of the image


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows; numbers have 6 significant digits, an undefined number is an empty cell."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)


def confusion(labels: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return counts (actual class, predicted class)."""
    return (
        np.bincount(labels * classes + predicted, minlength=classes**2)
        .reshape(classes, classes)
        .astype(np.int64)
    )


def per_class(model: str, names: Sequence[str], bootstrap: Bootstrap) -> list[list[object]]:
    """Return rows of PER_CLASS; a figure whose denominator is 0 is empty."""
    figures = bootstrap.per_class(model)
    rows: list[list[object]] = []
    for index, name in enumerate(names):
        row: list[object] = [model, name, int(figures["support"][0][index])]
        for figure in ("precision", "recall", "f1"):
            value, bounds = figures[figure]
            row += [float(value[index]), *(float(bound) for bound in bounds[:, index])]
        rows.append(row)
    return rows


def errors(model: str, names: Sequence[str], rows: Rows, outputs: Outputs) -> list[list[object]]:
    """Return rows of ERRORS and the text: every wrong answer, the most confident first.

    Confidence is at the temperature.
    """
    order, confidence = mistakes(rows, outputs)
    return [
        [
            model,
            rows.ids[row],
            names[rows.labels[row]],
            names[outputs.predicted[row]],
            float(sure),
            _excerpt(rows.texts[row]),
        ]
        for row, sure in zip(order, confidence, strict=True)
    ]


def write_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write per_class.csv of every model and errors.csv of the transformers.

    slices.csv and robustness.csv are written if there is something to show.
    """
    names, outputs, columns = evaluation.names, evaluation.outputs, [*ERRORS, evaluation.test.shown]
    write_csv(
        folder / "per_class.csv",
        PER_CLASS,
        [row for name in outputs for row in per_class(name, names, evaluation.bootstrap)],
    )
    write_csv(
        folder / "errors.csv",
        columns,
        [row for name in TRANSFORMERS for row in errors(name, names, evaluation.test, outputs[name])],
    )
    if evaluation.kept:
        rows = slices.table(evaluation.kept, evaluation.test, outputs, evaluation.bootstrap.confidence)
        write_csv(folder / "slices.csv", slices.COLUMNS, rows)
    if evaluation.robustness:
        write_csv(folder / "robustness.csv", robustness.COLUMNS, evaluation.robustness.table())


def write_plots(folder: Path, evaluation: Evaluation) -> None:
    """Write the data that `dvc plots show` draws, one file per model.

    It covers confusions (one row per test row), calibration, per-class F1 and learning curves.
    """
    names, test = evaluation.names, evaluation.test
    for model in TRANSFORMERS:
        output = evaluation.outputs[model]
        pairs = (
            [names[actual], names[chosen]]
            for actual, chosen in zip(test.labels, output.predicted, strict=True)
        )
        write_csv(folder / f"confusion_{model}.csv", ["actual", "predicted"], pairs)
        write_csv(folder / f"per_class_{model}.csv", PER_CLASS, per_class(model, names, evaluation.bootstrap))
    for model, both in calibrations(evaluation).items():
        for name, bins in (("calibration", both.scaled), ("calibration_raw", both.raw)):
            filled = np.flatnonzero(bins.count)
            rows = ([float(bins.confidence[k]), float(bins.accuracy[k]), int(bins.count[k])] for k in filled)
            write_csv(folder / f"{name}_{model}.csv", ["confidence", "accuracy", "rows"], rows)
    for model, curve in evaluation.curves.items():
        for part, columns in (("training", curve.training), ("validation", curve.validation)):
            write_csv(folder / f"{part}_{model}.csv", list(columns), zip(*columns.values(), strict=True))


def calibrations(evaluation: Evaluation) -> dict[str, Calibration]:
    """Return the calibration of the drawn models."""
    labels, bins, confidence = evaluation.test.labels, evaluation.bins, evaluation.bootstrap.confidence
    result = {}
    for name, one in evaluation.drawn.items():
        raw, scaled = ((labels, one.predicted, log_p, bins) for log_p in (one.log_p, one.scaled))
        errors = calibration.error(*raw, confidence), calibration.error(*scaled, confidence)
        result[name] = Calibration(one.temperature, reliability(*raw), reliability(*scaled), *errors)
    return result


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return ""
    return int(value) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
