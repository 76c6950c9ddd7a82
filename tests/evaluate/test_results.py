"""The statements of metrics.json about two models agree with each other."""

from pathlib import Path

import numpy as np
import pytest

from baton import params
from baton.contracts.task_spec import Classes, Labels, TaskSpec
from baton.evaluate import results
from baton.evaluate.baselines import Outputs
from baton.evaluate.class_reports import ClassReports
from baton.evaluate.inputs import Rows
from tests import tiny


def rows(count: int) -> Rows:
    names = [str(row) for row in range(count)]
    return Rows(names, names, np.arange(count) % 2)


def outputs(split: Rows, wrong: int) -> Outputs:
    """Return answers that are wrong on the first `wrong` rows, with equal confidence everywhere."""
    predicted = split.targets.copy()
    predicted[:wrong] = 1 - predicted[:wrong]
    return Outputs(predicted, np.log(np.where(np.eye(2)[predicted] > 0, 0.9, 0.1)))


def test_no_ratio_tells_apart_what_the_page_does_not(root: Path) -> None:
    """Each of two steps wins five rows of 200.

    A step has p = 0.031 alone, and above 0.09 among the page's tests; both together have p below 0.01.
    """
    split = rows(200)
    wrong = {"teacher": 5, "student": 10, "control": 10, "svm": 15}
    answers = {name: outputs(split, count) for name, count in wrong.items()}
    recipe = params.read(root / "params.yaml").evaluate
    settings = recipe.model_copy(
        update={"bootstrap": params.Bootstrap(resamples=50, confidence=0.95, seed=0)}
    )
    task = ClassReports(tiny.task("no", "yes"))
    boot = task.bootstrap(split.targets, answers, settings.calibration_bins, settings.bootstrap)
    report = results.build(
        task, boot, {"train": split, "val": split, "test": split}, {"val": answers, "test": answers}, {}
    )
    for pair in ("student_vs_teacher", "student_vs_svm"):
        own = report["comparison"][pair]
        assert own["mcnemar_p"] == pytest.approx(0.5**5, rel=1e-4)
        assert own["holm_p"] > 0.05, "its own test alone would be significant"
    assert report["retention"]["accuracy_interval"][1] == report["retention"]["skill_interval"][1] == 1
    assert report["student"]["errors_removed_interval"][0] == 0
    assert report["comparison"]["teacher_vs_svm"]["holm_p"] < 0.01
    assert report["teacher"]["errors_removed_interval"][0] > 0, "a significant difference stays one"


@pytest.mark.parametrize("spec", [Classes(("a", "b")), Labels(("x", "y", "z"))])
def test_a_report_says_what_kind_of_task_it_is_about(spec: TaskSpec) -> None:
    """That of classes keeps the form that it had before there were other kinds."""
    named = results._named(spec)
    assert type(results.task_of({"rows": 3, spec.kind: spec.width} | named)) is type(spec)
    assert named == ({} if spec.kind == "classes" else {"task": {"kind": "labels", "names": ["x", "y", "z"]}})
