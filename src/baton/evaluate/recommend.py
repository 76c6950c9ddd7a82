"""Choose the trained model to use, on rows that no model was fitted on; test plays no part in it.

Inputs: how well each model does on each row (for classes, whether it is right), of validation, or with few
rows those left out in cross-validation -> the recommended model. Their mean is the main figure. A baseline
costs a fraction of a transformer, so a transformer is recommended only if it beats the best baseline, on the
same rows, by more than the standard error of the difference.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton.evaluate import task_reports
from baton.evaluate.task_reports import TaskReports
from baton.tasks import task_figures
from baton.tasks.figure_scale import Scale

STUDENT, TEACHER = "student", "teacher"
Scores = NDArray[np.float64]


def choose(rows: Mapping[str, Scores], folds: int | None) -> dict[str, Any]:
    """Return the section `recommended` of metrics.json.

    Args:
        rows: model -> its score on each row (rows,), higher is better: the student (absent with rows left
            out in folds of train: it is not trained again for each fold), the teacher, every baseline.
        folds: of cross-validation on train; None: the rows are those of validation.

    Returns:
        `model`, `scores` (model -> mean score), `rows`, `folds` (absent without cross-validation). Ties go to
            the student among transformers, and to the first among baselines.
    """
    scores = {name: float(own.mean()) for name, own in rows.items()}
    order = [name for name in (STUDENT, TEACHER) if name in scores]
    model = max(order, key=lambda name: scores[name])
    baselines = [name for name in scores if name not in order]
    if baselines:
        best = max(baselines, key=lambda name: scores[name])
        model = model if _better(rows[model], rows[best]) else best
    return {"model": model, "scores": scores, "rows": len(rows[TEACHER])} | (
        {"folds": folds} if folds else {}
    )


def held_out(task: TaskReports, targets: NDArray[Any], logits: NDArray[np.float32]) -> Scores:
    """Return the score of each row (rows,) by logits of models that did not see it.

    If what is fitted decides, it is fitted on the other half of the rows: every second one.
    """
    if not task_figures.decides(task.spec):
        return task.score(task.parts(targets, task.outputs(logits, {})))
    second, portions = np.arange(len(targets)) % 2 == 1, []
    for own in (second, ~second):
        fitted = task.fitted(targets[~own], task.outputs(logits[~own], {})) if not own.all() else {}
        portions.append((np.flatnonzero(own), task.parts(targets[own], task.outputs(logits[own], fitted))))
    return task.score(task_reports.together(portions))


def on_validation(task: TaskReports, targets: NDArray[Any], outputs: Any) -> Scores:
    """Return the score of each validation row (rows,), by what was fitted on other rows if that decides.

    Thresholds that were fitted on a row make a poor model look several points better on it.
    """
    if task_figures.decides(task.spec):
        return held_out(task, targets, outputs.logits)
    return task.score(task.parts(targets, outputs))


def _better(first: Scores, second: Scores) -> bool:
    """Return whether `first` is better by more than the standard error of the mean paired difference.

    The error is that under no difference: for rows right or wrong, McNemar's z is above 1.
    """
    change = np.subtract(first, second, dtype=np.float64)
    return bool(change.sum() > np.sqrt((change**2).sum()))


def said(section: Mapping[str, Any], scale: Scale) -> str:
    """Return the recommendation as a sentence, with scores on the `scale` of the main figure."""
    model, scores = section["model"], section["scores"]
    others = ", ".join(
        f"{name} {scale.value(scale.gain(value))}"
        for name, value in sorted(scores.items(), key=lambda item: -item[1])
        if name != model
    )
    how = f"validation, {section['rows']:,} rows"
    if "folds" in section:
        how = (
            f"{section['folds']}-fold cross-validation on {section['rows']:,} rows of train, "
            "in which the student takes no part"
        )
    own = scale.value(scale.gain(scores[model]))
    return (
        f"Recommended: [bold]{model}[/], by {how} ({own}; {others}). "
        "A transformer is recommended if it beats the best baseline by more than a standard error. "
        "Test took no part in this choice."
    )
