"""The figures of the tasks that share the teacher's encoder with the main one, on their own test rows.

Inputs: data/clean/tasks/NAME, and data/predictions/teacher/tasks/NAME as `finetune` wrote them -> the section
`tasks` of metrics.json, and lines about it. There are no baselines, students or comparisons: distillation,
the gate and serving are of the main task alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from baton import params, storage
from baton.contracts import predictions, task_spec
from baton.evaluate import inputs, task_reports
from baton.evaluate.report.wording import amount, spelled
from baton.tasks import figure_scale

TEACHER = "teacher"


def figures(clean: Path, teacher: Path, settings: params.Evaluate) -> dict[str, dict[str, Any]]:
    """Return task -> `task` (see `contracts.task_spec`), `rows`, and its figures with intervals.

    `clean` and `teacher` are the folders with the main task's tables and the teacher's predictions. It is
    empty without other tasks.

    Raises:
        DataError: predictions are missing or belong to other rows.
    """
    found = {}
    for name in storage.tasks(clean):
        own, answers = storage.of_task(clean, name), storage.of_task(teacher, name)
        task = task_reports.of(task_spec.read_file(own))
        test = inputs.read_rows(own, "test")
        logits = inputs.read_logits(answers / "test.parquet", test, task.spec.width)
        outputs = task.outputs(logits, inputs.read_fitted(answers, predictions.FITTED))
        boot = task.bootstrap(test.targets, {TEACHER: outputs}, settings.calibration_bins, settings.bootstrap)
        found[name] = {
            "task": task_spec.described(task.spec),
            "rows": len(test.ids),
            **task.of_model(boot, TEACHER),
        }
    return found


def said(section: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence on the main figure of each task."""
    sentences = []
    for name, own in section.items():
        main = figure_scale.of(task_reports.of(task_spec.read(own)).figures)
        low, high = (main.value(end) for end in own[f"{main.name}_interval"])
        shown = f"{spelled(main.name)} {main.value(own[main.name])} ({low} to {high})"
        sentences.append(f"The teacher's other task {name}: {shown} on {amount(own['rows'], 'test rows')}.")
    return sentences
