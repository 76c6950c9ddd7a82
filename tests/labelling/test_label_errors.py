"""`baton label-errors` on a tiny project: the list, what people fill in, and what stops it."""

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from baton.batches import text_batches
from baton.cli import app
from baton.labelling import label_errors, ranking
from tests import tiny

ROOT = Path(__file__).parent.parent.parent
LIST = Path("inbox/corrections.csv")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with 48 documents of train, tokenized, that is the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "recipes/csv.yaml", "params.yaml")
    Path("inbox").mkdir()
    tiny.write_arrays(Path("data"))
    Path("dvc.yaml").write_text("stages: {finetune: {deps: [data/arrays, data/base]}}\n")
    return tmp_path


def edit(**sections: Any) -> None:
    yaml = YAML()
    raw = yaml.load(Path("params.yaml"))
    raw.update(sections)
    yaml.dump(raw, Path("params.yaml"))


def baton(*arguments: str) -> Result:
    return CliRunner().invoke(app.app, ["label-errors", *arguments])


def listed(path: Path = LIST) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [*csv.DictReader(file)]


def test_the_list_keeps_what_people_filled_in(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = baton("--top", "5")
    assert result.exit_code == 0, result.output
    first = listed()
    assert len(first) == 5
    assert "set `corrections: inbox/corrections.csv`" in " ".join(result.output.split())
    text = LIST.read_text(encoding="utf-8-sig")
    LIST.write_text(text.replace(f"{first[2]['id']},,", f"{first[2]['id']},ship,"), encoding="utf-8")
    monkeypatch.setattr(text_batches.TextSplit, "batch", None)  # features are not computed again
    edit(corrections=str(LIST))
    result = baton("--top", "5")
    assert result.exit_code == 0, result.output
    again = listed()
    assert [(row["id"], row["label"]) for row in again[:2]] == [
        (first[2]["id"], "ship"),
        (first[0]["id"], ""),
    ]
    assert len(again) == 6
    assert "set `corrections" not in result.output
    (project / "inbox/next").mkdir()
    monkeypatch.chdir(project / "inbox/next")
    assert baton("--out", "more.csv", "--top", "1").exit_code == 0
    assert [row["label"] for row in listed(project / "inbox/next/more.csv")] == ["ship", ""]


def test_the_same_inputs_give_the_same_bytes(project: Path) -> None:
    assert baton("--top", "9").exit_code == 0
    first = LIST.read_bytes()
    assert baton("--top", "9").exit_code == 0
    assert LIST.read_bytes() == first


def test_the_users_data_is_never_overwritten(project: Path) -> None:
    data = "id,label,text\ntrain:1,ship,a\n"
    LIST.write_text(data)
    result = baton()
    assert result.exit_code == 1 and "was not overwritten" in result.output
    assert LIST.read_text() == data


def test_columns_of_ones_own_are_never_lost(project: Path) -> None:
    assert baton("--top", "3").exit_code == 0
    lines = LIST.read_text(encoding="utf-8").splitlines()
    LIST.write_text(
        "\n".join(f"{line},{'remark' if not place else 'ask Ann'}" for place, line in enumerate(lines))
    )
    before = LIST.read_bytes()
    result = baton("--top", "3")
    assert result.exit_code == 1 and "has columns that would be lost" in result.output
    assert "remark" in result.output and LIST.read_bytes() == before


def test_an_empty_list_is_not_to_be_brought_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "_wrong", lambda labels, _: np.zeros(len(labels), np.bool_))
    result = baton()
    assert result.exit_code == 0, result.output
    assert "nothing needs to be corrected" in result.output and "set `corrections" not in result.output
    assert listed() == []


def test_a_list_without_rows_can_be_made_again(project: Path) -> None:
    assert baton("--top", "3").exit_code == 0
    LIST.write_text(LIST.read_text(encoding="utf-8").splitlines()[0] + "\n")
    assert baton("--top", "2").exit_code == 0
    assert len(listed()) == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda: shutil.rmtree("data/arrays"), "run `dvc repro tokenize`"),
        (lambda: shutil.copy("data/clean/val.parquet", "data/clean/train.parquet"), "does not match"),
        (lambda: Path("data/clean/val.parquet").unlink(), "data/clean/val.parquet is missing"),
        (lambda: shutil.copy(ROOT / "recipes/labels-csv.yaml", "params.yaml"), "task.kind is labels"),
    ],
    ids=["arrays", "other rows", "no table", "labels"],
)
def test_what_is_missing_is_one_error(project: Path, spoil: Any, said: str) -> None:
    spoil()
    result = baton()
    assert result.exit_code == 1
    assert said in " ".join(result.output.split())
    assert not LIST.exists()


def test_the_default_is_in_the_inbox() -> None:
    assert label_errors.PATH == LIST
    assert "inbox/corrections.csv" in baton("--help").output
