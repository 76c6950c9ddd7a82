"""Cached results are measured once per set of dependencies."""

from pathlib import Path

import numpy as np
import pytest

from baton.measure import result_cache


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def test_measured_once_for_the_same_things() -> None:
    calls: list[int] = []

    def make() -> result_cache.Arrays:
        calls.append(1)
        return {"a.b": np.arange(3), "c": np.array([[True]])}

    for _ in range(2):
        got = result_cache.arrays("things", {"x": 1, "y": [2]}, make)
        assert got["a.b"].tolist() == [0, 1, 2]
        assert got["c"].dtype == bool
    assert len(calls) == 1
    result_cache.arrays("things", {"y": [2], "x": 1}, make)  # another order is the same key
    assert len(calls) == 1
    for known in ({"x": 1, "y": [3]}, {"x": 1}):
        result_cache.arrays("things", known, make)
    result_cache.arrays("others", {"x": 1, "y": [2]}, make)
    assert len(calls) == 4


def test_figures_too() -> None:
    assert result_cache.figures("speed", {"x": 1}, lambda: {"a": 1.5}) == {"a": 1.5}
    assert result_cache.figures("speed", {"x": 1}, lambda: pytest.fail("measured again")) == {"a": 1.5}


def test_a_measurement_that_fails_leaves_nothing(home: Path) -> None:
    def make() -> result_cache.Arrays:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        result_cache.arrays("things", {}, make)
    with pytest.raises(ValueError, match="pickle"):
        result_cache.arrays("things", {}, lambda: {"a": np.array([object()])})
    assert [path for path in home.rglob("*") if path.is_file()] == []
