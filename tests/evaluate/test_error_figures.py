"""A task whose main figure is an error, no share: everything that compares models prefers the lower one."""

import re
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from baton import params
from baton.evaluate import recommend, results, seeds
from baton.evaluate.class_reports import ClassReports
from baton.evaluate.inputs import Rows
from baton.evaluate.report import terminal
from baton.lifecycle.promotion import floors, history, margins
from baton.lifecycle.promotion.verdicts import Mark, Marks
from baton.tasks import figure_scale
from baton.tasks.class_figures import ClassFigures
from tests import tiny
from tests.lifecycle.test_gate import RULES as GATE


class ErrorFigures(ClassFigures):
    """The figures of a task that is judged by its mean error."""

    directions: ClassVar[dict[str, int]] = {"loss": -1, "error": -1}
    main = "error"
    gated = ("error",)
    share = False


class ErrorReports(ClassReports):
    """What evaluation does for it; an output is its error."""

    p = "error_p"

    @property
    def figures(self) -> ErrorFigures:
        return ErrorFigures(self.spec)

    def overall(self, targets: Any, outputs: Any) -> float:
        return float(outputs)

    def in_words(self, paired: Any, first: str, second: str) -> str:
        return "pairs"


TASK = ErrorReports(tiny.TASK)
ERROR, SHARE = figure_scale.of(TASK.figures), figure_scale.of(ClassFigures(tiny.TASK))
LEVEL = {"confidence": 0.95}


def plain(text: str) -> str:
    return re.sub(r"\[[^]]*\]", "", text)


def rules(**changes: Any) -> params.Promotion:
    return GATE.model_copy(update={"metric": "error", **changes})


def test_the_strongest_baseline_has_the_lowest_error() -> None:
    rows = Rows([], [], np.array([0]))
    errors = {"majority": 2.5, "near": 1.5, "tie": 1.5, "far": 3.0}
    assert results.strongest(TASK, list(errors), rows, errors) == "near"
    shares = ClassReports(tiny.TASK)
    right = {name: SimpleNamespace(predicted=np.array([own])) for name, own in (("wrong", 1), ("right", 0))}
    assert results.strongest(shares, list(right), rows, right) == "right"


@pytest.mark.parametrize(("change", "verdict"), [(-0.25, "beats"), (0.25, "loses to")])
def test_the_summary_says_who_has_the_lower_error(change: float, verdict: str) -> None:
    ends = [change - 0.1, change + 0.1]
    found = {"error_difference": change, "holm_p": 0.01, "holm_interval": ends, "excluded": 0.3}
    metrics = {"comparison": {"student_vs_teacher": found}, "test": LEVEL}
    text = plain(terminal._against(metrics, "student_vs_teacher", "the teacher", TASK))
    low, high = (f"{end:+.4g}" for end in ends)
    assert text == f"{verdict} the teacher ({change:+.4g} of error, interval {low} to {high}, p = 0.010)"
    found |= {"holm_p": 0.5}
    unclear = plain(terminal._against(metrics, "student_vs_teacher", "the teacher", TASK))
    assert "more than 0.3 either way are excluded" in unclear


@pytest.mark.parametrize(("student", "verdict"), [(1.0, "helps"), (3.0, "hurts")])
def test_distillation_helps_if_it_lowers_the_error(student: float, verdict: str) -> None:
    spread = (-0.01, 0.0, 0.01)
    test = {"student": dict(enumerate({"error": student + own} for own in spread))}
    test |= {name: {seed: {"error": 2.0} for seed in range(3)} for name in ("teacher", "control")}
    trained = {name: seeds.Seeds(0, (0, 1, 2)) for name in test}
    first, second = seeds.said(seeds.figures(trained, test, ["error"], 0.95), ERROR, 0.95)
    assert plain(first).startswith(
        f"Distillation {verdict} on these test rows, over 3 seeds ({student - 2:+.4g}"
    )
    assert "%" not in plain(first).replace("95% interval", "") and "points" not in first
    assert f"student {student:.4g} ± 0.01 (3 seeds" in second


def test_the_recommended_model_is_named_with_its_error() -> None:
    scores = {"teacher": np.full(9, -1.5), "student": np.full(9, -1.25), "majority": np.full(9, -4.0)}
    found = recommend.choose(scores, None)
    assert found["model"] == "student"
    assert "9 rows (1.25; teacher 1.5, majority 4)" in recommend.said(found, ERROR)


def test_the_best_mark_is_the_lowest_error() -> None:
    tags = {history.CHAMPIONS + "t" * history.DIGITS: '{"1": {"error": 2.0}, "2": {"error": 1.0}}'}
    metrics = {"majority/test_error": 3.0, "near/test_error": 1.5, "teacher/test_error": 0.5}
    run = SimpleNamespace(data=SimpleNamespace(metrics=metrics))
    registry = SimpleNamespace(
        name="n",
        versions=list,
        client=SimpleNamespace(get_registered_model=lambda _: SimpleNamespace(tags=tags)),
        store=SimpleNamespace(runs=lambda _: [run]),
    )
    found = history.marks(cast(Any, registry), "t" * 64, ERROR, "withdrawn")
    assert found == Marks(Mark("version 2", 1.0), Mark("near", 1.5))


@pytest.mark.parametrize(
    ("interval", "passes"), [((-0.2, 0.04), True), ((-0.2, 0.06), False), ((0.01, 0.04), True)]
)
def test_a_challenger_may_have_an_error_higher_by_less_than_the_margin(
    interval: tuple[float, float], passes: bool
) -> None:
    ours = rules(rule=params.NonInferiority(kind="non_inferiority", margin=0.05))
    found = {"error_difference": sum(interval) / 2, "error_difference_interval": interval}
    check = margins.better(found | {"error_p": 0.5, "discordant": (3, 4)}, 100, ours, TASK)
    assert check.passed is passes, check.text
    assert "the interval must lie below +0.05" in check.text and "points" not in check.text
    # 100 * ((0.07 + 0.13 / 2) / (0.05 + 0.07)) ** 2 rows: the interval's half width is 0.13, the room 0.12.
    assert passes or "about 118 similar rows would be enough" in check.text


def test_a_gain_is_a_lower_error() -> None:
    ours = rules(rule=params.Gain(kind="gain", minimum=0.0))
    for sign, passes in ((-1, True), (1, False)):
        ends = sorted((sign * 0.1, sign * 0.3))
        found = {"error_difference": sign * 0.2, "error_difference_interval": ends}
        check = margins.better(found | {"error_p": 0.01, "discordant": (3, 4)}, 100, ours, TASK)
        assert check.passed is passes, check.text


@pytest.mark.parametrize(("upper", "passes"), [(0.8, True), (0.9, False)])
def test_a_first_champions_error_is_at_most_the_limit(upper: float, passes: bool) -> None:
    figures = {"error": 0.7, "error_interval": [0.6, upper]}
    check = margins.first(figures, 100, rules(first_minimum=0.8), TASK)
    assert check.passed is passes
    wanted = "the upper end of a first champion's error interval must be at most 0.8 and is"
    assert f"{wanted} {upper:.4g}" in check.text


@pytest.mark.parametrize(
    ("error", "passes"), [(1.04, [True, True]), (1.06, [False, True]), (1.2, [False, False])]
)
def test_no_challenger_rises_above_the_lowest_error(error: float, passes: list[bool]) -> None:
    ours = rules(permanent_floor=params.PermanentFloor(below_best=0.05, below_baseline=0.0))
    marks = Marks(Mark("version 2", 1.0), Mark("near", 1.2))
    checks = list(floors.permanent({"challenger": {"error": error}}, marks, ours, ERROR))
    assert [check.passed for check in checks] == passes
    assert "at most 0.05 above the best champion so far on this table, version 2: 1" in checks[0].text
    assert "must be below the best baseline, near: 1.2" in checks[1].text


def test_a_share_is_written_in_percent_and_points() -> None:
    assert (SHARE.value(0.8434), SHARE.value(0.8434, 2), SHARE.number(0.012, sign="+")) == (
        "84.3%",
        "84.34%",
        "+1.2",
    )
    assert (SHARE.points, SHARE.direction, SHARE.worst((-0.1, 0.2))) == (" points", 1, -0.1)
    assert (ERROR.value(0.84341), ERROR.points, ERROR.worst((-0.1, 0.2))) == ("0.8434", "", -0.2)
