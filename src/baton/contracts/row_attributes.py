"""Attributes of rows: weights (if params name a column of them) and units, which are never split.

Inputs: clean tables and the `units.parquet` next to them.
Outputs: `{split}.weights.npy` (float32) and `train.units.npy` (int64). Rows without labels weigh as
much as rows of train do on average.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from baton.contracts.transfer_set import TRANSFER
from baton.errors import DataError

WEIGHT = "weight"  # column of a clean table
UNITS = "units.parquet"  # next to the clean tables: id and unit of each train row that shares its unit


def write(table: Path, target: Path) -> None:
    """Write the attributes of a clean table's rows, if any, to the folder `target` that holds its arrays."""
    if WEIGHT in pq.read_schema(table).names:
        found = pq.read_table(table, columns=[WEIGHT])[WEIGHT].to_numpy().astype(np.float32)
        np.save(target / f"{table.stem}.weights.npy", found)
    shared = table.parent / UNITS
    if table.stem == "train" and shared.is_file() and (count := pq.read_metadata(shared).num_rows):
        np.save(target / "train.units.npy", _units_of_rows(table, shared, count))


def _units_of_rows(table: Path, shared: Path, count: int) -> NDArray[np.int64]:
    """Return the unit of each row; a row that is alone in its unit gets a number of its own."""
    found = np.full(pq.read_metadata(table).num_rows, -1, np.int64)
    pairs = _values(shared, "id", "unit")  # in the order of the rows
    id_, unit = next(pairs)
    highest = -1
    for place, (own,) in enumerate(_values(table, "id")):
        if own == id_:
            found[place], highest, count = unit, max(highest, unit), count - 1
            id_, unit = next(pairs, ("", 0))
    if count:
        raise DataError(
            f"{shared} does not match {table.name}",
            got=f"{count} rows that the table does not have, or in another order",
            hint="run `dvc repro --force preprocess`",
        )
    alone = np.flatnonzero(found < 0)
    found[alone] = 1 + highest + alone
    return found


def _values(table: Path, *columns: str) -> Iterator[tuple[Any, ...]]:
    with pq.ParquetFile(table, pre_buffer=False) as file:
        for batch in file.iter_batches(columns=list(columns)):
            yield from zip(*(batch[name].to_pylist() for name in columns), strict=True)


def write_transfer(train: Path, unlabelled: int, target: Path) -> None:
    """Write the weights of train's rows and of as many rows without labels, if train has weights."""
    if WEIGHT in pq.read_schema(train).names:
        found = pq.read_table(train, columns=[WEIGHT])[WEIGHT].to_numpy().astype(np.float32)
        mean = np.full(unlabelled, found.mean(dtype=np.float64), np.float32)
        np.save(target / f"{TRANSFER}.weights.npy", np.concatenate([found, mean]))


def weights(folder: Path, split: str, rows: int) -> NDArray[np.float32] | None:
    """Return the weights (rows,) of one split, or None if it has none.

    Their mean is 1, so that the learning rate keeps its meaning.

    Raises:
        DataError: the file holds a different number of rows.
    """
    found = _load(folder / f"{split}.weights.npy", rows)
    return None if found is None else np.asarray(found / found.mean(dtype=np.float64), np.float32)


def units(folder: Path, rows: int) -> NDArray[np.int64]:
    """Return the unit number of each train row (rows,).

    Equal rows, near duplicates and rows of one group share a unit; see `tables.splits`.

    Raises:
        DataError: the file holds a different number of rows.
    """
    found = _load(folder / "train.units.npy", rows)
    return np.arange(rows) if found is None else found.astype(np.int64)


def _load(path: Path, rows: int) -> NDArray[Any] | None:
    if not path.is_file():
        return None
    found: NDArray[Any] = np.load(path, allow_pickle=False)
    if len(found) != rows:
        hint = "run `dvc repro --force tokenize`"
        raise DataError(
            f"{path} does not match the other arrays", got=f"{len(found)} rows", expected=f"{rows}", hint=hint
        )
    return found
