"""The tables of classifiers: per class, per wrong row, per confusion, per bin of confidence.

Inputs: predictions, labels and bootstrap of the test rows -> rows for reports/tables and reports/plots.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.evaluate import calibration
from baton.evaluate.baselines import Outputs
from baton.evaluate.calibration import Calibration, reliability
from baton.evaluate.evaluation import TRANSFORMERS, Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.report.csv_files import Table, excerpt
from baton.evaluate.report.image_galleries import mistakes
from baton.evaluate.significance import Bootstrap

PER_CLASS = ["model", "class", "support"] + [
    f"{figure}{part}" for figure in ("precision", "recall", "f1") for part in ("", "_low", "_high")
]
CONFUSION = ["model", "actual", "predicted", "rows"]
ERRORS = ["model", "id", "actual", "predicted", "probability"]  # plus the text, or the name of the image


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
            names[rows.targets[row]],
            names[outputs.predicted[row]],
            float(sure),
            excerpt(rows.texts[row]),
        ]
        for row, sure in zip(order, confidence, strict=True)
    ]


def confused(
    model: str, names: Sequence[str], labels: NDArray[Any], predicted: NDArray[Any]
) -> list[list[object]]:
    """Return rows of CONFUSION: the mistakes, the most frequent pair of classes first, then what is right."""
    pairs, counts = np.unique(np.stack([labels, predicted]), axis=1, return_counts=True)
    right = pairs[0] == pairs[1]
    return [
        [model, names[pairs[0, place]], names[pairs[1, place]], int(counts[place])]
        for place in np.lexsort((pairs[1], pairs[0], -counts, right))
    ]


def tables(evaluation: Evaluation) -> dict[str, Table]:
    """Return per_class.csv of every model, and confusion.csv and errors.csv of the drawn ones."""
    names, outputs, test = evaluation.names, evaluation.outputs, evaluation.test
    return {
        "per_class.csv": (
            PER_CLASS,
            [row for name in outputs for row in per_class(name, names, evaluation.bootstrap)],
        ),
        "confusion.csv": (
            CONFUSION,
            [
                row
                for name, own in evaluation.drawn.items()
                for row in confused(name, names, test.targets, own.predicted)
            ],
        ),
        "errors.csv": (
            [*ERRORS, test.shown],
            [row for name in evaluation.drawn for row in errors(name, names, test, outputs[name])],
        ),
    }


def plots(evaluation: Evaluation) -> dict[str, Table]:
    """Return confusions (one row per test row), per-class F1 and calibration, one file per model."""
    names, test = evaluation.names, evaluation.test
    result: dict[str, Table] = {}
    for model in TRANSFORMERS:
        output = evaluation.outputs[model]
        pairs = (
            [names[actual], names[chosen]]
            for actual, chosen in zip(test.targets, output.predicted, strict=True)
        )
        result[f"confusion_{model}.csv"] = ["actual", "predicted"], pairs
        result[f"per_class_{model}.csv"] = PER_CLASS, per_class(model, names, evaluation.bootstrap)
    for model, both in calibrations(evaluation).items():
        for name, bins in (("calibration", both.scaled), ("calibration_raw", both.raw)):
            filled = np.flatnonzero(bins.count)
            rows = [[float(bins.confidence[k]), float(bins.accuracy[k]), int(bins.count[k])] for k in filled]
            result[f"{name}_{model}.csv"] = ["confidence", "accuracy", "rows"], rows
    return result


def calibrations(evaluation: Evaluation) -> dict[str, Calibration]:
    """Return the calibration of the drawn models."""
    labels, bins, confidence = evaluation.test.targets, evaluation.bins, evaluation.bootstrap.confidence
    result = {}
    for name, one in evaluation.drawn.items():
        raw, scaled = ((labels, one.predicted, log_p, bins) for log_p in (one.log_p, one.scaled))
        errors = calibration.error(*raw, confidence), calibration.error(*scaled, confidence)
        result[name] = Calibration(one.temperature, reliability(*raw), reliability(*scaled), *errors)
    return result
