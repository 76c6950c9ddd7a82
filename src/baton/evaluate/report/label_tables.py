"""Tables, plots and terminal cells for several labels per row.

Inputs: targets, outputs and bootstrap of the test rows, or figures from metrics.json -> rows and cells.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from baton.evaluate import label_outputs, label_ranking
from baton.evaluate.evaluation import TRANSFORMERS, Evaluation
from baton.evaluate.inputs import Rows
from baton.evaluate.label_outputs import LabelOutputs
from baton.evaluate.report.class_tables import PER_CLASS, per_class
from baton.evaluate.report.csv_files import Table, excerpt
from baton.evaluate.report.wording import percent

PER_LABEL = ["model", "label", *PER_CLASS[2:], "average_precision", "threshold"]
ERRORS = ["model", "id", "missing", "superfluous", "probability"]  # plus the text, or the name of the image
COLUMNS = [
    "micro F1",
    "interval",
    "macro F1",
    "samples F1",
    "exact rows",
    "Hamming loss",
    "mAP",
    "coverage",
    "log loss",
    "C",
]
REMARK = (
    "A label is predicted from its threshold on, fitted on validation for every model. Micro F1 is that of "
    "all decisions together, macro F1 the mean over labels with test rows, samples F1 the mean over rows "
    "(1 if a row has no label and none is predicted); exact rows have no wrong decision. mAP is the mean "
    "average precision of labels with test rows; coverage is how many labels, the most probable first, "
    "hold all of a row's. Log loss, a mean over labels, is at the temperature that was fitted on "
    "validation, for every model; metrics.json also has it as trained. C was chosen on validation."
)


def errors(model: str, names: Sequence[str], rows: Rows, outputs: LabelOutputs) -> list[list[object]]:
    """Return rows of ERRORS and the text: every row with a wrong decision, the most confident first.

    `missing` and `superfluous` are JSON lists of labels; `probability` is that of the row's most confident
    wrong decision, at the temperature.
    """
    actual, predicted = rows.targets > 0, outputs.predicted
    wrong, sure = label_outputs.mistakes(rows.targets, outputs)

    def listed(own: Any) -> str:
        return json.dumps([names[k] for k in np.flatnonzero(own).tolist()], ensure_ascii=False)

    return [
        [
            model,
            rows.ids[row],
            listed(actual[row] & ~predicted[row]),
            listed(predicted[row] & ~actual[row]),
            float(sure[row].max()),
            excerpt(rows.texts[row]),
        ]
        for row in wrong
    ]


def per_label(model: str, evaluation: Evaluation) -> list[list[object]]:
    """Return rows of PER_LABEL; a figure of a label without a test row is empty."""
    own = evaluation.outputs[model]
    precisions = label_ranking.per_label(own.logits, evaluation.test.targets > 0)
    thresholds = np.broadcast_to(np.asarray(own.thresholds, np.float64), len(precisions))
    rows = per_class(model, evaluation.names, evaluation.bootstrap)
    return [
        [*row, float("nan") if one is None else one.value, float(threshold)]
        for row, one, threshold in zip(rows, precisions, thresholds, strict=True)
    ]


def tables(evaluation: Evaluation) -> dict[str, Table]:
    """Return per_label.csv of every model and errors.csv of the drawn models."""
    names, outputs, test = evaluation.names, evaluation.outputs, evaluation.test
    return {
        "per_label.csv": (
            PER_LABEL,
            [row for name in outputs for row in per_label(name, evaluation)],
        ),
        "errors.csv": (
            [*ERRORS, test.shown],
            [row for name in evaluation.drawn for row in errors(name, names, test, outputs[name])],
        ),
    }


def plots(evaluation: Evaluation) -> dict[str, Table]:
    """Return F1 per label, one file per transformer."""
    return {f"per_label_{name}.csv": (PER_LABEL, per_label(name, evaluation)) for name in TRANSFORMERS}


def summary(models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the terminal's columns, and model -> cells."""
    return COLUMNS, {name: _row(figures) for name, figures in models.items()}


def _row(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["micro_f1_interval"]
    return [
        percent(figures["micro_f1"]),
        f"{100 * low:.1f} to {percent(high)}",
        *(percent(figures[figure]) for figure in ("macro_f1", "samples_f1", "subset_accuracy")),
        f"{figures['hamming_loss']:.4f}",
        percent(figures["macro_average_precision"]) if "macro_average_precision" in figures else "–",
        f"{figures['coverage_error']:.1f}",
        f"{figures['log_loss_scaled']:.3f}",
        f"{figures['C']:g}" if "C" in figures else "–",
    ]
