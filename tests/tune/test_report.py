"""Reports of a study: a CSV of all trials, pictures, and a table with means over seeds."""

import csv
from pathlib import Path

import pytest

from baton.tune import report, study
from tests.tune import made_up
from tests.tune.made_up import asked, finish


@pytest.fixture
def done(tmp_path: Path) -> study.Study:
    return finish(tmp_path / "a", asked())


def test_every_trial_and_repeat_has_a_row(done: study.Study, tmp_path: Path) -> None:
    files = report.write(done, tmp_path / "reports")
    assert [path.name for path in files] == [
        "trials.csv",
        "history.png",
        "importance.png",
        "parallel_coordinates.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files[1:])
    with files[0].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows[:12]] == list(map(str, range(12))) and len(rows) == 12 + 3 * 2
    assert rows[0]["state"] == "complete" and rows[0]["experiment"] == "tune-made-000"
    assert float(rows[0]["accuracy"]) == made_up.figure(made_up.RECIPE)
    stopped = [row for row in rows if row["state"] == "stopped"]
    assert stopped and all(row["accuracy"] == "" and row["validations"] != "3" for row in stopped)
    assert {row["seed"] for row in rows[12:]} == {"7", "8"}


def test_what_cannot_be_drawn_is_left_out(tmp_path: Path) -> None:
    one = finish(tmp_path / "a", asked(trials=1, seeds=()))
    assert [path.name for path in report.write(one, tmp_path / "reports")] == ["trials.csv"]


def test_the_table(done: study.Study, capsys: pytest.CaptureFixture[str]) -> None:
    report.show(done)
    said = " ".join(capsys.readouterr().out.split())
    assert "12 trials" in said and "stopped" in said and "mean of seeds 7, 8" in said
    assert "0 (the recipe)" in said and "accuracy on validation" in said
