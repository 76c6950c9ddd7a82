"""Prediction tables: written by predictors, read by evaluation, the teacher cache and probes.

One Parquet file per model and split: `id` (string, unique) and `logits` (fixed-size list of float32, one
per output in the order of task.json), in the row order of data/clean. If rows have units, such as words,
`logits` is a list of such lists, one per unit. Equal values give equal bytes. The
table of a model that writes texts has them instead of logits (`contracts.written_texts`).
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import storage
from baton.contracts import written_texts
from baton.contracts.ragged import Ragged
from baton.contracts.written_texts import Texts
from baton.errors import DataError, first_line

# Logits (rows, outputs), or of rows' units (units, outputs); or texts.
Predicted = NDArray[np.float32] | Ragged | Texts
FITTED = "fitted.json"  # next to those of a model that is not saved: what was fitted on val
LEFT_OUT = (
    "left_out"  # the teacher's predictions for train rows held out in cross-validation, if rows are few
)
HINT = "run `dvc repro` again: it repeats the stage that writes this file"


def write_predictions(path: Path, ids: Sequence[str], logits: Predicted) -> None:
    """Write `logits`, or texts (n), for the rows `ids` (n) atomically.

    Raises:
        DataError: the shapes do not match, an id occurs twice, or a logit is not finite.
        OutputError: the folder cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(logits, Texts):
        _check_ids(path, ids, len(logits))
        with storage.atomic_file(path) as temporary:
            pq.write_table(written_texts.table(ids, logits), temporary)
        return
    _check(path, ids, logits)
    values = logits.values if isinstance(logits, Ragged) else logits
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))  # (n * outputs)
    column = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    if isinstance(logits, Ragged):
        column = pa.LargeListArray.from_arrays(pa.array(logits.offsets, pa.int64()), column)
    table = pa.table({"id": pa.array(list(ids), pa.string()), "logits": column})
    with storage.atomic_file(path) as temporary:
        pq.write_table(table, temporary)


def read_predictions(path: Path) -> tuple[list[str], Predicted]:
    """Read the ids (n) and logits, or texts (n), of a prediction table.

    Raises:
        DataError: the file is missing or not a prediction table, an id occurs twice, or a logit is not
            finite.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    expected = "a parquet file with columns id: string and logits: fixed-size list of float32"
    if not path.is_file():
        raise DataError(f"{path} is missing", got="no such file", expected=expected, hint=HINT)
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{path} cannot be read", got=first_line(error), expected=expected, hint=HINT
        ) from None
    if (texts := written_texts.of_table(table)) is not None:
        found: list[str] = table["id"].to_pylist()
        _check_ids(path, found, len(texts))
        return found, texts
    kinds: dict[str, Any] = {field.name: field.type for field in table.schema}
    ragged = "logits" in kinds and pa.types.is_large_list(kinds["logits"])
    logits_type = kinds["logits"].value_type if ragged else kinds.get("logits")
    if (
        logits_type is None
        or kinds.get("id") != pa.string()
        or not pa.types.is_fixed_size_list(logits_type)
        or logits_type.value_type != pa.float32()
    ):
        shown = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        raise DataError(f"{path} is not a prediction table", got=shown, expected=expected, hint=HINT)
    ids: list[str] = table["id"].to_pylist()
    column = table["logits"].combine_chunks()
    if column.null_count or table["id"].null_count:
        raise DataError(
            f"{path} has empty cells",
            got=f"{column.null_count + table['id'].null_count} empty cells",
            expected="none",
            hint=HINT,
        )
    offsets = column.offsets.to_numpy() if ragged else None
    flat = column.flatten().flatten() if ragged else column.flatten()
    # (n * outputs) -> (n, outputs); a copy, so that the caller can write to it
    values = np.array(flat.to_numpy(zero_copy_only=False), dtype=np.float32).reshape(
        len(ids) if offsets is None else -1, logits_type.list_size
    )
    logits: NDArray[np.float32] | Ragged = values if offsets is None else Ragged(values, offsets - offsets[0])
    _check(path, ids, logits)
    return ids, logits


def _check(path: Path, ids: Sequence[str], logits: NDArray[np.float32] | Ragged) -> None:
    values = logits.values if isinstance(logits, Ragged) else logits
    whole = not isinstance(logits, Ragged) or logits.offsets[-1] == len(values)
    if values.ndim != 2 or len(logits) != len(ids) or values.shape[1] < 1 or not whole:
        hint = "pass one row of logits per id and one logit per output"
        got = f"{len(logits)} rows, {len(values)} units" if isinstance(logits, Ragged) else logits.shape
        raise DataError(
            f"{path}: logits do not match the ids", got=got, expected=f"({len(ids)}, outputs >= 1)", hint=hint
        )
    _check_ids(path, ids, len(logits))
    finite = np.asarray(np.isfinite(values).all(axis=1))  # (n), or (units)
    if isinstance(logits, Ragged):
        finite = np.asarray(logits.sums(np.asarray(~finite)) == 0)
    if not finite.all():
        bad = [ids[row] for row in np.flatnonzero(~finite)[:3]]
        hint = "training diverged: lower learning_rate or set clip_norm, then run again"
        raise DataError(
            f"{path}: logits are not finite",
            got=f"{int((~finite).sum())} rows, first {bad}",
            expected="finite numbers",
            hint=hint,
        )


def _check_ids(path: Path, ids: Sequence[str], rows: int) -> None:
    if rows != len(ids):
        raise DataError(
            f"{path}: texts do not match the ids", got=f"{rows} texts", expected=f"{len(ids)}", hint=HINT
        )
    repeated = [name for name, count in Counter(ids).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path}: ids are not unique",
            got=f"{len(repeated)} repeated, first {repeated[:3]}",
            expected="each id once",
            hint=HINT,
        )
