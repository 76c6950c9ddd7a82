"""Test that other tasks are not trained on texts on which the main one is measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import DataError
from baton.tables import clean, held_out
from baton.tables.rows import Row
from tests.data_fixtures import CLASSES


def row(text: str, pair: str | None = None) -> Row:
    return Row("train", 1, text, "a", pair=pair)


@pytest.mark.parametrize(
    ("pairs", "texts", "given", "expected"),
    [
        (False, {"a b"}, row("A  b"), True),
        (False, {"a b"}, row("a c"), False),
        (False, {"a b"}, row("x", "a b"), True),
        (True, {"a \u241f b", "a", "b"}, row("a", "B"), True),
        (True, {"a \u241f b", "a", "b"}, row("a", "c"), False),
        (True, {"a \u241f b", "a", "b"}, row("b"), True),
        (True, {"a \u241f b", "a", "b"}, row("c"), False),
    ],
)
def test_texts_and_pairs(pairs: bool, texts: set[str], given: Row, expected: bool) -> None:
    assert held_out.HeldOut(frozenset(texts), pairs).has(given) is expected


def raw(folder: Path, *labels: str) -> Path:
    """Write rows of which each label is a column, and train is the only file."""
    folder.mkdir(parents=True)
    lines = [f"a text number {number}," + ",".join("ny"[number % 2] for _ in labels) for number in range(60)]
    (folder / "train.csv").write_text("\n".join([",".join(["text", *labels]), *lines]) + "\n")
    (folder / "manifest.json").write_text('{"files": {"train": {"path": "train.csv"}}}')
    return folder


def texts(folder: Path, split: str) -> set[str]:
    return {*pq.read_table(folder / f"{split}.parquet")["text"].to_pylist()}


def test_rows_of_train_are_left_out_with_a_note(
    tmp_path: Path, settings: Callable[..., params.TextPreprocess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, main, other = raw(tmp_path / "raw", "label", "other"), tmp_path / "main", tmp_path / "other"
    clean.clean(data, main, settings(), CLASSES)
    own = settings(label_column="other", seed=1)
    before = clean.clean(data, other, own, CLASSES)
    measured = texts(main, "val") | texts(main, "test")
    leaked = texts(other, "train") & measured
    assert leaked and not before["notes"]
    report = clean.clean(data, other, own, CLASSES, held_out.read(main))
    assert not texts(other, "train") & measured
    rows = before["rows"]["clean"]
    assert report["rows"]["clean"] == rows | {"train": rows["train"] - len(leaked)}
    (note,) = report["notes"]
    assert note.startswith(f"{len(leaked)} of {rows['train']} rows of train have a text of the main task's")
    assert len(texts(other, "test")) == rows["test"], "they are measured on all their rows"


def test_no_row_is_left(
    tmp_path: Path, settings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = raw(tmp_path / "raw", "label")
    everything = held_out.HeldOut(frozenset(f"a text number {number}" for number in range(60)), False)
    with pytest.raises(DataError, match="no row is left for train"):
        clean.clean(data, tmp_path / "other", settings(), CLASSES, everything)
    assert not (tmp_path / "other").exists()
