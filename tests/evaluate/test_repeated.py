"""Accuracy without the rows that training has nearly seen."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from baton import storage
from baton.errors import DataError
from baton.evaluate import repeated
from baton.evaluate.baselines import Outputs
from baton.evaluate.class_reports import ClassReports
from baton.evaluate.inputs import Rows
from tests import tiny

TASK = ClassReports(tiny.task("no", "yes"))
LABELS = np.array([0, 1, 0, 1, 1, 0])
TEST = Rows([f"test:{number}" for number in range(1, 7)], [""] * 6, LABELS)
# Of the repeated rows 1, 2 and 6, `memory` has all right, `honest` the last two.
OUTPUTS = {
    "memory": Outputs(np.array([0, 1, 1, 0, 1, 0]), np.zeros((6, 2), np.float32)),
    "honest": Outputs(np.array([1, 1, 0, 1, 1, 0]), np.zeros((6, 2), np.float32)),
}


def test_the_rows_are_left_out() -> None:
    figures = repeated.figures(TASK, {"test:1", "test:2", "test:6"}, TEST, OUTPUTS, 0.9)
    for name, right in (("memory", 1), ("honest", 3)):
        expected = binomtest(right, 3).proportion_ci(0.9, "wilson")
        assert figures[name]["accuracy_without_near_duplicates"] == right / 3
        assert figures[name]["accuracy_without_near_duplicates_interval"] == pytest.approx(
            [expected.low, expected.high]
        )


@pytest.mark.parametrize("repeats", [set[str](), set(TEST.ids)])
def test_no_figure_where_none_or_all_are_left_out(repeats: set[str]) -> None:
    assert repeated.figures(TASK, repeats, TEST, OUTPUTS, 0.9) == {}


def test_the_report_names_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)report.json cannot be used.*next: +run `dvc repro preprocess`"):
        repeated.read(tmp_path)
    for content, rows in (
        ({"near_duplicates": {"test_rows": ["test:3"]}}, {"test:3"}),
        ({"rows": {}}, None),
        ([], None),
    ):
        storage.write_json(tmp_path / "report.json", content)
        if rows is None:
            with pytest.raises(DataError, match="cannot be used"):
                repeated.read(tmp_path)
        else:
            assert repeated.read(tmp_path) == rows
