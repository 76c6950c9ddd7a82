"""Tables, plots and terminal cells for numbers.

Inputs: targets, outputs and bootstrap of the test rows, or figures from metrics.json -> rows and cells.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baton.evaluate import number_outputs
from baton.evaluate.evaluation import TRANSFORMERS, Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.number_outputs import NumberOutputs
from baton.evaluate.number_significance import NumberBootstrap
from baton.evaluate.proportions import wilson
from baton.evaluate.report.csv_files import Table, excerpt

FIGURES = ("mae", "rmse", "r2", "spearman", "pearson")
PER_NUMBER = [
    "model",
    "number",
    *(f"{figure}{end}" for figure in (*FIGURES, "coverage") for end in ("", "_low", "_high")),
    "interval_width",
]
ERRORS = ["model", "id", "number", "actual", "predicted", "low", "high", "error"]  # plus text or name
WORST = 200  # rows per model in errors.csv
PREDICTED = ["number", "actual", "predicted"]
COLUMNS = ["MAE", "interval", "RMSE", "R²", "Spearman", "coverage", "width", "C"]
REMARK = (
    "MAE is the mean absolute error, RMSE the root of the mean squared error, both in the number's unit; R² "
    "is the share of variance that is explained, Spearman the correlation of ranks; with several numbers, "
    "means over them. Coverage is the share of test numbers in their prediction interval, and width the mean "
    "width of that (split conformal, fitted on validation, for every model). C, the inverse of a ridge's "
    "penalty, was chosen on validation."
)


def per_number(
    model: str,
    names: Sequence[str],
    rows: Rows,
    outputs: NumberOutputs,
    boot: NumberBootstrap,
) -> list[list[object]]:
    """Return rows of PER_NUMBER."""
    figures, inside = boot.figures(model), number_outputs.covered(rows.targets, outputs)
    low, high = outputs.bounds
    found: list[list[object]] = []
    for place, name in enumerate(names):
        keys = [figure if len(names) == 1 else f"{figure}/{name}" for figure in FIGURES]
        own = [cell for key in keys for cell in (figures[key], *_ends(figures[f"{key}_interval"]))]
        share = float(inside[:, place].mean())
        ends = wilson(float(inside[:, place].sum()), len(inside), boot.confidence)
        width = float((high - low)[:, place].mean())
        found.append([model, name, *own, share, *map(float, ends), width])
    return found


def errors(model: str, names: Sequence[str], rows: Rows, outputs: NumberOutputs) -> list[list[object]]:
    """Return rows of ERRORS and the text: the `WORST` predictions, the largest error first.

    Errors of several numbers are compared in deviations of their targets.
    """
    off = np.abs(outputs.values - rows.targets)
    spread = rows.targets.std(axis=0)
    order = np.argsort(-(off / np.where(spread > 0, spread, 1.0)), axis=None, kind="stable")[:WORST]
    low, high = outputs.bounds
    return [
        [
            model,
            rows.ids[row],
            names[place],
            *(float(part[row, place]) for part in (rows.targets, outputs.values, low, high, off)),
            excerpt(rows.texts[row]),
        ]
        for row, place in zip(*(part.tolist() for part in np.unravel_index(order, off.shape)), strict=True)
    ]


def tables(evaluation: Evaluation) -> dict[str, Table]:
    """Return per_number.csv of every model and errors.csv of the drawn models."""
    names, outputs, test, boot = (
        evaluation.names,
        evaluation.outputs,
        evaluation.test,
        evaluation.bootstrap,
    )
    return {
        "per_number.csv": (
            PER_NUMBER,
            [row for name, own in outputs.items() for row in per_number(name, names, test, own, boot)],
        ),
        "errors.csv": (
            [*ERRORS, test.shown],
            [row for name in evaluation.drawn for row in errors(name, names, test, outputs[name])],
        ),
    }


def plots(evaluation: Evaluation) -> dict[str, Table]:
    """Return actual and predicted numbers, one file per transformer."""
    targets = evaluation.test.targets
    return {
        f"predicted_{model}.csv": (
            PREDICTED,
            [
                [name, float(targets[row, place]), float(evaluation.outputs[model].values[row, place])]
                for place, name in enumerate(evaluation.names)
                for row in range(len(targets))
            ],
        )
        for model in TRANSFORMERS
    }


def summary(models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the terminal's columns, and model -> cells."""
    return COLUMNS, {name: _row(figures) for name, figures in models.items()}


def _row(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["mae_interval"]
    return [
        f"{figures['mae']:.4g}",
        f"{low:.4g} to {high:.4g}",
        f"{figures['rmse']:.4g}",
        f"{figures['r2']:.3f}",
        f"{figures['spearman']:.3f}",
        f"{100 * figures['coverage']:.1f}%",
        f"{figures['interval_width']:.4g}" if "interval_width" in figures else "infinite",
        f"{figures['C']:g}" if "C" in figures else "–",
    ]


def _ends(interval: Any) -> list[float]:
    return [float(end) for end in interval]
