"""The gate's rules on scored tables: each refuses what it should, with its reason, and nothing else."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from baton import params
from baton.contracts.task_spec import Classes
from baton.errors import ParamsError
from baton.lifecycle.promotion import gate
from baton.lifecycle.promotion.gate import Scored
from baton.lifecycle.test_table import Table, digests
from tests.lifecycle import scores

NAMES = ["a", "b", "c"]
TASK = Classes(tuple(NAMES))
ROWS = 600
MS = np.full(20, 1.0)  # of single samples
RULES = params.Promotion(
    name="n",
    model="student",
    test="t.parquet",
    metric="accuracy",
    rule=params.Gain(kind="gain", minimum=0.0),
    first_minimum=0.8,
    class_floor=params.ClassFloor(recall=0.5, rows=30, loss=0.05),
    permanent_floor=None,
    looks=20,
    max_calibration_error=0.2,
    max_size_ratio=1.5,
    max_latency_ratio=1.5,
    latency_samples=5,
    bootstrap=params.Bootstrap(resamples=300, confidence=0.95, seed=0),
)


@pytest.fixture(scope="module")
def table() -> Table:
    labels = np.arange(ROWS) % 3
    texts = [f"text number {row}" for row in range(ROWS)]
    return Table(
        Path("t.parquet"),
        "0" * 64,
        "text",
        [f"test:{row}" for row in range(ROWS)],
        digests(texts),
        TASK,
        labels,
    )


def scored(table: Table, wrong: int, first: int = 0, **changes: Any) -> Scored:
    """Return a model that is wrong on `wrong` rows from `first` on, and as confident as it is accurate."""
    predicted: NDArray[np.int64] = table.targets.copy()
    predicted[first : first + wrong] = (predicted[first : first + wrong] + 1) % 3
    sure = 1 - wrong / ROWS - 0.01
    probabilities = np.full((ROWS, 3), (1 - sure) / 2)
    probabilities[np.arange(ROWS), predicted] = sure
    values: dict[str, Any] = {
        "size": 100,
        "latency": MS,
        "training_rows": frozenset({"x"}),
    }
    return scores.of(changes.pop("task", TASK), probabilities, **(values | changes))


def refused(verdict: gate.Verdict) -> list[str]:
    json.dumps([vars(check) for check in verdict.checks] + [dict(verdict.figures)])  # as it is stored
    return [check.name for check in verdict.checks if not check.passed]


def test_a_better_challenger_passes(table: Table) -> None:
    verdict = gate.decide(table, scored(table, 30), scored(table, 60), RULES)
    assert verdict.passed and refused(verdict) == []
    assert verdict.figures["comparison"]["accuracy_difference"] == pytest.approx(0.05)


@pytest.mark.parametrize(
    "wrong", [60, 61, 58, 90], ids=["the same", "a little worse", "a little better", "worse"]
)
def test_a_tie_and_a_worse_one_are_refused(table: Table, wrong: int) -> None:
    verdict = gate.decide(table, scored(table, wrong), scored(table, 60), RULES)
    assert refused(verdict) == ["gain"]
    assert ("is not distinguishable from the champion" in verdict.reasons[0]) == (wrong < 90)


def test_a_gain_below_the_minimum_is_refused(table: Table) -> None:
    rules = RULES.model_copy(update={"rule": params.Gain(kind="gain", minimum=0.04)})
    assert refused(gate.decide(table, scored(table, 30), scored(table, 60), rules)) == ["gain"]


def test_non_inferiority_lets_a_tie_pass_and_refuses_what_is_worse_than_its_margin(table: Table) -> None:
    rules = RULES.model_copy(update={"rule": params.NonInferiority(kind="non_inferiority", margin=0.02)})
    assert gate.decide(table, scored(table, 60), scored(table, 60), rules).passed
    assert gate.decide(table, scored(table, 63), scored(table, 60), rules).passed
    assert refused(gate.decide(table, scored(table, 90), scored(table, 60), rules)) == ["non-inferiority"]


def test_a_better_one_by_chance_is_refused(table: Table) -> None:
    """Ten more rows are right, but they differ on 110 rows: the pairing matters, not only the totals."""
    assert refused(gate.decide(table, scored(table, 50), scored(table, 60, first=300), RULES)) == ["gain"]


def test_a_first_champion_needs_no_other_but_must_be_good(table: Table) -> None:
    assert gate.decide(table, scored(table, 60), None, RULES).passed
    poor = gate.decide(table, scored(table, 130), None, RULES)
    assert refused(poor) == ["first champion"] and "more similar rows would not help" in poor.reasons[0]


@pytest.mark.parametrize("who", ["challenger", "champion"])
def test_planted_leakage_is_refused_and_named(table: Table, who: str) -> None:
    known = frozenset(digests(["TEXT  number 7", "another"]))  # the same row in other letters
    leaky = {"training_rows": known}
    challenger = scored(table, 30, **(leaky if who == "challenger" else {}))
    champion = scored(table, 60, **(leaky if who == "champion" else {}))
    verdict = gate.decide(table, challenger, champion, RULES)
    assert refused(verdict) == ["leakage"]
    assert verdict.reasons == [f"1 of 600 test rows were in the {who}'s training data: test:7"]


def test_unknown_training_rows_are_refused(table: Table) -> None:
    verdict = gate.decide(table, scored(table, 30, training_rows=None), scored(table, 60), RULES)
    assert refused(verdict) == ["leakage"] and "is unknown" in verdict.reasons[0]


def test_a_swapped_label_map_is_refused_as_such(table: Table) -> None:
    good = scored(table, 30)
    swapped = scores.renamed(good, Classes(("b", "a", "c")))
    verdict = gate.decide(table, swapped, scored(table, 60), RULES)
    assert "label map" in refused(verdict)
    assert "reading a as b, b as a" in next(
        check.text for check in verdict.checks if check.name == "label map"
    )


def test_a_swap_of_two_rare_classes_is_seen_too(table: Table) -> None:
    """The classes have 36 and 10 of 600 rows, as in R8: 46 rows are 8%, and the rest is right."""
    labels = np.repeat([0, 1, 2], [554, 36, 10])
    uneven = replace(table, targets=labels)
    good = scored(uneven, 20)
    assert "label map" not in refused(gate.decide(uneven, good, scored(uneven, 60), RULES))
    swapped = scores.renamed(good, Classes(("a", "c", "b")))
    verdict = gate.decide(uneven, swapped, scored(uneven, 60), RULES)
    assert "label map" in refused(verdict) and any(
        "reading b as c, c as b" in reason for reason in verdict.reasons
    )


def test_a_confused_class_is_bad_but_not_swapped(table: Table) -> None:
    """Half of one class is taken for another, and none the other way round."""
    probabilities = scores.probabilities(scored(table, 0))
    rows = np.flatnonzero(table.targets == 1)[:150]
    probabilities[rows] = probabilities[0]
    confused = scores.of(TASK, probabilities)
    assert "label map" not in refused(gate.decide(table, confused, scored(table, 300), RULES))


def test_one_that_always_says_the_same_is_bad_but_not_swapped(table: Table) -> None:
    probabilities = np.tile([0.4, 0.3, 0.3], (ROWS, 1))
    constant = scores.of(TASK, probabilities)
    assert "label map" not in refused(gate.decide(table, constant, scored(table, 60), RULES))


def test_another_order_of_columns_with_its_names_is_no_swap(table: Table) -> None:
    good = scored(table, 30)
    order = [2, 0, 1]
    moved = scores.renamed(good, Classes(tuple(NAMES[i] for i in order)), order)
    assert gate.decide(table, moved, scored(table, 60), RULES).passed


def test_other_classes_are_refused(table: Table) -> None:
    verdict = gate.decide(table, scored(table, 30, task=Classes(("a", "b", "d"))), scored(table, 60), RULES)
    assert refused(verdict) == ["classes"] and "no c, unexpected d" in verdict.reasons[0]


def test_a_champion_that_does_not_know_a_new_class_can_be_beaten(table: Table) -> None:
    old = scored(table, 0)
    champion = scores.renamed(old, Classes(tuple(NAMES[:2])), [0, 1])
    verdict = gate.decide(table, scored(table, 30), champion, RULES)
    assert verdict.passed and "the champion lacks classes" in verdict.checks[1].text
    assert verdict.figures["champion"]["accuracy"] == pytest.approx(2 / 3)
    renamed = scores.renamed(old, Classes(("a", "b", "old")))
    assert refused(gate.decide(table, scored(table, 30), renamed, RULES)) == ["classes"], (
        "it would look worse than it is"
    )


def test_a_gain_in_macro_f1_must_not_cost_accuracy(table: Table) -> None:
    """A small class gains 60 rows, a large one loses 110: macro F1 rises, and accuracy certainly falls."""
    labels = np.repeat([0, 1, 2], [70, 265, 265])
    uneven = replace(table, targets=labels)
    rules = RULES.model_copy(
        update={"metric": "macro_f1", "class_floor": None, "max_calibration_error": None}
    )
    champion, challenger = scored(uneven, 65), scored(uneven, 110, first=80)
    found = gate.decide(uneven, challenger, champion, rules)
    assert found.figures["comparison"]["macro_f1_difference_interval"][0] > 0, (
        "the control: by the interval alone it would pass"
    )
    assert refused(found) == ["gain"] and "accuracy must not fall" in found.reasons[0]
    assert refused(gate.decide(uneven, scored(uneven, 60, first=80), champion, rules)) == []


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_figure_by_which_the_task_can_be_judged_is_accepted(metric: str) -> None:
    gate.check_metric(RULES.model_copy(update={"metric": metric}), TASK)


def test_a_metric_that_the_task_does_not_have_is_refused() -> None:
    message = r"judges the task `classes`\s+got: +micro_f1\s+expected: accuracy, macro_f1"
    with pytest.raises(ParamsError, match=message):
        gate.check_metric(RULES.model_copy(update={"metric": "micro_f1"}), TASK)


def test_a_class_that_is_given_up_is_refused(table: Table) -> None:
    """It is better overall, but nothing is left of one class."""
    challenger = scored(table, 0)
    probabilities = scores.probabilities(challenger)
    rows = np.flatnonzero(table.targets == 2)[:120]
    probabilities[rows] = probabilities[0]
    verdict = gate.decide(table, scores.of(TASK, probabilities), scored(table, 300), RULES)
    assert "class floor" in refused(verdict)


def test_one_that_is_too_sure_too_large_or_too_slow_is_refused(table: Table) -> None:
    champion = scored(table, 180)
    probabilities = np.full((ROWS, 3), 1e-6)
    probabilities[np.arange(ROWS), scores.probabilities(scored(table, 130)).argmax(axis=1)] = 1 - 2e-6
    strict = RULES.model_copy(update={"class_floor": None, "max_calibration_error": 0.15})
    challenger = scores.of(TASK, probabilities, size=151, latency=1.51 * MS)
    assert refused(gate.decide(table, challenger, champion, strict)) == ["size", "latency", "calibration"]
    none = strict.model_copy(
        update={"max_calibration_error": None, "max_size_ratio": None, "max_latency_ratio": None}
    )
    assert gate.decide(table, challenger, champion, none).passed


def test_a_latency_is_judged_by_the_lower_end_of_its_ratio(table: Table) -> None:
    """On a busy machine, pairs of times vary by half; only a model that is certainly too slow is refused."""
    noise = np.exp(np.random.default_rng(0).normal(0, 0.4, (2, 40)))
    for factor, refusals in ((1.0, []), (1.6, []), (3.0, ["latency"])):
        verdict = gate.decide(
            table, scored(table, 30, latency=factor * noise[0]), scored(table, 60, latency=noise[1]), RULES
        )
        assert refused(verdict) == refusals
    check = next(check for check in verdict.checks if check.name == "latency")
    low, high = (float(end) for end in re.findall(r"\((\d\.\d\d) to (\d\.\d\d)\)", check.text)[0])
    assert 1.5 < low < 3.0 < high < 4.5
    few = gate.decide(table, scored(table, 30, latency=9 * MS[:3]), scored(table, 60, latency=MS[:3]), RULES)
    assert "latency" not in refused(few), "three samples have no interval"


def test_the_calibration_error_of_a_small_table_is_not_its_chance(table: Table) -> None:
    """60 rows of an honest model: its ECE is above a limit that the debiased error meets."""
    generator = np.random.default_rng(1)
    small = replace(table, targets=table.targets[:60], ids=table.ids[:60], digests=table.digests[:60])
    sure = generator.uniform(0.4, 0.95, 60)
    predicted = np.where(generator.random(60) < sure, small.targets, (small.targets + 1) % 3)
    probabilities = np.tile(((1 - sure) / 2)[:, None], (1, 3))
    probabilities[np.arange(60), predicted] = sure
    rules = RULES.model_copy(update={"max_calibration_error": 0.08, "class_floor": None})
    verdict = gate.decide(small, scores.of(TASK, probabilities), None, rules)
    assert verdict.figures["challenger"]["ece"] > 0.1, "negative control: by ECE it would be refused"
    assert "calibration" not in refused(verdict)
    low, high = verdict.figures["challenger"]["calibration_error_interval"]
    assert low == 0 and high > 0.08
    found = next(check.text for check in verdict.checks if check.name == "calibration")
    assert (
        "this cannot be judged on 60 rows (about" in found
        and "only an error certainly above the limit is refused" in found
    )


def test_the_end_of_an_interval_decides_on_calibration(table: Table) -> None:
    """The model is 99.9% confident; with 120 of 600 rows wrong its error is 0.2, plus or minus about 0.03."""
    probabilities = np.full((ROWS, 3), 5e-4)
    predicted = scores.probabilities(scored(table, 120)).argmax(axis=1)
    probabilities[np.arange(ROWS), predicted] = 1 - 1e-3
    model = scores.of(TASK, probabilities)
    for limit, passes, judged in (
        (0.1, False, True),
        (0.19, True, False),
        (0.21, True, False),
        (0.3, True, True),
    ):
        rules = RULES.model_copy(
            update={"max_calibration_error": limit, "class_floor": None, "first_minimum": 0.5}
        )
        verdict = gate.decide(table, model, None, rules)
        found = next(check for check in verdict.checks if check.name == "calibration")
        assert found.passed is passes and ("cannot be judged on 600 rows" not in found.text) is judged
        if not judged:
            error, (low, high) = (
                verdict.figures["challenger"][f"calibration_error{part}"] for part in ("", "_interval")
            )
            end = low if error > limit else high
            assert (
                f"about {math.ceil(600 * ((error - end) / (error - limit)) ** 2):,} similar rows would "
                "be enough"
            ) in found.text
