"""Clean tables of texts as targets: what is kept, what is dropped and why."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from baton import params, storage
from baton.contracts import task_spec
from baton.contracts.task_spec import Sequence
from baton.errors import DataError
from baton.tables import clean, target_cells
from baton.tables.sequence_cells import SequenceCells

RECIPES = Path(__file__).parents[2] / "recipes"
PARAMS = params.read(RECIPES / "sequence-csv.yaml")
TASK = params.SequenceTask(kind="sequence", target_length=12, beams=2, validation_rows=9)
ROWS = [(f"source {row} of many words", f"words {row}") for row in range(40)]


def cleaned(folder: Path, rows: list[tuple[Any, Any]], **checks: str) -> dict[str, Any]:
    raw = folder / "raw"
    raw.mkdir()
    lines = ["text,target", *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    (raw / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    storage.write_json(raw / "manifest.json", {"files": {"train": {"path": "train.csv"}}})
    settings = PARAMS.preprocess
    policies = settings.checks.model_copy(update=checks)
    own = settings.model_copy(update={"checks": policies})
    return clean.clean(raw, folder / "clean", own, TASK)


def test_targets_are_kept_as_they_are(tmp_path: Path) -> None:
    report = cleaned(tmp_path, [*ROWS, ("Some Source", "  Ein ﬁnes  Wort ")])
    tables = [pq.read_table(tmp_path / f"clean/{split}.parquet") for split in ("train", "val", "test")]
    assert sum(len(table) for table in tables) == 41
    assert tables[0].schema.names == ["id", "text", "target"]
    targets = {target for table in tables for target in table["target"].to_pylist()}
    assert "Ein ﬁnes  Wort" in targets
    assert task_spec.read_file(tmp_path / "clean") == Sequence(12, 2, 9)
    assert report["classes"] == {}
    assert "without_label" not in report


def test_rows_without_a_visible_target_are_named(tmp_path: Path) -> None:
    report = cleaned(tmp_path, [*ROWS * 5, ("one more", ""), ("and more", "  \u200b ")])
    found = report["checks"]["missing_label"]
    assert found["rows"] == ["train:201", "train:202"]
    assert found["dropped_rows"] == ["train:201", "train:202"]


def test_a_row_repeated_with_its_target_is_dropped_and_one_with_another_target_is_reported(
    tmp_path: Path,
) -> None:
    report = cleaned(tmp_path, [*ROWS, ROWS[0], (ROWS[1][0], "another")])
    assert report["checks"]["duplicate"]["dropped_rows"] == ["train:41"]
    assert report["checks"]["conflict"]["rows"] == ["train:2", "train:42"]
    assert (
        "'another', but ['another', 'words 1'] in all" in report["checks"]["conflict"]["reasons"]["train:42"]
    )
    assert report["checks"]["conflict"]["dropped"] == {"train": 0}


def test_a_file_without_targets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no targets: no row of train has a text"):
        cleaned(tmp_path, [(text, "") for text, _ in ROWS])


def test_a_cell_that_is_a_list_is_malformed() -> None:
    assert target_cells.of(TASK) == SequenceCells(TASK)
    assert SequenceCells(TASK).read(["a"]) == "target is a list; a text is needed"


def test_a_note_says_that_few_different_targets_look_like_classes(tmp_path: Path) -> None:
    report = cleaned(tmp_path, [(f"source {row} of many words", f"class {row % 3}") for row in range(300)])
    assert any("300 rows have only 3 different targets" in note for note in report["notes"])
