"""Test tables, profiles and new rows of pairs: a row is both its texts."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton import params
from baton.errors import ModelError
from baton.lifecycle import test_table
from baton.lifecycle.promotion import scoring
from baton.lifecycle.retraining import drift, unlabelled
from tests import tiny

CLASSES = params.ClassesTask(kind="classes")


def write(folder: Path, second: str = "{} of course") -> Path:
    """Write clean tables whose second texts are made of the first."""
    tiny.write_clean(folder)
    for split in ("train", "val", "test"):
        path = folder / f"{split}.parquet"
        table = pq.read_table(path)
        pairs = [second.format(text) for text in table["text"].to_pylist()]
        pq.write_table(table.add_column(2, "text_pair", pa.array(pairs)), path)
    return folder


def test_a_test_table_gives_pairs_and_digests_of_both_texts(tmp_path: Path) -> None:
    table = test_table.read(write(tmp_path / "one") / "test.parquet")
    rows = pq.read_table(table.path).to_pylist()
    [pairs] = table.inputs()
    assert pairs == [[row["text"], row["text_pair"]] for row in rows]
    same = test_table.read(write(tmp_path / "two", "{}  OF course") / "test.parquet")
    other = test_table.read(write(tmp_path / "three", "{} of no course") / "test.parquet")
    assert same.digests == table.digests, "case and white space do not matter"
    assert not set(other.digests) & set(table.digests), "the second text does"
    assert test_table.training_digests(tmp_path / "one") != test_table.training_digests(tmp_path / "three")


def test_a_model_of_single_texts_is_not_scored_on_pairs(tmp_path: Path) -> None:
    """Of two columns MLflow would pass it the first."""
    one, two = (SimpleNamespace(inputs=["string"] * count) for count in (1, 2))  # of mlflow.types.schema
    pairs = test_table.read(write(tmp_path / "pairs") / "test.parquet")
    texts = test_table.read(tiny.write_clean(tmp_path / "texts") / "test.parquet")

    def model(schema: Any) -> Any:
        return SimpleNamespace(metadata=SimpleNamespace(get_input_schema=lambda: schema))

    with pytest.raises(ModelError, match=r"reads one text, and the rows of .*test\.parquet are pairs"):
        scoring._refuse_half_a_pair(model(one), pairs, "models:/m/1")
    for schema, table in ((two, pairs), (None, pairs), (one, texts)):
        scoring._refuse_half_a_pair(model(schema), table, "models:/m/1")


def test_a_changed_second_text_is_a_new_row_with_its_words(tmp_path: Path) -> None:
    earlier = drift.profile(write(tmp_path / "one"))
    assert drift.measure(tmp_path / "one", earlier).changed == 0
    found = drift.measure(write(tmp_path / "two", "{} in a foreign tongue, which is longer"), earlier)
    assert found.changed > 0 and found.distances["lengths"].value > 0.9
    assert "course" in earlier["vocabulary"] and found.distances["unknown"].value > 0.2


def test_new_rows_are_read_from_two_columns(
    tmp_path: Path, settings: Callable[..., params.TextPreprocess], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("question,answer\nwhy,because of it\nwhen,\n,now\nhow,so\n")
    sample = unlabelled.read(path, settings(text_column="question", text_pair_column="answer"), CLASSES)
    assert sample.pairs == [("why", "because of it"), ("how", "so")]
    assert list(sample.inputs([1, 0])) == [["why", "because of it"], ["how", "so"]]
    assert test_table.digests(sample.keys)[0] == test_table.digests(["WHY ␟ because  of it"])[0]
    said = capsys.readouterr()
    assert "row 2 (second text: no text)" in " ".join((said.out + said.err).split())
