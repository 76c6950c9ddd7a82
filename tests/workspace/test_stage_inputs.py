"""What a stage and those before it depend on, by dvc.yaml."""

from pathlib import Path

import pytest

from baton.workspace import stage_inputs


def test_what_a_stage_depends_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    known = stage_inputs.of("finetune")
    assert {"inbox", "src/baton/train", "stages/tokenize.py", "requirements.lock"} <= set(known.paths)
    assert not any(path.startswith(("data", "models")) for path in known.paths)
    assert "src/baton/distill" not in known.paths and "src/baton/distill" in stage_inputs.of("distill").paths
    assert {"source", "base", "preprocess", "tokenize", "finetune", "runtime"} <= set(known.sections)
    assert "distill" not in known.sections and "evaluate" not in known.sections
