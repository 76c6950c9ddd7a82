"""The times of training stages, kept outside the stages' outputs."""

from pathlib import Path

import pytest

from baton import storage
from baton.tracking import durations


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    storage.write_json(Path("metrics/finetune.json"), {"teacher": 1})
    return tmp_path


def test_a_time_is_of_the_results_that_are_here(project: Path) -> None:
    assert durations.read() == {"finetune": None, "distill": None, "evaluate": None}
    assert durations.spent("finetune") is None
    durations.note("finetune", 72.5)
    assert durations.read() == {"finetune": 72.5, "distill": None, "evaluate": None}
    spent = durations.spent("finetune")
    assert spent is not None and spent.seconds > 0 and spent.memory > 1_000_000
    storage.write_json(Path("metrics/finetune.json"), {"teacher": 2})  # DVC restored others
    assert durations.read()["finetune"] is None and durations.spent("finetune") is None


def test_other_stages_and_broken_files_are_passed_over(project: Path) -> None:
    durations.note("tokenize", 1.0)
    durations.note("distill", 1.0)  # it wrote nothing
    assert not (project / ".baton" / durations.FOLDER).exists()
    storage.write_json(Path(".baton/durations/finetune.json"), {"seconds": 1.0, "made": _made()})
    assert durations.read()["finetune"] == 1.0 and durations.spent("finetune") is None, (
        "of an earlier version"
    )
    durations.note("finetune", 1.0)
    (project / ".baton" / durations.FOLDER / "finetune.json").write_text("{")
    assert durations.read()["finetune"] is None


def test_a_disk_that_is_full_does_not_stop_a_stage(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage, "write_json", full)
    durations.note("finetune", 1.0)
    assert durations.read()["finetune"] is None


def _made() -> str:
    return storage.sha256(Path("metrics/finetune.json"))
