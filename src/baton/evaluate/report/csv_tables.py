"""The CSV files of the report: the task's own, slices, robustness, learning curves.

Inputs: an evaluation -> reports/tables and reports/plots.
"""

from pathlib import Path

from baton.evaluate import attributions, robustness, selective, single_inputs, slices
from baton.evaluate.evaluation import TRANSFORMERS, Evaluation
from baton.evaluate.report.csv_files import Table, write_csv, write_plot
from baton.evaluate.task_reports import TaskReports

# Plots of tasks that dvc.yaml shows, and the columns that it names. `dvc plots show` complains of a missing
# file, and leaves out one without rows, so those of another kind of task have no rows.
SHOWN = {
    "confusion": ["actual", "predicted"],
    "calibration": ["confidence", "accuracy"],
    "calibration_raw": ["confidence", "accuracy"],
    "per_class": ["class", "f1"],
    "per_label": ["label", "f1"],
    "predicted": ["actual", "predicted"],
    "per_type": ["type", "f1"],
}


def write_tables(folder: Path, task: TaskReports, evaluation: Evaluation) -> None:
    """Write the task's tables; slices, groups, claims and what images have if there is something to show."""
    for name, (columns, rows) in task.tables(evaluation).items():
        write_csv(folder / name, columns, rows)
    if evaluation.kept:
        confidence = evaluation.bootstrap.confidence
        found = slices.table(task, evaluation.kept, evaluation.test, evaluation.outputs, confidence)
        write_csv(folder / "slices.csv", slices.columns(task.figures.main), found)
    if evaluation.groups:
        confidence = evaluation.bootstrap.confidence
        found = slices.of_groups(task, evaluation.groups, evaluation.test, evaluation.outputs, confidence)
        write_csv(folder / "groups.csv", slices.columns(task.figures.main, "group"), found)
    _write_claims(folder, task, evaluation)
    if evaluation.robustness:
        write_csv(folder / "robustness.csv", robustness.COLUMNS, evaluation.robustness.table())
    for name, (columns, rows) in attributions.tables(
        evaluation.explained, attributions.MODEL, evaluation.test.ids, evaluation.names
    ).items():
        write_csv(folder / name, columns, rows)
    if pixels := [row for one in evaluation.galleries.values() for row in one.deletion]:
        write_csv(folder / "deletion.csv", attributions.DELETION, pixels)
    if evaluation.single_inputs:
        write_csv(folder / "single_inputs.csv", *single_inputs.table(task, evaluation.single_inputs))


def _write_claims(folder: Path, task: TaskReports, evaluation: Evaluation) -> None:
    """Write risk_coverage.csv, and thresholds.csv if there are answers on validation."""
    splits = {"test": (evaluation.test, evaluation.drawn)}
    if evaluation.val:
        rows, outputs = evaluation.val
        splits["val"] = rows, {name: outputs[name] for name in evaluation.drawn}
    claims = {
        split: {name: own for name in outputs if (own := task.claims(rows.targets, outputs[name]))}
        for split, (rows, outputs) in splits.items()
    }
    if not claims["test"]:
        return
    confidence = evaluation.bootstrap.confidence
    risks, chosen = selective.tables(evaluation.names, claims.get("val", {}), claims["test"], confidence)
    write_csv(folder / "risk_coverage.csv", selective.RISKS, risks)
    if evaluation.val:
        write_csv(folder / "thresholds.csv", selective.THRESHOLDS, chosen)


def write_plots(folder: Path, task: TaskReports, evaluation: Evaluation) -> None:
    """Write the data that `dvc plots show` draws, one file per model: the task's, and learning curves.

    `main_MODEL.csv` has the main figure on validation as `value`: dvc.yaml cannot name it for every task.
    """
    empty: dict[str, Table] = {
        f"{plot}_{model}.csv": (columns, []) for plot, columns in SHOWN.items() for model in TRANSFORMERS
    }
    for name, (columns, rows) in (empty | dict(task.plots(evaluation))).items():
        write_plot(folder / name, columns, rows)
    for model, curve in evaluation.curves.items():
        for part, own in (("training", curve.training), ("validation", curve.validation)):
            write_plot(folder / f"{part}_{model}.csv", list(own), zip(*own.values(), strict=True))
        main = curve.validation[f"val_{task.figures.main}"]
        write_plot(
            folder / f"main_{model}.csv",
            ["epoch", "value"],
            zip(curve.validation["epoch"], main, strict=True),
        )
