"""The parts of the terminal's summary that are about classifiers.

Input: figures of the models, from reports/metrics.json -> columns and cells.
"""

from collections.abc import Mapping
from typing import Any

from baton.evaluate.report.wording import percent

COLUMNS = ["accuracy", "interval", "top-5", "macro F1", "log loss", "calibration error"]
BEYOND = [
    "model",
    "skill",
    "interval",
    "errors removed",
    "interval",
    "balanced accuracy",
    "MCC",
    "AUROC",
    "AP",
    "C",
]
TOP = COLUMNS.index("top-5")  # shown only if measured, that is, with many classes
REMARK = (
    "Log loss and calibration error (interval of the root mean square gap between accuracy and "
    "confidence) are at the temperature that was fitted on validation, for every model; "
    "metrics.json also has those as trained."
)


def summary(models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the columns, and model -> cells."""
    columns, cells = COLUMNS.copy(), {name: _row(figures) for name, figures in models.items()}
    if not any("top5_accuracy" in figures for figures in models.values()):
        for row in (columns, *cells.values()):
            del row[TOP]
    return columns, cells


def beyond(
    models: Mapping[str, Mapping[str, Any]], test: Mapping[str, Any]
) -> tuple[str, list[str], list[list[str]]]:
    """Return title, columns and rows of the second table."""
    best = test["strongest_baseline"]
    removed = f"; errors removed: of {best}'s" if best else ""
    skill = "skill is the share of the majority class's errors avoided"
    title = f"beyond accuracy: {skill}{removed}; C was chosen on validation"
    return title, BEYOND, [_beyond(name, figures) for name, figures in models.items()]


def _row(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["accuracy_interval"]
    return [
        percent(figures["accuracy"]),
        f"{100 * low:.1f} to {percent(high)}",
        percent(figures["top5_accuracy"]) if "top5_accuracy" in figures else "–",
        percent(figures["macro_f1"]),
        f"{figures['log_loss_scaled']:.3f}",
        " to ".join(f"{bound:.3f}".lstrip("0") for bound in figures["calibration_error_scaled_interval"]),
    ]


def _beyond(name: str, figures: Mapping[str, Any]) -> list[str]:
    shown = [name]
    for figure in ("skill", "errors_removed"):
        low, high = figures.get(f"{figure}_interval", (0, 0))
        shown += (
            [percent(figures[figure]), f"{percent(low)} to {percent(high)}"]
            if figure in figures
            else ["–", "–"]
        )
    numbers = (
        f"{figures[figure]:.3f}" if figure in figures else "–"
        for figure in ("mcc", "auroc", "average_precision")
    )
    return [
        *shown,
        percent(figures["balanced_accuracy"]),
        *numbers,
        f"{figures['C']:g}" if "C" in figures else "–",
    ]
