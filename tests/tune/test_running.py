"""One trial in a private copy: what its stages get, when it is stopped, and which errors are its own."""

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
from optuna.trial import TrialState

from baton import params
from baton.errors import OutputError
from baton.tracking import points
from baton.tune import running, worker
from baton.tune.running import Place
from baton.tune.study import Study, Work
from tests.tune import made_up

CURVE = (0.5, 0.75, 0.625)
Enough = Callable[[], bool] | None


class Stages:
    """Stages that write what the real ones would, and notes of how they were called."""

    def __init__(self, speed: str = "slow") -> None:
        self.speed, self.called, self.failures = speed, list[str](), list[str]()
        self.seen: dict[str, Any] = {}

    def reproduce(
        self, stage: str, copy: Path, variables: dict[str, str], log: IO[str], enough: Enough = None
    ) -> bool:
        self.called.append(stage)
        self.seen = params.read_raw(copy / "params.yaml")
        assert variables["BATON_TRACKING"] == "off"
        if stage != "finetune":
            return True
        if self.failures:
            raise OutputError("stage finetune failed", got=self.failures.pop())
        path = Path(variables[points.VARIABLE])
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for place, value in enumerate(CURVE, 1):
                file.write(json.dumps({"step": place, "teacher/val_accuracy": value}) + "\n")
                file.flush()
                if self.speed == "slow" and enough is not None and enough():
                    return False
        (copy / "curves").mkdir(exist_ok=True)
        rows = "".join(f"teacher,{place},,{value}\n" for place, value in enumerate(CURVE, 1))
        (copy / "curves/finetune.csv").write_text(f"model,step,loss,val_accuracy\n{rows}")
        (copy / "metrics").mkdir(exist_ok=True)
        (copy / "metrics/finetune.json").write_text(json.dumps({"teacher": {"val_accuracy": max(CURVE)}}))
        return True


@pytest.fixture
def stages(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Stages:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(root / name, tmp_path)
    (tmp_path / "copy").mkdir()
    made = Stages()
    monkeypatch.setattr(running.reproduction, "reproduce", made.reproduce)
    monkeypatch.setattr(running.experiments, "record", lambda *_: "commit")
    monkeypatch.setattr(running.experiments, "known", dict)
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.0)
    return made


def place(own: params.Tune | None = None) -> Place:
    text = Path("params.yaml").read_text(encoding="utf-8")
    return Place("made", Path("copy"), ("finetune",), own or made_up.asked(), "accuracy", text)


def claimed(number: int = 3, seed: int | None = None, **values: Any) -> Work:
    nothing: Any = None
    return Work(number, seed, made_up.RECIPE | values, (), nothing, 0, lambda: None)


def never(curve: Sequence[float]) -> int | None:
    return None


def second(curve: Sequence[float]) -> int | None:
    return 1 if len(curve) > 1 else None


def test_a_trial_has_its_values_and_one_seed(stages: Stages) -> None:
    found = running.run(claimed(**{made_up.RATE: 3e-4}), place(), never)
    assert stages.called == ["tokenize", "finetune"], "nothing evaluates"
    assert (stages.seen["finetune"]["learning_rate"], stages.seen["finetune"]["seeds"]) == (3e-4, [0])
    assert "# the teacher" in Path("copy/params.yaml").read_text(), "comments stay"
    assert (found.state, found.value, found.figures) == (TrialState.COMPLETE, 0.75, list(CURVE))
    assert found.experiment == "tune-made-003"
    again = running.run(claimed(seed=5), place(), never)
    assert stages.seen["finetune"]["seeds"] == [5] and again.experiment == "tune-made-003-seed5"


def test_arrays_are_made_once(stages: Stages) -> None:
    here = place()
    for number in range(3):
        running.run(claimed(number), here, never)
    assert stages.called == ["tokenize", "finetune", "finetune", "finetune"]


@pytest.mark.parametrize("speed", ["slow", "fast"])
def test_stopped_in_time_or_too_late_is_the_same(stages: Stages, speed: str) -> None:
    """A stage that was faster than its watcher gives the same record: the curve up to the same validation."""
    stages.speed = speed
    found = running.run(claimed(), place(), second)
    assert (found.state, found.value, found.figures) == (TrialState.PRUNED, None, list(CURVE[:2]))
    assert [row["step"] for row in found.curve] == [1, 2] and found.experiment is None


def test_checkpoints_of_a_stopped_trial_are_removed_and_no_others(stages: Stages) -> None:
    made = params.read()
    section = params.flatten(made.finetune.model_dump(mode="json", exclude={"seeds"}))
    own = {f"params finetune.{key}": json.dumps(value) for key, value in section.items()}
    own |= {f"params {made_up.RATE}": json.dumps(1e-3), f"params {made_up.WORD}": '"linear"'}
    other = own | {f"params {made_up.RATE}": "0.5"}
    for name, marks in (("own", own), ("other", other)):
        folder = Path(".baton/checkpoints/finetune", name)
        folder.mkdir(parents=True)
        (folder / "fingerprint.json").write_text(json.dumps(marks))
        (folder / "writer.txt").write_text("process 1")
    later = time.time() + 5
    for path in Path(".baton/checkpoints").rglob("writer.txt"):
        os.utime(path, (later, later))
    running.run(claimed(), place(), second)
    assert [path.name for path in Path(".baton/checkpoints/finetune").iterdir()] == ["other"]


def test_errors_of_a_trial_and_others(stages: Stages) -> None:
    stages.failures = ["error: training diverged at step 3: its loss is not finite"]
    found = running.run(claimed(), place(), never)
    assert found.state is TrialState.FAIL and "diverged" in (found.error or "")
    stages.called.clear()
    bad = made_up.asked(
        ranges={made_up.RATE: {"kind": "float", "low": -1.0, "high": 1.0, "log": False, "step": None}}
    )
    values = {made_up.RATE: -0.5}
    found = running.run(replace(claimed(), values=values), place(bad), never)
    assert found.state is TrialState.FAIL and "learning_rate" in (found.error or "")
    assert not stages.called, "params that are not valid start nothing"
    stages.failures = ["error: the disk is full"]
    with pytest.raises(OutputError, match="the disk is full"):
        running.run(claimed(), place(), never)


def test_a_worker_tries_again_and_then_stops(stages: Stages, tmp_path: Path) -> None:
    own = made_up.asked(trials=2, finalists=1, seeds=(1,), prune=None)
    study = made_up.open_study(tmp_path / "study", own)
    off = params.NoTracking(kind="off")
    stages.failures = ["error: another process is doing this training run"] * 2
    worker.work(study, place(own), made_up.RECIPE, off)
    assert len(study.values) == 2
    stages.failures = ["error: the disk is full"] * 9
    other: Study = made_up.open_study(tmp_path / "other", own)
    with pytest.raises(OutputError, match="disk is full"):
        worker.work(other, place(own), made_up.RECIPE, off)
    stages.failures.clear()
    worker.work(other, place(own), made_up.RECIPE, off)
    assert other.done and made_up.told(other.trials) == made_up.told(study.trials)
