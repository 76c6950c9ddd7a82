"""The split `transfer`: the rows of train as they are, then rows without labels, whose targets are zeros."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from baton.arrays import text_arrays
from baton.arrays.split_rows import SplitRows
from baton.contracts import transfer_set
from baton.contracts.input_spec import Head, Truncation, Windows
from baton.contracts.task_spec import Classes, Labels, Numbers, TaskSpec
from baton.texts import document_windows
from tests import tiny

TEXTS = ["the tanker left port and the wheat rose", "corn", "trade talks failed again in the port " * 3]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return document_windows.open_tokenizer(tiny.write_base(tmp_path_factory.mktemp("base")), 16)


def write_tables(folder: Path, task: TaskSpec = tiny.TASK, targets: Any = None, **columns: Any) -> None:
    """Write train.parquet, of texts with targets, and unlabelled.parquet."""
    texts = [text for own in tiny.TEXTS.values() for text in own]
    kinds: dict[str, Any] = {
        "classes": pa.int32(),
        "labels": pa.list_(pa.int32()),
        "numbers": pa.list_(pa.float64(), max(1, len(task.names))),
    }
    targets = [1 + place % 2 for place in range(len(texts))] if targets is None else targets * len(texts)
    table = {"id": [f"train:{n}" for n in range(len(texts))], "text": texts}
    table |= {task.column: pa.array(targets, kinds[task.kind])}
    pq.write_table(pa.table(table | columns), folder / "train.parquet")
    ids = [f"unlabelled:{n}" for n in range(len(TEXTS))]
    pq.write_table(pa.table({"id": ids, "text": TEXTS}), folder / "unlabelled.parquet")


def tokenize(
    folder: Path,
    tokenizer: Tokenizer,
    task: TaskSpec = tiny.TASK,
    how: Truncation = text_arrays.HEAD,
    chunk: int = 5,
) -> dict[str, Any]:
    """Write the arrays of train and transfer; return the statistics of both."""
    found = {}
    for unlabelled in (None, folder / "unlabelled.parquet"):
        split = SplitRows(folder / "train.parquet", unlabelled).split
        found[split] = text_arrays.tokenize(
            folder / "train.parquet",
            tokenizer,
            folder,
            chunk,
            lambda count: None,
            task,
            how,
            unlabelled=unlabelled,
        )
    return found


def documents(arrays: text_arrays.TextArrays) -> list[list[list[int]]]:
    """Return the windows of each document."""
    ends = np.arange(len(arrays) + 1) if arrays.documents is None else arrays.documents
    return [
        [arrays.tokens[arrays.offsets[w] : arrays.offsets[w + 1]].tolist() for w in range(*pair)]
        for pair in itertools.pairwise(ends)
    ]


@pytest.mark.parametrize("how", [Head(), Windows(3, 2)])
@pytest.mark.parametrize("chunk", [5, 100])
def test_rows_of_train_come_first_and_are_the_same(
    tmp_path: Path, tokenizer: Tokenizer, how: Truncation, chunk: int
) -> None:
    write_tables(tmp_path)
    found = tokenize(tmp_path, tokenizer, how=how, chunk=chunk)
    train, transfer = (text_arrays.open_arrays(tmp_path, split, tiny.TASK) for split in found)
    assert documents(transfer)[: len(train)] == documents(train)
    assert transfer.targets.all.tolist() == [*train.targets.all.tolist(), 0, 0, 0]
    ids = text_arrays.read_ids(tmp_path, "transfer")
    assert ids == [*text_arrays.read_ids(tmp_path, "train"), *(f"unlabelled:{n}" for n in range(3))]
    mask = transfer_set.mask(tmp_path, "transfer", len(transfer))
    assert mask.tolist() == [True] * len(train) + [False] * 3
    own = documents(transfer)[len(train) :]
    assert [windows[0][:10] for windows in own] == [tokenizer.encode(text).ids[:10] for text in TEXTS]
    assert (len(own[2]) > 1) == isinstance(how, Windows)
    assert found["transfer"]["documents"] == len(transfer) == found["train"]["documents"] + 3
    assert found["transfer"]["unknown"]["classes"] == [], "rows without labels say nothing of classes"
    assert found["train"]["unknown"]["classes"]


@pytest.mark.parametrize(
    ("task", "target", "zero"),
    [
        (Classes(("a", "b", "c")), [2], 0),
        (Labels(("a", "b", "c")), [[0, 2]], [0.0, 0.0, 0.0]),
        (Numbers(("x", "y"), (0.0, 0.0), (1.0, 1.0), "mse", 0.9), [[1.5, 2.5]], [0.0, 0.0]),
    ],
)
def test_targets_of_rows_without_labels_are_zeros(
    tmp_path: Path, tokenizer: Tokenizer, task: TaskSpec, target: Any, zero: Any
) -> None:
    write_tables(tmp_path, task, target)
    tokenize(tmp_path, tokenizer, task)
    train, transfer = (text_arrays.open_arrays(tmp_path, split, task) for split in ("train", "transfer"))
    own, every = train.targets.all, transfer.targets.all
    assert every[: len(own)].tolist() == own.tolist() and own.any()
    assert every[len(own) :].tolist() == [zero] * 3
    assert every.dtype == own.dtype


def test_arrays_do_not_depend_on_chunks(tmp_path: Path, tokenizer: Tokenizer) -> None:
    content = []
    for chunk in (1, 4, 100):
        (folder := tmp_path / str(chunk)).mkdir()
        write_tables(folder)
        tokenize(folder, tokenizer, chunk=chunk)
        content.append({path.name: path.read_bytes() for path in folder.glob("transfer.*.npy")})
    assert content[0] == content[1] == content[2] and len(content[0]) == 4
