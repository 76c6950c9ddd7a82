"""Tables and terminal cells for texts as targets.

Inputs: references, texts and bootstrap of the test rows, or figures from metrics.json -> rows and cells.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from baton.evaluate.evaluation import Evaluation
from baton.evaluate.report.csv_files import Table, excerpt
from baton.evaluate.report.wording import percent

EXAMPLES = 50  # rows of examples.csv, spread over the test split
WORST = 50  # rows per model of errors.csv
COLUMNS = ["chrF", "interval", "BLEU", "exact rows", "length"]
REMARK = (
    "chrF and BLEU are sacrebleu's, of all test rows together, divided by 100 (metrics.json has their "
    "signatures); exact rows have the reference itself; length is that of all texts in characters over the "
    "references'."
)


def tables(evaluation: Evaluation) -> dict[str, Table]:
    """Return examples.csv, the same rows for every model, and errors.csv, the drawn models' worst rows."""
    test, outputs, boot = evaluation.test, evaluation.outputs, evaluation.bootstrap
    scores = {name: boot.scores(name) for name in outputs}
    count = len(test.ids)
    chosen = np.unique(np.linspace(0, count - 1, min(EXAMPLES, count)).round().astype(np.int64))
    examples = [
        [
            test.ids[row],
            excerpt(test.texts[row]),
            excerpt(test.targets[row]),
            *(
                cell
                for name in outputs
                for cell in (excerpt(outputs[name].texts[row]), float(scores[name][row]))
            ),
        ]
        for row in chosen.tolist()
    ]
    columns = ["id", "source", "reference"]
    columns += [column for name in outputs for column in (name, f"{name}_chrf")]
    errors = [
        [
            name,
            test.ids[row],
            float(scores[name][row]),
            excerpt(test.texts[row]),
            excerpt(test.targets[row]),
            excerpt(outputs[name].texts[row]),
        ]
        for name in evaluation.drawn
        for row in np.argsort(scores[name], kind="stable")[:WORST].tolist()
        if scores[name][row] < 1
    ]
    return {
        "examples.csv": (columns, examples),
        "errors.csv": (["model", "id", "chrf", "source", "reference", "written"], errors),
    }


def summary(models: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the terminal's columns, and model -> cells."""
    return COLUMNS, {name: _row(figures) for name, figures in models.items()}


def _row(figures: Mapping[str, Any]) -> list[str]:
    low, high = figures["chrf_interval"]
    return [
        percent(figures["chrf"]),
        f"{100 * low:.1f} to {percent(high)}",
        percent(figures["bleu"]),
        percent(figures["exact_match"]),
        f"{figures['length_ratio']:.2f}",
    ]
