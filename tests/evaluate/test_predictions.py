"""Prediction tables: round trip, same bytes, and every reason to refuse one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from baton.contracts.predictions import read_predictions, write_predictions
from baton.contracts.ragged import Ragged
from baton.errors import DataError, OutputError

IDS = ["test:1", "test:2", "test:3"]
LOGITS = np.array([[1.5, -2.25], [0.1, 0.2], [-1e30, 3e-9]], np.float32)


def test_round_trip_keeps_ids_order_and_bits(tmp_path: Path) -> None:
    write_predictions(tmp_path / "deep/test.parquet", IDS, LOGITS)
    ids, logits = read_predictions(tmp_path / "deep/test.parquet")
    assert ids == IDS
    assert logits.dtype == np.float32
    assert logits.tobytes() == LOGITS.tobytes()
    logits[0, 0] = 7  # the caller's own copy


def test_a_task_may_have_one_output(tmp_path: Path) -> None:
    write_predictions(tmp_path / "t.parquet", IDS, LOGITS[:, :1])
    assert np.array_equal(read_predictions(tmp_path / "t.parquet")[1], LOGITS[:, :1])


def test_rows_that_are_not_contiguous_are_written_in_their_order(tmp_path: Path) -> None:
    write_predictions(tmp_path / "t.parquet", IDS, np.asfortranarray(LOGITS))
    assert np.array_equal(read_predictions(tmp_path / "t.parquet")[1], LOGITS)


def test_same_values_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_predictions(tmp_path / name, IDS, LOGITS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    write_predictions(tmp_path / "b", IDS, LOGITS + 1)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("ids", "logits", "message"),
    [
        (IDS[:2], LOGITS, "do not match the ids"),
        (IDS, LOGITS[:, 0], "do not match the ids"),
        (IDS, LOGITS[:, :0], "do not match the ids"),
        (["a", "b", "a"], LOGITS, "not unique"),
        (
            IDS,
            np.array([[0, 1], [np.nan, 1], [0, np.inf]], np.float32),
            r"not finite[^!]*2 rows, first \['test:2', 'test:3'\]",
        ),
    ],
)
def test_what_cannot_be_a_prediction_is_not_written(
    tmp_path: Path, ids: list[str], logits: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_predictions(tmp_path / "t.parquet", ids, logits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            pa.table({"id": IDS, "logits": pa.array([[0.0, 1.0]] * 3, pa.list_(pa.float32()))}),
            "not a prediction table",
        ),
        (
            pa.table({"id": [1, 2, 3], "logits": pa.array([[0.0, 1.0]] * 3, pa.list_(pa.float32(), 2))}),
            "not a prediction table",
        ),
        (pa.table({"id": IDS}), "not a prediction table"),
        (
            pa.table(
                {"id": ["a", None, "b"], "logits": pa.array([[0.0, 1.0]] * 3, pa.list_(pa.float32(), 2))}
            ),
            "empty cells",
        ),
        (
            pa.table({"id": IDS, "logits": pa.array([[0.0, float("nan")]] * 3, pa.list_(pa.float32(), 2))}),
            "not finite",
        ),
    ],
)
def test_a_foreign_table_is_refused(tmp_path: Path, table: pa.Table, message: str) -> None:
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message):
        read_predictions(tmp_path / "t.parquet")


def test_a_missing_and_a_truncated_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        read_predictions(tmp_path / "t.parquet")
    write_predictions(tmp_path / "t.parquet", IDS, LOGITS)
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "t.parquet")


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_predictions(tmp_path / "file/t.parquet", IDS, LOGITS)


RAGGED = Ragged(np.arange(10, dtype=np.float32).reshape(5, 2), np.array([0, 2, 2, 5]))
WORDS = ["a", "b", "c"]


def test_logits_of_units_are_read_back_and_written_in_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_predictions(tmp_path / name, WORDS, RAGGED)
    ids, found = read_predictions(tmp_path / "a")
    assert isinstance(found, Ragged) and ids == WORDS
    assert np.array_equal(found.values, RAGGED.values) and found.values.dtype == np.float32
    assert np.array_equal(found.offsets, RAGGED.offsets)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    nothing = Ragged(np.zeros((0, 2), np.float32), np.array([0, 0]))
    write_predictions(tmp_path / "none", ["a"], nothing)
    assert isinstance(read := read_predictions(tmp_path / "none")[1], Ragged) and read.values.shape == (0, 2)


@pytest.mark.parametrize(
    ("values", "offsets", "problem"),
    [
        (np.full((5, 2), np.nan), [0, 2, 2, 5], r"not finite\n.*2 rows, first \['a', 'c'\]"),
        (np.zeros((5, 2)), [0, 2, 5], "do not match the ids"),
        (np.zeros((5, 2)), [0, 2, 2, 4], "do not match the ids"),
        (np.zeros(5), [0, 2, 2, 5], "do not match the ids"),
    ],
)
def test_wrong_logits_of_units_are_refused(
    tmp_path: Path, values: np.ndarray, offsets: list[int], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        write_predictions(tmp_path / "t", WORDS, Ragged(values, np.array(offsets)))
