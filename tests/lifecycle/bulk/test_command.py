"""`baton predict` on the command line: which model, which paths, which options reach the job."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from baton.cli import app, lifecycle_commands
from baton.lifecycle.bulk import launch
from baton.lifecycle.bulk.settings import Options, read
from baton.lifecycle.serving import launch as served


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Options, int | None]]:
    """Return the jobs that commands begin, in a project whose subfolder is the working directory."""
    found: list[tuple[Options, int | None]] = []
    (tmp_path / "dvc.yaml").touch()
    for name in ("sub/logged", "verified"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sub/logged/MLmodel").touch()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setattr(launch, "become", lambda options, threads: found.append((options, threads)))
    monkeypatch.setattr(lifecycle_commands, "opened_store", lambda: contextlib.nullcontext("store"))
    monkeypatch.setattr(served, "prepared", lambda store, uri: Path("verified"))
    return found


def predict(*arguments: str) -> Result:
    return CliRunner().invoke(app.app, ["predict", *arguments])


def test_a_model_of_the_registry_is_verified(begun: Any, tmp_path: Path) -> None:
    result = predict(
        "models:/news@champion", "in.csv", "--out", "out.csv", "--text", "body", "--shard", "2/8"
    )
    assert result.exit_code == 0, result.output
    folder = tmp_path / "sub"
    options = Options(
        str(tmp_path / "verified"),
        str(folder / "in.csv"),
        str(folder / "out.csv"),
        {"text": "body"},
        shard="2/8",
    )
    assert begun == [(options, None)]
    assert read(launch.command(options)[-1]) == options


def test_a_folder_is_relative_to_the_caller(begun: Any, tmp_path: Path) -> None:
    result = predict("logged", "in.csv", "--out", "out.csv", "--threads", "3", "--precision", "fp32")
    assert result.exit_code == 0, result.output
    ((options, threads),) = begun
    assert (options.model, options.precision, threads) == (str(tmp_path / "sub/logged"), "fp32", 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b", "c", "--out", "out.csv"], "too many arguments"),
        (["in.csv", "--out", "out.xlsx"], "no known suffix"),
        (["models:/news@champion", "in.csv", "--out", "o.csv", "--shard", "0/8"], "add 1"),
        (["missing", "in.csv", "--out", "o.csv"], "no logged model"),
    ],
)
def test_what_is_wrong_is_said_before_a_model_is_fetched(
    begun: Any, arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    result = predict(*arguments)
    assert result.exit_code == 1 and said in result.output + "".join(capfd.readouterr()) and begun == []
