"""What images and texts contribute: models on both, on the images alone and on the texts alone.

Inputs: logits of one model on the same test rows, whole and with one of the two blanked -> its main figures
with intervals, and the paired comparisons, for reports/metrics.json, a table and a sentence.
"""

from collections.abc import Mapping
from typing import Any

from baton import params
from baton.evaluate.inputs import Rows
from baton.evaluate.report.csv_files import Table
from baton.evaluate.report.wording import spelled
from baton.evaluate.task_reports import TaskReports
from baton.tasks import figure_scale

BOTH = "both"
SHOWN = {BOTH: "images and texts", "image": "images alone", "text": "texts alone"}
PAIRS = [(BOTH, part) for part in SHOWN if part != BOTH]


def figures(
    task: TaskReports, test: Rows, outputs: Mapping[str, Any], bins: int, settings: params.Bootstrap
) -> dict[str, Any]:
    """Return the main figure of a model for each of `SHOWN`, whose `outputs` are given, and comparisons.

    Returns:
        part -> the main figure and `<figure>_interval`; `comparison` -> see `TaskReports.compared`.
    """
    boot, main = task.bootstrap(test.targets, outputs, bins, settings), task.figures.main
    shown: dict[str, Any] = {}
    for part in SHOWN:
        own = task.of_model(boot, part)
        shown[part] = {key: own[key] for key in (main, f"{main}_interval")}
    return shown | {"comparison": task.compared(boot, PAIRS)}


def table(task: TaskReports, models: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return columns and rows of reports/tables/single_inputs.csv."""
    main = task.figures.main
    rows = [
        [name, part, own[part][main], *own[part][f"{main}_interval"]]
        for name, own in models.items()
        for part in SHOWN
    ]
    return ["model", "reads", main, "low", "high"], rows


def better(task: TaskReports, own: Mapping[str, Any]) -> str:
    """Return which of images and texts a model does better with alone."""
    main = figure_scale.of(task.figures)
    found = main.best([part for _, part in PAIRS], lambda part: own[part][main.name])
    assert found is not None
    return found


def said(task: TaskReports, models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a sentence on the teacher."""
    main, own = figure_scale.of(task.figures), models["teacher"]
    parts = ", ".join(f"{main.value(own[part][main.name])} on {SHOWN[part]}" for part in SHOWN)
    best = better(task, own)
    pair = own["comparison"][f"{BOTH}_vs_{best}"]
    low, high = (main.number(bound, sign="+") for bound in pair["holm_interval"])
    change = f"{main.number(pair[f'{main.name}_difference'], sign='+')}{main.points}"
    return (
        f"The teacher's {spelled(main.name)}: {parts}. Both against {SHOWN[best]}: {change} "
        f"({low} to {high}, p = {pair['holm_p']:.2g}). Unlike a baseline, it was not trained on one alone."
    )
