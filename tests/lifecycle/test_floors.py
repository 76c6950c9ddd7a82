"""Tables too small to decide, sacrificed classes, and chains of challengers that would lead downwards.

Expected ends of intervals are closed forms: for a table without mistakes Wilson's lower end is n / (n +
z**2), and without discordant rows Tango's is -z**2 / (n + z**2), with z**2 = 3.8415 for 95%.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Classes
from baton.evaluate import proportions
from baton.lifecycle.promotion import floors, gate
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.promotion.verdicts import Check, Mark, Marks, Verdict
from baton.lifecycle.test_table import Table, digests
from tests import tiny
from tests.lifecycle import scores
from tests.lifecycle.test_gate import RULES as GATE

SQUARE = 3.8414588
CLOSE = params.NonInferiority(kind="non_inferiority", margin=0.005)
RULES = GATE.model_copy(update={"class_floor": None, "max_calibration_error": None, "first_minimum": 0.5})


def table(*rows: int) -> Table:
    """Return a table with these numbers of rows of the classes a, b, c, …"""
    labels = np.repeat(np.arange(len(rows)), rows)
    texts = [f"text number {row}" for row in range(len(labels))]
    ids = [f"test:{row}" for row in range(len(labels))]
    return Table(
        Path("t.parquet"),
        "0" * 64,
        "text",
        ids,
        digests(texts),
        Classes(tuple("abcdefghijklmnop"[: len(rows)])),
        labels,
    )


def right(some: Table, *counts: int) -> Scored:
    """Return a model that is right on the first rows of each class, as many as given."""
    predicted: NDArray[np.int64] = some.targets.copy()
    for label, count in enumerate(counts):
        own = np.flatnonzero(some.targets == label)
        predicted[own[count:]] = (label + 1) % len(counts)
    probabilities = np.full((len(predicted), len(counts)), 0.1 / (len(counts) - 1))
    probabilities[np.arange(len(predicted)), predicted] = 0.9
    assert isinstance(some.task, Classes)
    return scores.of(some.task, probabilities)


def rules(**changes: Any) -> params.Promotion:
    return RULES.model_copy(update=changes)


def check(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_twelve_rows_without_a_mistake_do_not_show_that_nothing_is_lost(metric: str) -> None:
    """-z**2 / (n + z**2) > -0.005 from n = 765 on."""
    some = table(6, 6)
    model = right(some, 6, 6)
    found = check(gate.decide(some, model, model, rules(rule=CLOSE, metric=metric)), "non-inferiority")
    assert not found.passed and "12 rows are too few to decide" in found.text
    if metric == "accuracy":
        assert (
            f"interval {-100 * SQUARE / (12 + SQUARE):.1f} to" in found.text
            and "about 765 similar rows would be enough" in found.text
        )
        for count, passes in ((764, False), (765, True)):
            more = table(count - 300, 300)
            model = right(more, count - 300, 300)
            assert gate.decide(more, model, model, rules(rule=CLOSE)).passed is passes


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_five_rows_without_a_mistake_are_not_a_hundred_percent(metric: str) -> None:
    """Wilson's lower end is 5 / (5 + z**2) = 56.6%; it reaches 90% from 35 rows on."""
    some = table(3, 2)
    found = check(
        gate.decide(some, right(some, 3, 2), None, rules(metric=metric, first_minimum=0.9)), "first champion"
    )
    assert not found.passed and "5 rows are too few to decide" in found.text
    if metric == "accuracy":
        assert "is 56.6%" in found.text and "about 35 similar rows would be enough" in found.text
        for count, passes in ((34, False), (35, True)):
            more = table(count - 10, 10)
            assert (
                gate.decide(more, right(more, count - 10, 10), None, rules(first_minimum=0.9)).passed
                is passes
            )


def test_a_gain_that_few_rows_cannot_show_tells_how_many_would() -> None:
    """Four more rows of forty are right, and none fewer: McNemar's mid-p is 2 x 0.5**4 / 2 = 0.0625."""
    some = table(20, 20)
    found = check(gate.decide(some, right(some, 20, 18), right(some, 18, 16), RULES), "gain")
    assert (
        not found.passed
        and "mid-p = 0.062" in found.text
        and "is not distinguishable from the champion (differences of more than" in found.text
    )
    # 0.5**4.4 is below 0.05, 0.5**4.3 is not.
    assert "40 rows are too few to decide: about 44 similar rows would be enough" in found.text
    more = table(40, 40)
    assert check(gate.decide(more, right(more, 40, 36), right(more, 36, 32), RULES), "gain").passed


def test_what_is_excluded_lies_beyond_the_interval_beside_it() -> None:
    some = table(300, 300)
    found = check(gate.decide(some, right(some, 296, 290), right(some, 290, 292), RULES), "gain")
    beyond, low, high = (
        float(text) for text in re.findall(r"more than (\S+) points.*interval (\S+) to (\S+);", found.text)[0]
    )
    assert beyond == max(-low, high)


FLOOR = params.ClassFloor(recall=0.3, rows=30, loss=0.05)


def test_a_class_that_is_given_up_for_a_gain_of_all_is_refused() -> None:
    """Of 40 rows, 38 were right and 13 still are, while 900 others gain 54.

    The lowest recall, 32.5%, is above the floor.
    """
    some = table(40, 900)
    verdict = gate.decide(some, right(some, 13, 882), right(some, 38, 828), rules(class_floor=FLOOR))
    assert check(verdict, "gain").passed and check(verdict, "class floor").passed
    lost = check(verdict, "class losses")
    assert not lost.passed and "a from 95.0% to 32.5% of 40 rows" in lost.text
    without = gate.decide(some, right(some, 38, 882), right(some, 38, 828), rules(class_floor=FLOOR))
    assert without.passed and "(2 judged;" in check(without, "class losses").text


def test_losses_of_classes_are_adjusted_for_their_number() -> None:
    """A class lost six rows and gained none: mid-p 0.5**6 / 2 = 0.0078, or 0.078 among ten such classes."""
    alone, many = table(30, 30), table(*[30] * 10)
    assert not check(
        gate.decide(alone, right(alone, 24, 30), right(alone, 30, 30), rules(class_floor=FLOOR)),
        "class losses",
    ).passed
    ten = gate.decide(many, right(many, 24, *[30] * 9), right(many, *[30] * 10), rules(class_floor=FLOOR))
    assert check(ten, "class losses").passed


def test_a_small_but_certain_loss_of_a_class_is_let_pass() -> None:
    some = table(1000, 1000)
    verdict = gate.decide(some, right(some, 970, 1000), right(some, 1000, 800), rules(class_floor=FLOOR))
    assert verdict.passed
    strict = rules(class_floor=FLOOR.model_copy(update={"loss": 0.02}))
    assert not check(
        gate.decide(some, right(some, 970, 1000), right(some, 1000, 800), strict), "class losses"
    ).passed


@pytest.mark.parametrize(("lost", "passes"), [(8, True), (9, True), (10, False), (12, False)])
def test_a_loss_is_certain_only_if_it_is_certainly_more_than_is_allowed(lost: int, passes: bool) -> None:
    """Of 100 rows 8 are lost and none is gained.

    More than none is certain (mid-p 0.5**8 / 2), but for more than 5 points p is only 0.084. Without gained
    rows the score test is that of one proportion: z = (lost - 5) / sqrt(100 * 0.05 * 0.95), which for two
    classes must reach 1.96.
    """
    some = table(100, 900)
    found = check(
        gate.decide(some, right(some, 90 - lost, 900), right(some, 90, 800), rules(class_floor=FLOOR)),
        "class losses",
    )
    assert found.passed is passes is ((lost - 5) / (100 * 0.05 * 0.95) ** 0.5 < 1.96)
    assert 2 * proportions.mcnemar_midp(lost, 0, "greater") < 0.05, (
        "the control: for all of these, some loss is certain"
    )


def test_classes_that_are_too_small_are_named() -> None:
    some = table(100, 29, 4)
    verdict = gate.decide(some, right(some, 100, 29, 4), right(some, 80, 20, 4), rules(class_floor=FLOOR))
    assert "not judged: b (29 rows), c (4 rows)" in check(verdict, "class floor").text
    assert "could be chance: c (4 rows, 4 right)" in check(verdict, "class losses").text


def test_a_class_without_test_rows_is_not_judged() -> None:
    some = table(100, 100, 0)
    verdict = gate.decide(some, right(some, 100, 100, 0), right(some, 80, 80, 0), rules(class_floor=FLOOR))
    assert verdict.passed
    assert "not judged: c (0 rows)" in check(verdict, "class floor").text
    lost = check(verdict, "class losses").text
    assert "(2 judged;" in lost and "could be chance: c (0 rows, 0 right)" in lost


def test_a_floor_that_no_class_can_be_held_to_is_not_met() -> None:
    some = table(29, 29)
    found = check(gate.decide(some, right(some, 29, 29), None, rules(class_floor=FLOOR)), "class floor")
    assert not found.passed and "no class has 30 test rows" in found.text and "100" not in found.text


def test_challengers_that_are_each_hardly_worse_do_not_lead_downwards() -> None:
    """Each is within two points of the one before.

    The third is 1.2 points below the first, and one point is allowed.
    """
    some, chain = table(5000, 5000), [9800, 9740, 9680]
    models = [right(some, count - 4900, 4900) for count in chain]
    lenient = rules(rule=params.NonInferiority(kind="non_inferiority", margin=0.02))
    floor = lenient.model_copy(
        update={"permanent_floor": params.PermanentFloor(below_best=0.01, below_baseline=None)}
    )
    best = Marks(champion=Mark("version 1", 0.98))
    assert gate.decide(some, models[1], models[0], floor).passed
    assert gate.decide(some, models[2], models[1], lenient).passed, "the control"
    assert gate.decide(some, models[2], models[1], floor).passed, "without a record of the first"
    last = gate.decide(some, models[2], models[1], floor, best)
    assert [check.name for check in last.checks if not check.passed] == ["best champion"]
    assert "the challenger's accuracy is 96.80%" in last.reasons[0] and "version 1: 98.00%" in last.reasons[0]


def test_it_must_be_above_the_best_baseline() -> None:
    some = table(50, 50)
    ours = rules(permanent_floor=params.PermanentFloor(below_best=None, below_baseline=0.0))

    def found(value: float, by: params.Promotion) -> Check:
        return check(
            gate.decide(some, right(some, 45, 45), None, by, Marks(baseline=Mark("tfidf_svm", value))),
            "baseline",
        )

    assert (
        found(0.89, ours).passed
        and not found(0.9, ours).passed
        and "tfidf_svm: 90.00%" in found(0.9, ours).text
    )
    near = rules(permanent_floor=params.PermanentFloor(below_best=None, below_baseline=0.02))
    assert found(0.91, near).passed and not found(0.93, near).passed
    unknown = check(gate.decide(some, right(some, 45, 45), None, ours), "baseline")
    assert unknown.passed and "not judged" in unknown.text


def test_a_tie_with_the_best_baseline_is_not_above_it() -> None:
    """2 of 3 rows are right for both; evaluate wrote the baseline's figure with six digits.

    That is 0.666667 or, for 7 of 9, 0.777778.
    """
    ours = rules(permanent_floor=params.PermanentFloor(below_best=None, below_baseline=0.0))
    for rows in range(3, 40):
        for count in range(1, rows):
            logged = float(f"{(count + rows) / (2 * rows):.6g}")
            marks = Marks(baseline=Mark("tfidf_svm", logged))
            for more, passes in ((0, False), (1, True)):
                figures = {"challenger": {"accuracy": (count + more + rows) / (2 * rows)}}
                assert next(iter(floors.permanent(figures, marks, ours, tiny.ACCURACY))).passed is passes, (
                    count,
                    rows,
                )
    assert 2 / 3 < 0.666667 and 13 / 18 > 0.722222, "the control: unrounded, the second would be above"


def test_a_non_inferior_macro_f1_must_not_cost_accuracy() -> None:
    """A small class gains 20 rows, large ones lose 60: macro F1 rises, and accuracy certainly falls."""
    some = table(40, 500, 500)
    challenger, champion = right(some, 40, 470, 470), right(some, 20, 500, 500)
    verdict = gate.decide(
        some, challenger, champion, rules(rule=CLOSE.model_copy(update={"margin": 0.1}), metric="macro_f1")
    )
    found = check(verdict, "non-inferiority")
    assert verdict.figures["comparison"]["macro_f1_difference_interval"][0] > -0.1, (
        "the control: by the interval alone it would pass"
    )
    assert not found.passed and "accuracy must not fall" in found.text
