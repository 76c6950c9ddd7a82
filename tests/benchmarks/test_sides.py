"""Sides that take turns, ratios, and projects that are not prepared."""

import functools
import os
from pathlib import Path

import pytest

from baton.errors import DataError
from benchmarks import _sides

ROOT = Path(__file__).parent.parent.parent


def test_sides_take_turns_and_the_order_is_turned_round() -> None:
    called: list[str] = []
    sides = {name: functools.partial(called.append, name) for name in ("ours", "theirs")}
    results = _sides.take_turns(sides, 3, str)
    assert called == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert {name: len(runs) for name, runs in results.items()} == {"ours": 3, "theirs": 3}


def test_a_ratio_is_formed_within_a_repeat() -> None:
    # The machine became three times slower; the medians of each side alone would give 10 / 10.
    assert _sides.ratio([30.0, 10.0, 10.0], [15.0, 5.0, 5.0]) == "2.00 (2.00 to 2.00)"
    assert _sides.ratio([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) == "2.00 (1.00 to 3.00)"


def test_every_side_has_a_process_of_its_own() -> None:
    sides = {"ours": os.getpid, "theirs": os.getpid}
    with _sides.processes(sides) as measures:
        kept = [measures[name]() for name in ("ours", "theirs", "ours", "theirs")]
    assert kept[:2] == kept[2:]
    assert len({os.getpid(), *kept}) == 3
    with _sides.processes(sides, fresh=True) as measures:
        fresh = [measures["ours"](), measures["ours"]()]
    assert len({os.getpid(), *fresh}) == 3


def test_our_side_has_the_environment_of_the_launcher() -> None:
    sides = {name: functools.partial(os.getenv, "GLIBC_TUNABLES") for name in ("ours", "theirs")}
    before = os.environ.get("GLIBC_TUNABLES")
    with _sides.processes(sides) as measures:
        assert (measures["ours"](), measures["theirs"]()) == (_sides.LAUNCHER["GLIBC_TUNABLES"], before)
    with _sides.processes(sides, all_launched=True) as measures:
        assert measures["theirs"]() == _sides.LAUNCHER["GLIBC_TUNABLES"]
    assert os.environ.get("GLIBC_TUNABLES") == before
    assert _sides.LAUNCHER["GLIBC_TUNABLES"] in (ROOT / "stages/run").read_text()


def test_a_project_that_is_not_prepared_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data/arrays/meta\.json[\s\S]*dvc repro tokenize"):
        _sides.require(tmp_path, "data/arrays/meta.json")
    with pytest.raises(DataError, match="dvc repro finetune"):
        _sides.require(tmp_path, "models/teacher")


def test_peak_memory_is_that_of_the_process() -> None:
    with _sides.processes(
        {"small": functools.partial(hold, 1), "large": functools.partial(hold, 300)}, fresh=True
    ) as measures:
        small, large = measures["small"](), measures["large"]()
    assert 250 < (large - small) / 2**20 < 350


def hold(mebibytes: int) -> int:
    held = b"x" * (mebibytes * 2**20)
    return _sides.peak_memory() if held else 0
