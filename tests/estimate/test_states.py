"""Stages that would not run are told from those that would."""

from pathlib import Path

import pytest

from baton.errors import DataError
from baton.estimate import states

DELETED = [{"changed outs": {"models/teacher": "deleted"}}]
MODIFIED = [{"changed deps": {"params.yaml": {"finetune": "modified"}}}]


def test_a_stage_runs_after_one_that_runs() -> None:
    assert states.skipped({}, (), states.STAGES) == set(states.STAGES)
    before = {"download", "preprocess", "tokenize"}
    assert states.skipped({"finetune": MODIFIED}, states.STAGES, states.STAGES) == before
    assert states.skipped({"download": MODIFIED}, states.STAGES, states.STAGES) == set()


def test_outputs_that_are_in_the_cache_are_restored() -> None:
    assert states.skipped({"finetune": DELETED}, {"finetune"}, states.STAGES) == set(states.STAGES)
    assert states.skipped({"finetune": DELETED}, (), states.STAGES) == set(states.DATA)
    mixed = [*DELETED, "changed command"]
    assert states.skipped({"finetune": mixed}, {"finetune"}, states.STAGES) == set(states.DATA)


def test_without_arrays_the_stage_to_run_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="dvc repro tokenize") as refused:
        states.require_data({"download"})
    assert "preprocess would run" in str(refused.value)
    with pytest.raises(DataError, match="data/arrays is not there"):
        states.require_data(set(states.DATA))
    Path("data/arrays").mkdir(parents=True)
    Path("data/arrays/meta.json").write_text("{}")
    states.require_data(set(states.DATA))
