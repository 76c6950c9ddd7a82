"""Arrays of pairs: ids and types as by the tokenizers library, in chunks, and figures over both texts."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from baton.arrays import length_choice, text_arrays
from baton.batches import array_splits
from baton.batches.text_batches import TextSplit
from baton.contracts import input_spec
from baton.errors import DataError
from baton.texts import document_windows
from tests import tiny

PAIRS = [
    ("wheat exports rose", "the tanker left port"),
    ("port", "trade talks with japan failed and imports of goods rose sharply in the strait near the port"),
    ("東京 wheat", "port 東京"),
    ("corn crop and soybean harvest", "wheat"),
]


def write(folder: Path, truncation: input_spec.Truncation = text_arrays.HEAD, pairs: bool = True) -> dict:
    base = tiny.write_base(folder / "base")
    columns = {
        "id": [f"train:{row}" for row in range(len(PAIRS))],
        "text": [pair[0] for pair in PAIRS],
        **({"text_pair": [pair[1] for pair in PAIRS]} if pairs else {}),
        "label": pa.array([0, 1, 2, 0], pa.int32()),
    }
    pq.write_table(pa.table(columns), folder / "train.parquet")
    (folder / "arrays").mkdir()
    tokenizer = document_windows.open_tokenizer(base, 16)
    return text_arrays.tokenize(
        folder / "train.parquet", tokenizer, folder / "arrays", 3, lambda count: None, tiny.TASK, truncation
    )


def test_the_arrays_are_the_librarys_encodings(tmp_path: Path) -> None:
    report = write(tmp_path)
    arrays = text_arrays.open_arrays(tmp_path / "arrays", "train", tiny.TASK)
    reference = Tokenizer.from_file(str(tmp_path / "base/tokenizer.json"))
    whole = [reference.encode(*pair) for pair in PAIRS]
    reference.enable_truncation(16, strategy="longest_first")
    expected = [reference.encode(*pair) for pair in PAIRS]
    assert arrays.types is not None and arrays.types.dtype == np.int8
    for row, made in enumerate(expected):
        own = slice(arrays.offsets[row], arrays.offsets[row + 1])
        assert arrays.tokens[own].tolist() == made.ids and arrays.types[own].tolist() == made.type_ids
    lengths = [len(made.ids) for made in whole]
    assert report["lengths"]["max"] == max(lengths) > 16 and report["truncated"] == sum(
        length > 16 for length in lengths
    )
    left_out = sum(max(0, length - 16) for length in lengths) / sum(length - 3 for length in lengths)
    assert report["left_out_share"] == pytest.approx(left_out)
    unknown = [made.ids.count(1) for made in whole]
    assert report["unknown"]["tokens"] == sum(unknown) and unknown[2] >= 2, "of both texts"


def test_types_that_do_not_match_the_tokens_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    np.save(tmp_path / "arrays/train.types.npy", np.zeros(3, np.int8))
    with pytest.raises(DataError, match="do not match"):
        text_arrays.open_arrays(tmp_path / "arrays", "train", tiny.TASK)


def test_texts_alone_have_no_types(tmp_path: Path) -> None:
    write(tmp_path, pairs=False)
    assert text_arrays.open_arrays(tmp_path / "arrays", "train", tiny.TASK).types is None


def test_examples_are_both_texts_of_a_pair(tmp_path: Path) -> None:
    write(tmp_path)
    reads = input_spec.TextInput(16, text_arrays.HEAD, 0, pair=True)
    split = TextSplit(text_arrays.open_arrays(tmp_path / "arrays", "train", tiny.TASK), 0)
    assert array_splits.examples(split, tmp_path / "base", reads, 1) == [list(PAIRS[0])]


def test_the_sample_for_the_length_has_both_texts(tmp_path: Path) -> None:
    write(tmp_path)
    file = pq.ParquetFile(tmp_path / "train.parquet")
    assert [*length_choice._sample(file, ["text", "text_pair"])] == [[*map(list, zip(*PAIRS, strict=True))]]
