"""The large tables of the benchmark have the rows that it promises."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton.tables.near_duplicates import shingles
from benchmarks import large_table

WORDS = [f"{one}{other}{last}" for one in "bdfgklm" for other in "aeiou" for last in "nrstlm"]


def test_texts_are_as_long_as_promised_and_some_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_table, "PART", 400)
    pq.write_table(pa.table({"text": [" ".join(WORDS)]}), tmp_path / "words.parquet")
    large_table.write(tmp_path / "table.parquet", tmp_path / "words.parquet", 1000, seed=0)
    table = pq.read_table(tmp_path / "table.parquet")
    texts = table["text"].to_pylist()
    assert table.num_rows == 1000 and table.schema.names == ["text", "label", "author"]
    assert len({*table["label"].to_pylist()}) == large_table.CLASSES
    assert min(map(len, texts)) >= 100 and max(map(len, texts)) <= 600 + len(WORDS[0]) + 1
    assert 900 < len({*texts}) < 1000


def test_orders_of_a_text_share_hardly_any_run_of_words() -> None:
    orders = [large_table._in_order(" ".join(WORDS), number) for number in range(large_table.ORDERS)]
    assert orders[0] == " ".join(WORDS)
    assert all(sorted(own.split()) == sorted(WORDS) for own in orders)
    for place, own in enumerate(orders):
        for other in orders[:place]:
            assert len(shingles(own) & shingles(other)) < 0.05 * len(WORDS)
