"""What the sources of a student's soft targets know: their figures on test, beside the student's.

Inputs: data/predictions/knowledge, which `distill` wrote, and test's rows -> figures of each source and of
their mean; a sentence about them.
"""

from pathlib import Path
from typing import Any

from baton import params, storage
from baton.contracts.knowledge import LIST, MEAN
from baton.evaluate import inputs
from baton.evaluate.inputs import Rows
from baton.evaluate.report.wording import percent, spelled
from baton.evaluate.task_reports import TaskReports
from baton.tasks.figure_scale import Scale


def figures(
    task: TaskReports, folder: Path, test: Rows, bins: int, resampling: params.Bootstrap
) -> dict[str, Any]:
    """Return `rows` and `labelled` of the student's training, and `sources`: name -> figures with intervals.

    Nothing if the student learnt from the teacher alone, on the rows of train.
    """
    if not (folder / LIST).is_file():  # `distill` of an earlier version
        return {}
    found: dict[str, Any] = storage.read_json(folder / LIST)
    paths = {name: folder / f"{name}.test.parquet" for name in [*found["sources"], MEAN]}
    outputs = {
        name: task.outputs(inputs.read_logits(path, test, task.spec.width), {})
        for name, path in paths.items()
        if path.is_file()
    }
    counts: dict[str, Any] = {key: found[key] for key in ("rows", "labelled") if key in found}
    if not outputs:
        return counts
    boot = task.bootstrap(test.targets, outputs, bins, resampling)
    return counts | {"sources": {name: task.of_model(boot, name) for name in outputs}}


def said(found: dict[str, Any], main: Scale) -> str:
    """Return a sentence about the rows and the sources."""
    rows = ""
    if found.get("rows", 0) > found.get("labelled", 0):
        rows = f"The student learnt from {found['labelled']:,} rows with labels and "
        rows += f"{found['rows'] - found['labelled']:,} without; the control from the former."
    sources = found.get("sources", {})
    if not sources:
        return rows
    each = []
    for name, own in sources.items():
        low, high = own[f"{main.name}_interval"]
        shown = f"{percent(own[main.name])} ({percent(low)} to {percent(high)})"
        each.append(f"{'their mean' if name == MEAN else name} {shown}")
    return f"{rows} {spelled(main.name).capitalize()} of its sources: {', '.join(each)}.".strip()
