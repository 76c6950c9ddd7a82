"""`baton export` asks for an export in params.yaml, once, and runs its stage."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from baton import params, storage
from baton.cli import export_commands
from baton.cli.export_commands import METRICS, TIMINGS
from baton.contracts import task_spec
from baton.errors import BatonError, ParamsError
from baton.export import extra
from baton.workspace import commands
from tests import tiny

FIGURES = {
    "of": "student",
    "chosen": "openvino int8, NNCF",
    "same": 0.9991,
    "bytes": 17_700_000,
    "candidates": [
        {
            "name": name,
            "same": same,
            "largest_difference": 0.5,
            "accuracy": 0.97,
            "bytes": 17_700_000,
            "kept": kept,
        }
        for name, same, kept in (("openvino int8, NNCF", 0.996, True), ("onnxruntime int8", 0.4, False))
    ],
    "export": {"accuracy": 0.971, "accuracy_interval": [0.96, 0.98]},
    "model": {"accuracy": 0.972},
}
TIMES = {
    "candidates": {"openvino int8, NNCF": 400.0},
    "ratios": {"teacher, torch fp32": {"times_as_fast": 6.5, "interval": [6.1, 6.9]}},
    "samples_per_second": {"export": 800.0, "teacher, torch fp32": 123.0},
    "threads": 2,
}


@pytest.fixture
def ran(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Work in a project with the shipped params; return what was asked of DVC."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((root / "params.yaml").read_text())
    storage.write_json(Path("data/clean/task.json"), task_spec.described(tiny.TASK))
    asked: list[tuple[str, ...]] = []

    def dvc(*words: str, own: Mapping[str, str]) -> None:
        asked.append(words)
        assert own == {"BATON_SUMMARY": "later"}
        storage.write_json(METRICS, FIGURES)
        storage.write_json(TIMINGS, TIMES)

    monkeypatch.setattr(commands, "dvc", dvc)
    return asked


def lines() -> list[str]:
    return Path("params.yaml").read_text().splitlines()


def test_the_section_is_written_once_and_the_rest_stays(
    ran: list[tuple[str, ...]], root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lines()
    export_commands.export(None)
    section = [line for line in lines() if line not in before]
    assert [line for line in before if line not in lines()] == [
        line for line in before if line.startswith("export: null")
    ]
    assert section[0].startswith("export: # ")
    assert any(line.startswith("  calibration_rows: 320 # of train") for line in section)
    asked = params.read().export
    assert asked is not None and asked.model == "student"
    assert asked.engines == ("onnxruntime", "openvino") and asked.precisions == ("fp32", "bf16", "int8")
    written = lines()
    export_commands.export(None)
    assert lines() == written and ran == [("repro", "export")] * 2
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("params.yaml now has a section export, for the student") == 1
    assert "* openvino int8, NNCF" in shown and "left out" in shown
    assert "test: 99.91% of answers are those of the student; 17.7 MB" in shown
    assert "6.50 times as fast as the teacher, torch fp32 (6.10 to 6.90)" in shown
    assert "97.1" not in shown, "figures on test are for `summary --test`"
    assert "set promotion.model to export" in shown


def test_figures_on_test_are_shown_if_asked_for(
    ran: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    export_commands.summary(test=True)
    assert capsys.readouterr().out == "", "there is no export"
    storage.write_json(METRICS, {})
    export_commands.summary(test=True)
    assert capsys.readouterr().out == "", "params say null"
    commands_done = (storage.write_json(METRICS, FIGURES), storage.write_json(TIMINGS, TIMES))
    assert commands_done and not ran
    export_commands.summary(test=True)
    assert "accuracy 97.1% [96.0, 98.0] (the student itself 97.2%)" in " ".join(
        capsys.readouterr().out.split()
    )


def test_the_model_can_be_changed(ran: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]) -> None:
    export_commands.export("teacher")
    text = Path("params.yaml").read_text()
    assert "  model: teacher # or student" in text
    export_commands.export("student")
    assert "export.model is now student" in capsys.readouterr().out
    changed = [(a, b) for a, b in zip(text.splitlines(), lines(), strict=True) if a != b]
    assert [(a.split(" #")[0], b.split(" #")[0]) for a, b in changed] == [
        ("  model: teacher", "  model: student")
    ]
    before = lines()
    export_commands.export("student")
    assert lines() == before


Broken = Callable[[pytest.MonkeyPatch], object]


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extra.PACKAGES, "openvino", ("no_such_package",))


def flow(_: pytest.MonkeyPatch) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("\nexport: null", '\n"export": null'))


def written(_: pytest.MonkeyPatch) -> None:
    Path("params.yaml").write_text((Path(__file__).parent.parent / "recipes/sequence-csv.yaml").read_text())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (without, "no no_such_package"),
        (flow, "no line that begins with `export:`"),
        (written, "task.kind is sequence"),
    ],
)
@pytest.mark.parametrize("model", [None, "teacher"])
def test_after_an_error_params_are_as_before(
    ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, broken: Broken, said: str, model: Any
) -> None:
    broken(monkeypatch)
    before = lines()
    with pytest.raises(ParamsError, match=said):
        export_commands.export(model)
    assert lines() == before and ran == []


def test_missing_packages_leave_an_earlier_section_alone(
    ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    export_commands.export(None)
    without(monkeypatch)
    before = lines()
    with pytest.raises(ParamsError, match="make install EXTRAS=export"):
        export_commands.export("teacher")
    assert lines() == before and len(ran) == 1


def test_an_export_that_fails_keeps_the_section(
    ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its limits can be edited; `export: null` takes it back."""

    def fails(*_: str, own: Mapping[str, str]) -> None:
        raise BatonError("`dvc repro export` failed")

    monkeypatch.setattr(commands, "dvc", fails)
    with pytest.raises(BatonError):
        export_commands.export(None)
    assert params.read().export is not None
