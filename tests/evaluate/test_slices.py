"""Accuracy by slice, compared with a direct count."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from baton.evaluate import slices
from baton.evaluate.baselines import Outputs
from baton.evaluate.class_reports import ClassReports
from baton.evaluate.inputs import Rows
from tests import tiny

TASK = ClassReports(tiny.task("no", "yes"))
LABELS = np.array([0, 1, 0, 1, 1])
TEST = Rows([f"test:{number}" for number in range(1, 6)], [""] * 5, LABELS)
OUTPUTS = {
    "good": Outputs(LABELS, np.zeros((5, 2), np.float32)),
    "half": Outputs(np.array([0, 0, 0, 0, 1]), np.zeros((5, 2), np.float32)),
}


def test_slices_are_counted(tmp_path: Path) -> None:
    table = {
        "id": TEST.ids,
        "text": TEST.texts,
        "label": LABELS,
        "weight": [1.0] * 5,
        "site": ["b", "a", "b", "a", "b"],
        "year": ["1"] * 5,
    }
    pq.write_table(pa.table(table), tmp_path / "test.parquet")
    kept = slices.read(tmp_path, "label")
    assert kept == {"site": table["site"], "year": table["year"]}
    rows = slices.table(TASK, kept, TEST, OUTPUTS, 0.9)
    counted = [
        ("site", "b", 3, "good", 3),
        ("site", "b", 3, "half", 3),
        ("site", "a", 2, "good", 2),
        ("site", "a", 2, "half", 0),
    ]
    counted += [("year", "1", 5, "good", 5), ("year", "1", 5, "half", 3)]
    assert len(rows) == len(counted)
    for row, (*names, right) in zip(rows, counted, strict=True):
        assert row[:4] == names
        expected = binomtest(right, int(row[2])).proportion_ci(0.9, "wilson")
        assert row[4:] == pytest.approx([right / row[2], expected.low, expected.high])


def test_rare_values_are_one_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MOST_VALUES", 2)
    rows = slices.table(TASK, {"site": ["a", "a", "b", "c", "b"]}, TEST, {"half": OUTPUTS["half"]}, 0.9)
    assert [row[1:5] for row in rows] == [
        ["a", 2, "half", 0.5],
        ["b", 2, "half", 1.0],
        [slices.REST, 1, "half", 0.0],
    ]
