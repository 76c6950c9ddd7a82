"""The number of processors heeds affinity and the quotas of control groups."""

import os
from pathlib import Path

import pytest

from baton import processors

EVERY = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("50000 100000", 1),
        ("150000 100000", min(2, EVERY)),
        ("99900000 100000", EVERY),
        ("max 100000", EVERY),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "own").write_text("1:cpu:/other\n0::/pod/inner\n")
    (tmp_path / "pod/inner").mkdir(parents=True)
    (tmp_path / "pod/cpu.max").write_text(f"{quota}\n")  # of a group that holds this one
    assert processors.available(tmp_path, tmp_path / "own") == expected


def test_without_control_groups_affinity_counts(tmp_path: Path) -> None:
    assert processors.available(tmp_path, tmp_path / "none") == EVERY
