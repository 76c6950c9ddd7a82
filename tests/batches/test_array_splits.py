"""meta.json is read into the task and the input, and one that cannot be read is named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from baton import storage
from baton.arrays import text_arrays
from baton.batches import array_splits
from baton.contracts import input_spec, task_spec
from baton.errors import DataError
from baton.measure import measurements
from baton.texts import document_windows
from tests import tiny

META: dict[str, Any] = {
    "task": task_spec.described(tiny.TASK),
    "input": input_spec.described(tiny.image_input()),
}


def test_meta_is_read(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "meta.json", META | {"reasons": {"max_length": "a reason"}})
    assert array_splits.read_meta(tmp_path) == array_splits.Meta(tiny.TASK, tiny.image_input())


@pytest.mark.parametrize(
    ("meta", "part"),
    [
        (
            {"task": META["task"]},
            "meta.json has an unknown layout\n  got:      task\n",
        ),
        (
            {"labels": ["a"], "input": META["input"]},
            "meta.json has an unknown layout\n  got:      input, l",
        ),
        (META | {"input": META["input"] | {"kind": "video"}}, "meta.json: input has an unknown kind"),
        (
            META | {"input": {"kind": "text", "max_length": 16, "pad": 0}},
            "meta.json: input has an unknown layout\n  got:      kind, max_length, pad",
        ),
    ],
)
def test_meta_of_another_version_is_named(tmp_path: Path, meta: dict[str, Any], part: str) -> None:
    storage.write_json(tmp_path / "meta.json", meta)
    with pytest.raises(DataError) as raised:
        array_splits.read_meta(tmp_path)
    assert f"{tmp_path}/{part}" in str(raised.value)


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """Tiny arrays of texts, with 36 rows of train."""
    tiny.write_arrays(tmp_path)
    return tmp_path / "arrays"


def add_transfer(arrays: Path) -> None:
    """Write the split `transfer`, with the rows of test as those without labels."""
    clean = arrays.parent / "clean"
    pq.write_table(pq.read_table(clean / "test.parquet", columns=["id", "text"]), clean / "more.parquet")
    tokenizer = document_windows.open_tokenizer(arrays.parent / "base", tiny.TEXT_INPUT.max_length)
    text_arrays.tokenize(
        clean / "train.parquet",
        tokenizer,
        arrays,
        100,
        lambda count: None,
        tiny.TASK,
        unlabelled=clean / "more.parquet",
    )


def test_transfer_is_opened_only_if_it_is_there(arrays: Path) -> None:
    assert list(array_splits.open_splits(arrays)) == ["train", "val", "test"]
    add_transfer(arrays)
    splits = array_splits.open_splits(arrays)
    assert list(splits) == ["train", "val", "test", "transfer"]
    train, transfer = splits["train"], splits["transfer"]
    rows = np.arange(len(train))
    ours, theirs = train.batch(rows), transfer.batch(rows)
    assert all(torch.equal(own, other) for own, other in zip(ours.inputs, theirs.inputs, strict=True))
    assert torch.equal(ours.targets, theirs.targets)


def test_rows_with_labels_are_marked(arrays: Path) -> None:
    add_transfer(arrays)
    train, test = (len(array_splits.read_ids(arrays, split)) for split in ("train", "test"))
    assert array_splits.labelled(arrays, "transfer").tolist() == [True] * train + [False] * test
    assert array_splits.labelled(arrays, "train").tolist() == [True] * train
    np.save(arrays / "transfer.labelled.npy", np.ones(3, np.bool_))
    with pytest.raises(
        DataError, match=r"(?s)transfer.labelled.npy does not match.*got: +bool \(3,\).*next:"
    ):
        array_splits.labelled(arrays, "transfer")


def test_what_is_evaluated_does_not_see_transfer(arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_transfer(arrays)
    monkeypatch.setattr(measurements, "ARRAYS", arrays)
    finetune = SimpleNamespace(augmentation=None)
    subject = measurements.Subject(None, finetune, None)  # type: ignore[arg-type]
    assert list(subject.splits) == ["train", "val", "test"]


def test_meta_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"meta\.json is missing[\s\S]*dvc repro tokenize"):
        array_splits.read_meta(tmp_path)
