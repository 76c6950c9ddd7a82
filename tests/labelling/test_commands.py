"""`baton learning-curve` and `baton suggest` on the arrays of tiny documents."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from baton import params, storage
from baton.cli import app
from baton.contracts import transfer_set
from tests import tiny

ROOT = Path(__file__).parents[2]
GRAPH = "stages: {finetune: {cmd: none, deps: [data/arrays, data/base]}}\n"
FREE = [f"{text} again" for texts in tiny.TEXTS.values() for text in texts]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the arrays of 156 labelled documents of three classes, 12 without labels."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(GRAPH)
    write_params(lambda raw: None)
    tiny.write_arrays(Path("data"), copies=13)
    ids = pa.array([f"unlabelled:{place + 1}" for place in range(len(FREE))])
    table = pa.table({"id": ids, "text": pa.array(FREE)})
    pq.write_table(table, Path("data/clean") / transfer_set.TABLE)
    tiny.write_transfer(Path("data"))
    return tmp_path


def write_params(change: Any) -> None:
    raw = params.read_raw(ROOT / "recipes/csv.yaml")
    raw["runtime"] |= {"threads": 1, "precision": "fp32"}
    raw["source"]["unlabelled"] = "inbox/more.csv"
    raw["evaluate"]["bootstrap"]["resamples"] = 50
    raw["preprocess"]["label_column"] = "topic"
    change(raw)
    YAML(typ="safe", pure=True).dump(raw, Path("params.yaml"))


def baton(*arguments: str) -> Result:
    return CliRunner().invoke(app.app, arguments)


def refused(said: str, *arguments: str) -> None:
    done = baton(*arguments)
    assert done.exit_code == 1
    assert said in done.output


@pytest.mark.slow
def test_a_learning_curve_is_written_and_said(project: Path) -> None:
    done = baton("learning-curve", "--more", "50,1000", "--draws", "2")
    assert done.exit_code == 0, done.output
    assert "features of train" in done.output and "Back-test: the points up to 62 labels" in done.output
    folder = project / "reports/learning_curve"
    with (folder / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["labels"]) for row in rows] == [11, 15, 22, 31, 44, 62, 88, 124]
    assert all(float(row["low"]) <= float(row["measured"]) <= float(row["high"]) for row in rows)
    found = storage.read_json(folder / "curve.json")["curves"]["probe"]
    assert found["labels"] == 156 and found["measured_to"] == 124 and found["rows"] == 156
    assert found["verdict"] in {"grows", "flat", "noisy", "unpredicted"}
    assert bool(found["gains"]) is (found["verdict"] == "grows")
    assert (folder / "curve.png").stat().st_size > 5000
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    again = baton("learning-curve", "--more", "50,1000", "--draws", "2")
    assert "features of train" not in again.output, "they are kept"
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_its_features_are_those_of_training(project: Path) -> None:
    """Another learning rate leaves them as they are; another pooling does not."""
    baton("suggest", "--n", "1")
    write_params(lambda raw: raw["finetune"].update(learning_rate=0.5, epochs=9))
    assert "features of" not in baton("suggest", "--n", "1", "--out", "two.csv").output
    write_params(lambda raw: raw["finetune"]["head"].update(pooling="cls"))
    assert "features of" in baton("suggest", "--n", "1", "--out", "three.csv").output
    assert len(list((project / ".baton/features").iterdir())) == 2


def test_suggested_rows_are_written_once(project: Path) -> None:
    done = baton("suggest", "--n", "5")
    assert done.exit_code == 0, done.output
    path = project / "inbox/to_label.csv"
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "text", "topic"] and len(rows) == 5
    known = dict(zip((f"unlabelled:{place + 1}" for place in range(len(FREE))), FREE, strict=True))
    assert all(known[row["id"]] == row["text"] and row["topic"] == "" for row in rows)
    assert len({row["id"] for row in rows}) == 5
    before = path.read_bytes()
    refused("not overwritten", "suggest", "--n", "5")
    assert path.read_bytes() == before
    again = baton("suggest", "--n", "5", "--out", "other.csv")
    assert again.exit_code == 0 and (project / "other.csv").read_bytes() == before


def test_more_rows_than_there_are_is_said(project: Path) -> None:
    done = baton("suggest", "--n", "500")
    assert "only 12 rows without labels, not 500" in " ".join(done.output.split())


@pytest.mark.parametrize("command", ["learning-curve", "suggest"])
def test_without_arrays_it_says_which_stage_to_run(project: Path, command: str) -> None:
    shutil.rmtree(project / "data/arrays")
    refused("dvc repro tokenize", command)


@pytest.mark.parametrize("command", ["learning-curve", "suggest"])
def test_another_task_is_refused(project: Path, command: str) -> None:
    meta = storage.read_json(project / "data/arrays/meta.json")
    meta["task"] = {"kind": "labels", "names": ["a", "b"]}
    storage.write_json(project / "data/arrays/meta.json", meta)
    refused("one class per row", command)


def test_without_rows_to_choose_from_it_says_how_to_have_some(project: Path) -> None:
    transfer_set.mask_path(project / "data/arrays", transfer_set.TRANSFER).unlink()
    refused("source.unlabelled", "suggest")
    assert not (project / "inbox").exists()


def test_few_labels_are_refused(project: Path) -> None:
    shutil.rmtree(project / "data")
    tiny.write_arrays(Path("data"), copies=3)
    refused("too few labels", "learning-curve", "--draws", "2")
    assert not (project / "reports").exists()


@pytest.mark.parametrize("command", ["learning-curve", "suggest"])
def test_help(command: str) -> None:
    assert "Usage:" in baton(command, "--help").output
