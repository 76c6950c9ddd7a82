"""How many rows are predicted, what is not estimated, and the tables."""

import numpy as np
import pytest

from baton import params
from baton.estimate import limits, parts, scratch, shown
from baton.estimate.shown import Estimated
from baton.tracking.durations import Spent
from tests.fitting.test_small_data import AUTO, settings


def test_a_later_seed_is_the_best_so_far_less_often() -> None:
    assert parts.answered(100, 10, 1) == 100
    assert parts.answered(100, 10, 2) == pytest.approx(1.5 * 100 + 0.5 * 10)


def test_auto_is_settled_where_no_cross_validation_is_needed() -> None:
    asked = settings(strategy=AUTO)
    many, few, one = np.arange(101), np.arange(100), np.zeros(100, np.int64)
    assert limits.settled(asked, many).strategy.kind == "full"
    assert limits.settled(asked, few).strategy.kind == "auto"
    assert limits.settled(asked, one).strategy.kind == "full"
    assert limits.of_finetune(limits.settled(asked, many), {}) is None
    assert "cross-validation" in str(limits.of_finetune(asked, {}))


@pytest.mark.parametrize("kind", ["head", "probe", "prototypes"])
def test_other_strategies_are_not_estimated(kind: str) -> None:
    assert f"strategy {kind}" in str(limits.of_finetune(settings(strategy={"kind": kind}), {}))


def test_several_processes_are_not_estimated() -> None:
    runtime = params.read().runtime
    assert limits.of_machine(runtime.model_copy(update={"device": "cpu", "processes": "auto"})) is None
    assert "several" in str(limits.of_machine(runtime.model_copy(update={"processes": 2})))
    assert "several" in str(limits.of_machine(runtime.model_copy(update={"launcher": "srun"})))
    assert "split" in str(limits.of_machine(runtime.model_copy(update={"sharding": "full"})))


FOUND = {
    "tokenize": Estimated(cached=True),
    "finetune": Estimated(90.0, 2_500_000_000, 4_000_000, parts={"start": 30.0, "training": 60.0}),
    "distill": Estimated(reason="several tasks take turns"),
    "evaluate": Estimated(60.0, 1_000_000_000, 1_000_000, notes=("at most so long",)),
}


def test_what_is_not_known_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    shown.table(FOUND)
    said = capsys.readouterr().out
    for text in ("cached", "not estimated", "1.5", "2.5 GB", "4 MB", "start 0.5, training 1.0"):
        assert text in said
    assert "at least 2.5" in said, "a stage without an estimate adds to the sum"
    assert "distill is not estimated: several tasks take turns" in said
    assert "evaluate: at most so long" in said


def test_more_than_there_is_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    shown.warn(FOUND, 2_000_000_000, 5_000_000)
    said = capsys.readouterr().out
    assert "finetune: it needs 2.5 GB of memory, and 2.0 GB are free" in said and "disk" not in said
    shown.warn(FOUND, 3_000_000_000, 4_999_999)
    said = capsys.readouterr().out
    assert "memory" not in said and "disk: the stages write 5 MB" in said


def test_what_a_stage_took_stands_beside_the_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    shown.beside(FOUND, {"finetune": Spent(99.0, 2_600_000_000), "distill": None}, "today")
    said = capsys.readouterr().out
    assert "+10%" in said and "2.6 GB" in said and "today" in said
    assert "distill: its results were not made in this checkout" in said


def test_the_line_that_says_why_is_found() -> None:
    assert scratch.said_why("warning\nerror: no\n  got: x\n  next: y") == "error: no"
    assert scratch.said_why("Traceback\n  File\nKeyError: 3") == "KeyError: 3"
    assert scratch.said_why("") == ""


def test_evaluate_is_not_estimated_where_it_reads_what_was_not_made() -> None:
    active = params.read()
    assert limits.of_evaluate(active) is None
    assert "episodes" in str(
        limits.of_evaluate(
            active.model_copy(update={"finetune": active.finetune.model_copy(update={"episodes": object()})})
        )
    )
