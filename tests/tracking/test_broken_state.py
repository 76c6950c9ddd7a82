"""A broken file of the project's state, as a power cut leaves it, is discarded: nothing gets stuck."""

from pathlib import Path

import pytest

from baton import storage
from baton.compare import baseline_fits, outcome
from baton.evaluate.report import terminal_validation
from baton.measure import result_cache
from baton.tracking import restored_runs
from baton.train import compiling

BROKEN = (b"", b'{"lock": "', b"[]", b"\xff\xfe")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".baton").mkdir()
    return tmp_path / ".baton"


@pytest.mark.parametrize("broken", BROKEN)
def test_an_empty_synced_json_does_not_block_delivery(state: Path, broken: bytes) -> None:
    (state / restored_runs.SYNCED).write_bytes(broken)
    restored_runs.remember(pipeline="run")
    assert storage.read_json(state / restored_runs.SYNCED) == {"pipeline": "run"}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_count_of_looks_does_not_block_the_summary(state: Path, broken: bytes) -> None:
    table = state.parent / "test.parquet"
    table.write_bytes(b"rows")
    assert terminal_validation.looked("figures", table) == 1
    (state / terminal_validation.LOOKS).write_bytes(broken)
    assert terminal_validation.looked("other figures", table) == 1


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_measurements_are_measured_again(state: Path, broken: bytes) -> None:
    known, calls = {"model": "digest"}, list[int]()

    def make() -> dict[str, int]:
        calls.append(1)
        return {"speed": 1}

    assert result_cache.figures("speed", known, make) == {"speed": 1}
    result_cache.place("speed", known, ".json").write_bytes(broken)
    assert result_cache.figures("speed", known, make) == {"speed": 1} and len(calls) == 2


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_arrays_are_measured_again(state: Path, broken: bytes) -> None:
    import numpy as np

    known = {"model": "digest"}
    result_cache.place("words", known, ".npz").parent.mkdir(parents=True)
    result_cache.place("words", known, ".npz").write_bytes(broken)
    assert result_cache.arrays("words", known, lambda: {"a": np.ones(2)})["a"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_costs_and_outcomes_are_as_if_there_were_none(state: Path, broken: bytes) -> None:
    for path in (state / "costs.json", outcome._place("one")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(broken)
    assert compiling._read(state / "costs.json") is None
    assert outcome.kept("one") is None


def test_half_a_kept_fit_is_as_if_there_were_none(state: Path) -> None:
    place = state / "compare"
    place.mkdir()
    path = place / "fit.json"
    storage.write_json(path, {})
    path.with_suffix(".npz").write_bytes(b"")
    assert baseline_fits._kept(path) is None
