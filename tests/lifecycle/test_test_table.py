"""Reading test tables of texts and of images."""

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from baton import storage
from baton.errors import DataError
from baton.lifecycle import test_table
from tests import tiny
from tests.lifecycle import pictures


def test_a_table_of_texts(tmp_path: Path) -> None:
    path = tiny.write_clean(tmp_path) / "test.parquet"
    table = test_table.read(path)
    assert (table.kind, len(table.ids), table.task) == ("text", 12, tiny.TASK)
    [texts] = table.inputs()
    assert texts == pq.read_table(path)["text"].to_pylist()
    assert table.digests == test_table.digests(texts) and len(set(table.digests)) == 12


def test_rows_without_labels_count_as_seen(tmp_path: Path) -> None:
    path = tiny.write_clean(tmp_path) / "test.parquet"
    pq.write_table(pq.read_table(path, columns=["id", "text"]), tmp_path / "frozen.parquet")
    digests = set(test_table.row_digests(path, "text"))
    before = set(test_table.training_digests(tmp_path))
    (tmp_path / "frozen.parquet").rename(tmp_path / "unlabelled.parquet")
    assert set(test_table.training_digests(tmp_path)) == before | digests
    assert digests - before


def test_rows_of_other_tasks_count_as_seen(tmp_path: Path) -> None:
    """The encoder was trained on them."""
    path = tiny.write_clean(tmp_path) / "test.parquet"
    before, digests = set(test_table.training_digests(tmp_path)), set(test_table.row_digests(path, "text"))
    other = storage.of_task(tmp_path, "stars")
    other.mkdir(parents=True)
    pq.write_table(pq.read_table(path, columns=["id", "text"]), other / "train.parquet")
    assert set(test_table.training_digests(tmp_path)) == before | digests
    assert digests - before


def test_a_frozen_table_of_an_earlier_version_has_its_names_next_to_it(tmp_path: Path) -> None:
    """Earlier versions wrote the names of the classes to labels.json."""
    path = tiny.write_clean(tmp_path) / "test.parquet"
    now = test_table.read(path)
    (tmp_path / "task.json").unlink()
    storage.write_json(tmp_path / "labels.json", sorted(tiny.TEXTS))
    earlier = test_table.read(path)
    assert (earlier.task, earlier.sha256) == (now.task, now.sha256)
    assert earlier.targets.tolist() == now.targets.tolist()


def test_a_table_of_images_is_read_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pictures.draw(40)
    path = pictures.write(tmp_path, {"test": rows}) / "test.parquet"
    monkeypatch.setitem(test_table.PORTION, "images", 16)
    table = test_table.read(path)
    assert (table.kind, table.ids[:2], table.targets[:4].tolist(), table.task) == (
        "images",
        ["test:1", "test:2"],
        [0, 1, 2, 0],
        tiny.task(*pictures.LABELS),
    )
    portions = list(table.inputs())
    assert [len(some) for some in portions] == [16, 16, 8]
    assert [image for some in portions for image in some] == [image for image, _ in rows]


def test_a_copy_of_an_image_in_another_format_is_the_same_row(tmp_path: Path) -> None:
    rows = pictures.draw(6)
    copies = []
    for image, label in rows:
        target = io.BytesIO()
        Image.open(io.BytesIO(image)).save(target, "BMP")
        copies.append((target.getvalue(), label))
    pictures.write(
        tmp_path, {"train": rows[:4], "val": rows[4:], "test": [*copies, *pictures.draw(1, seed=1)]}
    )
    known = set(test_table.training_digests(tmp_path))
    assert [digest in known for digest in test_table.read(tmp_path / "test.parquet").digests] == [
        True
    ] * 6 + [False]


@pytest.mark.parametrize(
    ("column", "expected"), [("digest", "id, image, digest and label"), ("image", "id, text and label")]
)
def test_a_column_that_is_missing_is_named(tmp_path: Path, column: str, expected: str) -> None:
    path = pictures.write(tmp_path, {"test": pictures.draw(3)}) / "test.parquet"
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(DataError, match=f"has no column .*(?s:.*){expected}"):
        test_table.read(path)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    pictures.write(tmp_path, {"test": []})
    with pytest.raises(DataError, match="has no rows"):
        test_table.read(tmp_path / "test.parquet")
