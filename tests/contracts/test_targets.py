"""Targets of a split, from a clean table to what losses read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from baton.arrays import target_arrays
from baton.contracts import targets
from baton.contracts.targets import Targets
from baton.contracts.task_spec import Classes, Spans, Tokens
from baton.errors import DataError

TWO = Classes(("no", "yes"))


@dataclass(frozen=True)
class Several:
    """A task with any number of targets per row."""

    names: tuple[str, ...] = ("a", "b", "c")
    column: ClassVar[str] = "labels"
    ragged: ClassVar[bool] = True
    outputs: ClassVar[str] = "row"
    width: ClassVar[int] = 3


def written(folder: Path, spec: Any, portions: list[Any], kind: Any) -> Targets:
    with target_arrays.Writer(folder, "train", spec) as writer:
        for rows in portions:
            writer.append(pa.record_batch({"id": ["x"] * len(rows), spec.column: pa.array(rows, kind)}))
    return target_arrays.open_targets(folder, "train", spec)


def test_classes_keep_their_order(tmp_path: Path) -> None:
    found = written(tmp_path, TWO, [[1, 0, 1], [0]], pa.int32())
    assert len(found) == 4 and found.all.tolist() == [1, 0, 1, 0] and found.all.dtype == np.int64
    assert found.take(np.array([3, 0])).tolist() == found.part(np.array([3, 0])).all.tolist() == [0, 1]
    assert [part.tolist() for part in found.pairs] == [[0, 1, 2, 3], [1, 0, 1, 0]]
    assert found.counts.tolist() == [1, 1, 1, 1]


def test_rows_may_have_any_number_of_targets(tmp_path: Path) -> None:
    found = written(tmp_path, Several(), [[[0, 2], []], [], [[1], [0, 1, 2], []]], pa.list_(pa.int32()))
    assert len(found) == 5
    assert [part.tolist() for part in found.pairs] == [[0, 0, 2, 3, 3, 3], [0, 2, 1, 0, 1, 2]]
    chosen = found.part(np.array([3, 1, 0, 4]))
    assert len(chosen) == 4
    assert [part.tolist() for part in chosen.pairs] == [[0, 0, 0, 2, 2], [0, 1, 2, 0, 2]]


def test_files_that_do_not_match_are_refused(tmp_path: Path) -> None:
    written(tmp_path, Several(), [[[0, 2], []]], pa.list_(pa.int32()))
    np.save(tmp_path / "train.targets.npy", np.zeros(3, np.int64))
    with pytest.raises(DataError, match=r"do not match[\s\S]*3 targets, offsets to 2"):
        target_arrays.open_targets(tmp_path, "train", Several())
    (tmp_path / "train.targets.offsets.npy").unlink()
    with pytest.raises(DataError, match=r"targets\.offsets\.npy is missing"):
        target_arrays.open_targets(tmp_path, "train", Several())


def test_words_have_a_target_each_and_those_that_are_not_read_do_not_count(tmp_path: Path) -> None:
    spec = Tokens(("x", "y"), "space")
    found = written(tmp_path, spec, [[[0, 3, 4], []], [[1, 1]]], pa.list_(pa.int32()))
    assert found.all.values.tolist() == [0, 3, 4, 1, 1] and found.all.counts.tolist() == [3, 0, 2]
    assert found.take(np.array([2, 0])).values.tolist() == [1, 1, 0, 3, 4]
    assert [part.tolist() for part in found.pairs] == [[0, 2, 2], [1, 0, 0]]  # entities
    read = replace(found, read=np.array([True, False, True, False, False]))
    assert read.counts.tolist() == [2, 0, 0]
    assert read.part(np.array([2, 0])).counts.tolist() == [0, 2]
    with pytest.raises(DataError, match=r"targets 0 to 5\n.*0 to 4"):
        written(tmp_path, spec, [[[0, 5]]], pa.list_(pa.int32()))


def test_questions_have_a_mark_for_each_unit_and_count_once(tmp_path: Path) -> None:
    kinds = {"text": pa.string(), "answer_start": pa.int32(), "marks": pa.int32()}
    kind = pa.struct({name: pa.list_(one) for name, one in kinds.items()})
    rows = [
        {"text": ["a b", "b"], "answer_start": [0, 2], "marks": [0, 1, 3]},
        {"text": [], "answer_start": [], "marks": [3, 0]},
    ]
    table = pa.table({"text_pair": ["a b", "c"], "answers": pa.array(rows, kind)})
    found = targets.of_table(table, Spans(9))
    assert found.counts.tolist() == [1, 1] and [part.tolist() for part in found.pairs] == [[], []]
    for own in (found.take(np.array([1, 0])), found.part(np.array([1, 0])).all, found.all[[1, 0]]):
        assert own.values.tolist() == [3, 0, 0, 1, 3] and own.offsets.tolist() == [0, 2, 5]
        assert own.passages.contexts.tolist() == ["c", "a b"]
        assert own.passages.answers.tolist() == [(), ("a b", "b")]
    for wrong in (pa.array([rows[0], None], kind), pa.array([[1], [2]])):
        with pytest.raises(DataError, match="column answers of the clean table has no targets"):
            targets.of_table(table.set_column(1, "answers", wrong), Spans(9))
