"""The tokenizing benchmark runs and measures what it claims."""

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import tokenize_speed


def test_it_prints_a_line_for_each_size(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenize_speed.main(["--project", str(project), "--documents", "30", "50", "--repeats", "1"])
    printed = capsys.readouterr().out
    assert "at most 16 tokens, chunks of 10 documents" in printed
    assert [line.split(" | ")[0] for line in printed.splitlines() if line.startswith("| ")][2:] == [
        "| 30",
        "| 50",
    ]


def test_documents_are_made_of_real_ones_and_vary(project: Path, tmp_path: Path) -> None:
    source = project / "data/clean/train.parquet"
    tokenize_speed.write(tmp_path / "train.parquet", source, 5000, 0)
    made = pq.read_table(tmp_path / "train.parquet")
    assert len(made) == 5000 and len(set(made["id"].to_pylist())) == 5000
    words = {word for document in pq.read_table(source)["text"].to_pylist() for word in document.split()}
    texts = made["text"].to_pylist()
    assert {word for document in texts for word in document.split()} <= words
    assert len(set(texts)) > 500
    again = tokenize_speed.mixed(pq.read_table(source)["text"].to_pylist(), random.Random(0))
    assert [next(again) for _ in range(100)] == texts[:100]
