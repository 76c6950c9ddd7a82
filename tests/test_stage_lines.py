"""What stages and commands print: what one needs to see, and more if something is out of the ordinary."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from baton import tracking
from baton.cli import app, project_app
from baton.errors import OutputError
from baton.evaluate.report import terminal
from baton.runtime import resolve
from baton.tracking.run import SyncReport
from baton.workspace import commands
from stages import download, preprocess, tokenize
from tests import tiny


def file(path: str, origin: str) -> dict[str, Any]:
    return {"path": path, "bytes": 1234, "sha256": "0" * 64, "origin": origin}


@pytest.mark.parametrize(
    ("origins", "said", "columns"),
    [
        (("inbox/base/a.json", "inbox/base/b.json"), "licence: MIT, from inbox/base", 3),
        (("inbox/base/a.json", "inbox/other/b.json"), "licence: MIT ", 4),
        (("https://host/own-a.json", "https://host/own-b.json"), "licence: MIT ", 4),
        (("a.json", "b.json"), "licence: MIT ", 4),
    ],
)
def test_an_origin_that_all_files_share_is_named_once(
    origins: tuple[str, str], said: str, columns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {str(number): file(f"{'ab'[number]}.json", origin) for number, origin in enumerate(origins)}
    download.show(Path("data/base"), {"licence": "MIT", "files": files})
    title, _, heads, *_ = capsys.readouterr().out.splitlines()
    assert f"{title} ".startswith(f"data/base, {said}") and heads.count("┃") == columns + 1


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"empty": 2, "mojibake": 0, "leakage": 0}, "2 other checks found nothing (data/clean/report.json"),
        ({"empty": 2, "mojibake": 0}, "1 other check found nothing"),
        ({"empty": 0}, "1 check found nothing"),
        ({"empty": 1}, ""),
    ],
)
def test_checks_that_found_nothing_are_counted(
    counts: dict[str, int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = {
        name: {"policy": "drop", "found": {"train": count}, "dropped": {"train": count}, "rows": []}
        for name, count in counts.items()
    }
    preprocess.show_findings({"rows": {"raw": {"train": 9}}, "checks": checks | {"drift": {}}})
    shown = capsys.readouterr().out
    assert said in shown and ("found nothing" in shown) == bool(said)
    assert ("empty" in shown) == (counts["empty"] > 0) and "mojibake" not in shown


def test_a_column_for_each_split(capsys: pytest.CaptureFixture[str]) -> None:
    part = {"documents": 1000, "cut": 0.25, "lengths": {"p50": 20, "p95": 400, "max": 5000}}
    names = {"documents": "documents", "lengths": "length", "cut": "documents cut"}
    tokenize.show("tokens", names, dict.fromkeys(("train", "val", "test"), part))
    lines = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [[cell.strip() for cell in line[:2]] for line in lines] == [
        ["documents", "1,000"],
        ["length, median", "20"],
        ["length, 95th percentile", "400"],
        ["length, maximum", "5,000"],
        ["documents cut", "25.0%"],
    ]


def test_the_runtime_in_a_line() -> None:
    reasons = {"device": "cpu: no CUDA device", "precision": "bf16: set in params; this one only emulates it"}

    def machine(**changes: Any) -> resolve.Runtime:
        return dataclasses.replace(tiny.machine(), reasons=reasons, **changes)

    runtime = machine(threads=1)
    assert runtime.said().startswith("cpu (no CUDA device), ") and runtime.said().endswith(", 1 thread")
    assert runtime.remarks() == ["precision bf16: this one only emulates it"]
    alone = machine(sharding="full", loader_workers=1)
    assert "split weights" not in alone.said() and alone.said().endswith(", 1 loader worker")
    assert "2 processes, split weights" in machine(sharding="full", processes=2).said()


@pytest.fixture
def delivered(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Work in a project whose DVC fails; return the variables of DVC, and then one for each delivery."""
    monkeypatch.chdir(tmp_path)
    for name in ("dvc.yaml", "params.yaml"):
        Path(name).write_text((root / name).read_text())
    done: list[dict[str, str]] = []

    def dvc(*_: str, own: dict[str, str]) -> None:
        done.append(own)
        raise OutputError("`dvc repro` failed", got="exit code 255")

    monkeypatch.setattr(commands, "dvc", dvc)
    monkeypatch.setattr(project_app, "inbox", lambda: None)
    monkeypatch.setattr(tracking, "sync", lambda: (done.append({}), SyncReport())[1])
    return done


def test_what_waits_is_delivered_also_if_a_stage_fails(delivered: list[dict[str, str]]) -> None:
    """Stages say nothing of what waits, since `baton repro` delivers it."""
    result = CliRunner().invoke(app.app, ["repro"])
    assert result.exit_code == 1 and "sync:" not in result.output
    assert delivered == [{"BATON_SUMMARY": "later", "BATON_DELIVERY": "later"}, {}]


def test_commands_can_be_typed_as_they_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(terminal.sys, "executable", str(Path.cwd() / ".venv/bin/python"))
    assert terminal.command("ui") == "`.venv/bin/baton ui`"
    (tmp_path / "baton").write_text("#!/bin/sh\n")
    (tmp_path / "baton").chmod(0o755)
    assert terminal.command("ui") == "`baton ui`"
