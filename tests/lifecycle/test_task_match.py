"""Params, test table and champion of different tasks: refused before anything is trained or loaded."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from baton import params
from baton.contracts.task_spec import Classes, Labels
from baton.errors import ModelError, ParamsError
from baton.lifecycle.promotion import gate, promote, scoring, task_match
from baton.lifecycle.test_table import Table
from tests.lifecycle.test_floors import table
from tests.tracking.conftest import ROOT


@dataclass
class Version:
    """A version of the registry."""

    version: int
    tags: dict[str, str]


class Registry:
    """A registry whose champion, version 3, was registered with these params."""

    name = "texts"

    def __init__(self, written: str | None) -> None:
        self.written = written

    def alias(self, name: str) -> Version:
        return Version(3 if name == "champion" else 4, {})

    def read(self, version: Version, file: str) -> str | None:
        assert (version.version, file) == (3, "params.yaml")
        return self.written


def of_labels() -> Table:
    return replace(table(10, 10), task=Labels(("a", "b")))


CLASSES, LABELS = "task: {kind: classes}\n", "task: {kind: labels, separator: null}\n"


@pytest.mark.parametrize(
    ("written", "rows", "same"),
    [
        (CLASSES, table(10, 10), True),
        ("description: of an earlier version\n", table(10, 10), True),
        (LABELS, of_labels(), True),
        (None, of_labels(), True),
        (CLASSES, of_labels(), False),
        ("description: of an earlier version\n", of_labels(), False),
        (LABELS, table(10, 10), False),
    ],
)
def test_retraining_is_refused_before_it_trains(written: str | None, rows: Table, same: bool) -> None:
    active = params.read(ROOT / "recipes/quick.yaml")
    kind: Any = (
        params.LabelsTask(kind="labels", separator=None) if isinstance(rows.task, Labels) else active.task
    )
    active, own = active.model_copy(update={"task": kind}), Registry(written)
    if same:
        task_match.check(own, active, rows)  # type: ignore[arg-type]
        return
    with pytest.raises(
        ModelError, match=r"(?s)version 3 of texts, has the task .*baton promote --to VERSION"
    ):
        task_match.check(own, active, rows)  # type: ignore[arg-type]


def test_a_test_table_of_another_task_than_the_params_is_refused() -> None:
    active = params.read(ROOT / "recipes/quick.yaml")
    assert isinstance(table(10, 10).task, Classes)
    with pytest.raises(ParamsError, match=r"(?s)promotion\.test: t\.parquet.*labels.*classes.*set promotion"):
        task_match.check(Registry(CLASSES), active, of_labels())  # type: ignore[arg-type]


def test_the_gate_gives_a_verdict_that_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[dict[str, Any]] = []
    monkeypatch.setattr(promote.test_table, "read", lambda path: of_labels())
    monkeypatch.setattr(gate, "check_metric", lambda *_: None)
    monkeypatch.setattr(promote, "_note", lambda registry, version, record, text: recorded.append(record))
    monkeypatch.setattr(scoring, "score", lambda *_: pytest.fail("no model need be loaded"))
    settings = params.read(ROOT / "recipes/labels-csv.yaml").promotion
    outcome = promote.judge(Registry(CLASSES), settings, Version(4, {}), True)  # type: ignore[arg-type]
    assert not outcome.passed and not outcome.to_move and recorded == [outcome.record]
    assert "NOT met, task: the champion, version 3 of texts, has the task classes" in outcome.text
    said = promote.words(outcome.record, str)
    assert str(Path("t.parquet")) in said and "`baton promote --to 4` makes this" in said
