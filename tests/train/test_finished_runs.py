"""Test that finished training runs are reused by the same experiment with other seeds, and by no other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from baton.train import finished_runs, resume
from tests import tiny

SECTIONS: dict[str, Any] = {"finetune": {"learning_rate": 0.1}, "runtime": {}}
LAST = "00000002-00000002-finished"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a project with a stage that depends on data, code and the lock."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/arrays.npy").write_bytes(b"0123")
    (tmp_path / "code.py").write_text("x = 1\n")
    (tmp_path / "requirements.lock").write_text("torch==1\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  finetune:\n    cmd: x\n    deps: [data, code.py, requirements.lock]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def trained(*seeds: int, sections: dict[str, Any] = SECTIONS, **machine: Any) -> list[int]:
    """Run a stage over these seeds; return those that it trained."""
    new = []
    with resume.opened("finetune", sections, tiny.machine(**machine), seeds) as stage:
        for seed in seeds:
            training = stage.training(f"teacher-{seed}")
            found = training.load()
            if found is None:
                new.append(seed)
                training.save(LAST, {"best": {"weight": torch.full((9,), float(seed))}}, {"finished": True})
            else:
                assert found.parts["best"]["weight"].tolist() == [seed] * 9
        stage.succeeded(seeds)
    return new


def test_only_what_is_new_is_trained(project: Path) -> None:
    assert trained(0) == [0]
    assert trained(0, 1) == [1]
    assert trained(2, 1, 0) == [2]
    assert trained(1) == []


def test_what_an_earlier_attempt_has_done_is_known(project: Path) -> None:
    def begun(*seeds: int, stop: bool = False) -> bool:
        with resume.opened("finetune", SECTIONS, tiny.machine(), seeds) as stage:
            found = stage.begun(seeds)
            if stop:
                stage.training(f"teacher-{seeds[0]}").save("00000001-00000002", {}, {"finished": False})
        return found

    assert trained(0) == [0]
    assert begun(0, 1), "the first has finished"
    assert not begun(1, stop=True), "not with this seed"
    assert begun(1), "stopped after a checkpoint"


def test_the_same_list_trains_all(project: Path) -> None:
    """DVC runs a stage with the same params only if it is forced to, or if its outputs are lost."""
    assert trained(0, 1) == [0, 1]
    assert trained(0, 1) == [0, 1]
    assert trained(0, 1, 2) == [2]


CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "param": lambda: {"sections": {**SECTIONS, "finetune": {"learning_rate": 0.2}}},
    "data": lambda: Path("data/arrays.npy").write_bytes(b"0124") and {},
    "code": lambda: Path("code.py").write_text("x = 2\n") and {},
    "lock": lambda: Path("requirements.lock").write_text("torch==2\n") and {},
    "threads": lambda: {"threads": 2},
    "precision": lambda: {"precision": "bf16"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_experiment_trains_all(project: Path, change: str) -> None:
    assert trained(0) == [0]
    assert trained(0, 1, **CHANGES[change]()) == [0, 1]


@pytest.mark.parametrize("change", CHANGES)
def test_without_the_fingerprint_it_would_be_served_the_old_one(
    project: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control."""
    monkeypatch.setattr(resume, "fingerprint", lambda *_: {})
    assert trained(0) == [0]
    assert trained(0, 1, **CHANGES[change]()) == [1]


def test_another_version_of_a_package_trains_all(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trained(0) == [0]
    monkeypatch.setattr(resume.importlib.metadata, "version", lambda name: "9.9")
    assert trained(0, 1) == [0, 1]


def test_a_broken_one_is_named_and_trained_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained(0, 1)
    [path] = project.glob(f".baton/finished/finetune/*/teacher-1/{LAST}/best.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert trained(0, 1, 2) == [1, 2]
    assert "broken (the sha256 of best.safetensors differs" in " ".join(capsys.readouterr().out.split())
    assert trained(0, 1, 2, 3) == [3]


def test_experiments_that_were_not_used_for_long_go(project: Path) -> None:
    for rate in range(finished_runs.KEEP + 2):
        trained(0, sections={**SECTIONS, "finetune": {"learning_rate": rate}})
    assert len(list(project.glob(".baton/finished/finetune/*"))) == finished_runs.KEEP
    assert list(project.glob(".baton/checkpoints/finetune/*")) == []
    assert trained(0, 1, sections={**SECTIONS, "finetune": {"learning_rate": finished_runs.KEEP + 1}}) == [1]
    assert trained(0, 1, sections={**SECTIONS, "finetune": {"learning_rate": 0}}) == [0, 1]


def test_what_cannot_be_kept_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / ".baton").mkdir()
    (project / ".baton/finished").write_text("")
    assert trained(0) == [0]
    assert "cannot be reused when a seed is added" in " ".join(capsys.readouterr().out.split())
    assert trained(0, 1) == [0, 1]
