"""The benchmark of several tasks: the params of each side, and a run of all sides on a tiny model."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from baton import params
from baton.tasks.figure_scale import Scale
from benchmarks import _project, tasks
from tests import tiny

OPTIONS = ["--rows", "60", "--other-rows", "80", "--test-rows", "30", "--steps", "12", "--seeds", "3"]


def together(chosen: str, *more: str) -> dict[str, Any]:
    return tasks.together(chosen, 3, tasks.parse([*OPTIONS, *more]))


@pytest.mark.parametrize("chosen", tasks.RECIPES)
def test_the_params_of_all_sides_are_valid(chosen: str) -> None:
    raw = together(chosen, "--mixing", "temperature", "--weight", "0.5")
    read = params.checked(raw, Path("x"))
    assert read.tasks and read.finetune.mixing == params.TemperatureMixing(kind="temperature", temperature=2)
    assert {own.weight for own in read.tasks.values()} == {0.5}
    assert read.preprocess.limit == params.Limit(train=60, test=30)
    for name, own in read.tasks.items():
        assert own.preprocess.limit == params.Limit(train=80, test=30) and own.preprocess.seed == 3
        single = params.checked(tasks.alone(raw, name, 99), Path("x"))
        assert (single.task, single.preprocess, single.source) == (
            own.task,
            own.preprocess,
            own.source or read.source,
        )
        assert not single.tasks and single.finetune.mixing is None and single.finetune.min_steps == 99
    single = params.checked(tasks.alone(raw, "main", 99), Path("x"))
    assert (single.task, single.preprocess, single.source) == (read.task, read.preprocess, read.source)
    left_out = {"mixing", "min_steps"}
    assert single.finetune.model_dump(exclude=left_out) == read.finetune.model_dump(exclude=left_out)


def test_differences_are_paired_and_their_interval_is_students(capsys: pytest.CaptureFixture[str]) -> None:
    found = {
        ("main", tasks.TOGETHER): [0.82, 0.86, 0.85],
        ("main", tasks.ALONE): [0.80, 0.83, 0.79],
        ("main", tasks.SHORT): [0.80, 0.83, 0.79],
        ("stars", tasks.TOGETHER): [1.0, 1.1, 1.3],
        ("stars", tasks.ALONE): [1.2, 1.2, 1.2],
    }
    scales = {"main": Scale("accuracy", 1, True), "stars": Scale("mae", -1, False)}
    tasks.report("films", found, scales)
    shown = capsys.readouterr().out
    gains = np.array([2.0, 3.0, 6.0])
    low, high = stats.t.interval(0.95, 2, gains.mean(), stats.sem(gains))
    assert f"| {tasks.ALONE} | 80.7% | +3.7 points ({low:+.1f} to {high:+.1f}) |" in shown
    assert f"| stars | mae | {tasks.ALONE} | 1.2 | -0.06667 (" in shown


@pytest.mark.slow
def test_all_sides_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """On the texts of `tiny`; every side scores the same test rows."""

    def write(scratch: Path, inbox: Path) -> None:
        for place, domain in enumerate(tasks._vader.FILES):
            rows = [
                (f"{text} {copy} {domain}", label, f"{copy} {text}")
                for label, texts in list(tiny.TEXTS.items())[:2]
                for text in texts
                for copy in range(20 + place)
            ]
            with (inbox / f"{domain}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("text", "label", "document"), *rows])
        tiny.write_base(inbox / "base")

    recipe = params.read_raw

    def read(path: Path) -> dict[str, Any]:
        base = {"kind": "local", "folder": "inbox/base", "licence": "none"}
        return recipe(path) | ({"base": base} if path.name == "csv.yaml" else {})

    two = {name: tasks._vader.FILES[name] for name in ("films", "tweets")}
    monkeypatch.setattr(tasks._vader, "FILES", two)
    monkeypatch.setattr(tasks._vader, "write", write)
    monkeypatch.setattr(params, "read_raw", read)
    tasks.main(["--sets", "films", *OPTIONS, "--work", str(tmp_path / "project")])
    shown = capsys.readouterr().out
    assert [shown.count(f"| {side} |") for side in (tasks.TOGETHER, tasks.ALONE, tasks.SHORT)] == [2, 2, 1]
    assert "| main | accuracy | together |" in shown and "| tweets | accuracy | together |" in shown
    assert _project.ROOT not in (tmp_path / "project").parents
