"""Test why a champion is retrained: changed params, code or base model."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from baton import params
from baton.lifecycle.retraining import decision
from baton.workspace import dvc_files
from baton.workspace.dvc_graph import Graph

SHARED = "src/shared"


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Write params and a folder that all stages share; return a dvc.lock that agrees with both."""
    monkeypatch.chdir(tmp_path)
    Path(SHARED).mkdir(parents=True)
    Path(SHARED, "module.py").write_text("x = 1\n")
    raw = {stage: {"seed": 0} for stage in decision.MAKING}
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    deps = [{"path": SHARED, "md5": dvc_files.md5(Path(SHARED))}]
    stages = {stage: {"deps": deps, "params": {"params.yaml": {stage: raw[stage]}}} for stage in raw}
    return {"schema": "2.0", "stages": stages}


def changed(then: dict[str, Any], now: dict[str, Any] | None = None) -> str:
    graphs = [Graph(yaml.safe_dump(lock), "a test") for lock in (then, now or then)]
    return decision._changed(*graphs, commit="")


def test_each_folder_is_digested_once(lock: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """All stages depend on the same folder."""
    asked: Counter[Path] = Counter()

    def counted(path: Path) -> str:
        asked[path] += 1
        return dvc_files.md5(path)

    monkeypatch.setattr(decision, "md5", counted)
    assert changed(lock) == ""
    assert asked == {Path(SHARED): 1}


def test_what_changed_is_named(lock: dict[str, Any]) -> None:
    now = lock | {"stages": lock["stages"] | {"download": {"outs": [{"path": decision.BASE, "md5": "b"}]}}}
    assert changed(lock, now) == "the base model"
    raw = params.read_raw()
    raw["finetune"]["seed"] = 1
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    assert changed(lock) == "param finetune.seed"
    Path(SHARED, "module.py").write_text("x = 2\n")
    assert changed(lock) == SHARED, "there is no git that knows the file"
    del lock["stages"]["preprocess"]
    assert changed(lock) == "the stage preprocess"
