"""What training costs: features that others computed count once, and nothing is made up after a resume."""

import json
import time
from pathlib import Path

import pytest

from baton.contracts import training_costs
from baton.fitting import costs

FIGURES = {"trained_parameters": 25.0, "parameters": 100.0}


def test_training_runs_are_added_and_features_count_once() -> None:
    reused = {"train.npy": training_costs.Costs(1000.0, 1e15), "val.npy": training_costs.Costs()}
    spent = costs.Costs(resumed=False, reused=reused)
    for _ in range(3):  # folds or seeds, each of which reads the same features
        with spent.counted():
            time.sleep(0.01)
    found = spent.found(FIGURES)
    assert found.seconds is not None and 1000.03 <= found.seconds < 1010
    assert found.peak_memory_bytes == 1e15, "as if the features had been computed here"
    own = costs.Costs(resumed=False, reused={})
    with own.counted():
        pass
    alone = own.found(FIGURES)
    assert alone.seconds is not None and alone.seconds < 1
    assert alone.peak_memory_bytes is not None and 1e6 < alone.peak_memory_bytes < 1e15


def test_seconds_of_a_resumed_stage_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "costs.json"
    monkeypatch.setenv(training_costs.VARIABLE, str(path))
    spent = costs.Costs(resumed=True, reused={})
    with spent.counted():
        pass
    told = spent.write(FIGURES)
    assert told["trained_share"] == 0.25 and "training_seconds" not in told
    content = json.loads(path.read_text())
    assert content["seconds"] is None and content["trained_parameters"] == 25
    monkeypatch.delenv(training_costs.VARIABLE)
    path.unlink()
    assert "training_seconds" in costs.Costs(resumed=False, reused={}).write(FIGURES)
    assert not path.exists()
