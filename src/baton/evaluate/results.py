"""The content of reports/metrics.json.

Inputs: targets and outputs of val and test per model -> figures with intervals, paired comparisons and
retention. `dvc metrics show` omits lists (the intervals), and so shows only the figures themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from baton.contracts import task_spec
from baton.contracts.task_spec import Classes, TaskSpec
from baton.evaluate.evaluation import TRANSFORMERS
from baton.evaluate.inputs import Rows
from baton.evaluate.resampling import Resamples
from baton.evaluate.task_reports import TaskReports
from baton.tasks import figure_scale, task_figures


def strongest(
    task: TaskReports, baselines: Sequence[str], val: Rows, outputs: Mapping[str, Any]
) -> str | None:
    """Return the baseline with the best main figure on validation; None without baselines.

    Ties go to the first. Test plays no part in the choice.
    """
    main = figure_scale.of(task.figures)
    return main.best(baselines, lambda name: on_validation(task, val, outputs[name]))


def on_validation(task: TaskReports, val: Rows, outputs: Any) -> float:
    """Return the main figure on validation rows; that of a transformer in metrics/ means the same.

    If what is fitted on these rows decides, as thresholds do, it is that of `TaskFigures.scores`, which fits
    them on other rows.
    """
    if task_figures.decides(task.spec):
        return task.figures.scores(outputs.logits, val.targets)[task.figures.main]
    return task.overall(val.targets, outputs)


def build(
    task: TaskReports,
    boot: Resamples,
    splits: Mapping[str, Rows],
    outputs: Mapping[str, Mapping[str, Any]],
    more: Mapping[str, Mapping[str, Any]],
    recommended: str | None = None,
) -> dict[str, Any]:
    """Return the figures of every model, comparisons and retention.

    Args:
        task: what the models predict.
        boot: resampled test statistics of every model, at its temperature.
        splits: train (for what is frequent in it), val and test.
        outputs: of every model on val and test, including teacher, student and control; all others are
            baselines.
        more: further figures of the models, such as `parameters`, `bytes` and those of calibration.
        recommended: a model to compare with the strongest baseline too, whichever it is.

    Returns:
        model -> figure and figure_interval, those of `TaskReports.beyond` and of `more`, the main figure on
            val, and C (baselines); `comparison` -> pair -> see `TaskReports.compared`; `retention` ->
            student / teacher (absent if the teacher's figure is 0); `test` -> the split measured on, and its
            task, see `task_of`. All have 6 significant digits.
    """
    test, own = splits["test"], outputs["test"]
    baselines = [name for name in own if name not in TRANSFORMERS]
    best = strongest(task, baselines, splits["val"], outputs["val"])
    result: dict[str, Any] = {name: task.of_model(boot, name) | dict(more.get(name, {})) for name in own}
    for name, figures in task.beyond(splits, own, best, boot.confidence).items():
        result[name] |= figures
    for name in baselines:
        # The strongest baseline is chosen by this.
        found = on_validation(task, splits["val"], outputs["val"][name])
        result[name][f"val_{task.figures.main}"] = found
        chosen = own[name].C
        result[name] |= {} if chosen is None else {"C": chosen}
    pairs = [("student", "control"), ("student", "teacher")] + (
        [("teacher", best), ("student", best)] if best else []
    )
    if best and recommended and recommended != best and (recommended, best) not in pairs:
        pairs.append((recommended, best))
    result["comparison"] = task.compared(boot, pairs)
    result["retention"] = task.retention(boot, splits, result)
    task.agree(result, best, boot.confidence)
    result["test"] = {
        "rows": len(test.targets),
        task.words.counted: task.spec.width,
        **_named(task.spec),
        "confidence": boot.confidence,
        "baselines": baselines,
        "strongest_baseline": best,
    }
    return dict(rounded(result))


def task_of(test: Mapping[str, Any]) -> TaskSpec:
    """Return the task of metrics.json's section `test`.

    The section of every kind but classes has `task`, see `contracts.task_spec`. That of classes keeps the
    form of earlier versions, which had no other kind; its names are left out.
    """
    return task_spec.read(test) if "task" in test else Classes(())


def _named(task: TaskSpec) -> dict[str, Any]:
    return {} if isinstance(task, Classes) else {"task": task_spec.described(task)}


def rounded(value: Any) -> Any:
    """Round all floats to 6 significant digits.

    That is more than 2000 resamples can resolve, and independent of the order in which a processor sums.
    """
    match value:
        case dict():
            return {key: rounded(item) for key, item in value.items()}
        case list():
            return [rounded(item) for item in value]
        case float():
            return float(f"{value:.6g}")
        case _:
            return value
