"""Test available memory: the machine's, or less if this process's control group or a parent has a limit."""

from pathlib import Path

import numpy as np
import psutil
import pytest

from baton.runtime import memory

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulate a machine with 64 GiB free, and control groups job/step, as a scheduler creates them."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 64 * GIB}))
    (tmp_path / "groups/job/step").mkdir(parents=True)
    (tmp_path / "own").write_text("1:name=systemd:/other\n0::/job/step\n")
    return tmp_path / "groups"


def limit(group: Path, most: str, used: int, files: int) -> None:
    (group / "memory.max").write_text(f"{most}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon {used - files}\ninactive_file {files}\n")


@pytest.mark.parametrize("limited", ["job", "job/step", "."])
def test_the_narrowest_limit_counts(groups: Path, limited: str) -> None:
    assert memory.available(groups, groups.parent / "own") == 64 * GIB
    limit(groups / "job/step", "max", 10 * GIB, 0)
    limit(groups / limited, str(16 * GIB), 10 * GIB, 3 * GIB)
    assert memory.available(groups, groups.parent / "own") == 9 * GIB, "file pages can be reclaimed"
    limit(groups / limited, str(16 * GIB), 20 * GIB, 3 * GIB)
    assert memory.available(groups, groups.parent / "own") == 0


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    free = memory.available(tmp_path, tmp_path / "none")
    assert 0 < free <= psutil.virtual_memory().total


def test_the_highest_peak_outlives_a_reset() -> None:
    block = np.ones(40_000_000)  # 320 MB
    before = memory.peak_memory()
    del block
    memory.reset_peak()
    assert memory.peak_memory() < before - 200e6
    assert memory.highest() > before - 1e6 > 300e6
