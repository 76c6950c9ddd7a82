"""Read the inputs of evaluation, and refuse files that do not belong together.

Inputs: data/clean (tables, task.json) and data/predictions -> texts, targets and logits of the same rows in
the same order. Images are not read.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baton import storage
from baton.contracts import fitted_values, targets, task_spec, text_pairs
from baton.contracts.predictions import HINT, Predicted, read_predictions
from baton.contracts.ragged import Ragged
from baton.errors import DataError

RUNNING = ("running_mean", "running_var")  # statistics of batch normalisation


@dataclass(frozen=True)
class Rows:
    """One split, in the row order of data/clean."""

    ids: list[str]  # (n)
    texts: list[str]  # (n), what shows a row to a reader: the text, a whole pair, or the name of the image
    targets: Any  # (n, …), as `Targets.take` returns them
    shown: str = "text"  # the column of `texts`: text or name
    pairs: list[text_pairs.Pair] | None = None  # (n), both texts of each row, if rows are pairs


def read_rows(clean: Path, split: str) -> Rows:
    """Read a split of data/clean.

    Raises:
        DataError: the table is missing, lacks a column, has no rows, or a target is not in task.json.
    """
    import pyarrow.parquet as pq

    path, spec = clean / f"{split}.parquet", task_spec.read_file(clean)
    expected, hint = f"columns id, {spec.column}, and text or name", "run `dvc repro preprocess`"
    if not path.is_file():
        raise DataError(
            f"{path} is missing", got="no such file", expected=f"a table of {expected}", hint=hint
        )
    schema = pq.read_schema(path)
    shown = "text" if "text" in schema.names else "name"
    if not {"id", shown, spec.column} <= set(schema.names):
        raise DataError(
            f"{path} has unexpected columns", got=", ".join(schema.names), expected=expected, hint=hint
        )
    columns = text_pairs.columns(path) if shown == "text" else [shown]
    table = pq.read_table(path, columns=[*dict.fromkeys(["id", *columns, *targets.columns(spec)])])
    found = targets.of_table(table, spec)
    values, most = found.values, targets.most(spec)
    names = values.dtype == np.int64 and len(values) > 0  # otherwise they are numbers or texts
    if not len(found) or (names and (values.min() < 0 or values.max() > most)):
        got = f"labels {values.min()} to {values.max()}" if len(found) else "no rows"
        raise DataError(
            f"{path} does not match {clean / task_spec.FILE}",
            got=got,
            expected=f"rows with labels 0 to {most}",
            hint="run `dvc repro -f`",
        )
    sides = [table[column].to_pylist() for column in columns]
    pairs = [*zip(*sides, strict=True)] if len(sides) == 2 else None
    return Rows(table["id"].to_pylist(), text_pairs.wholes(*sides), found.all, shown, pairs)


def read_logits(path: Path, rows: Rows, width: int) -> Predicted:
    """Read logits (`width` per row, or unit of a row), or texts (n), of exactly these rows in this order.

    Raises:
        DataError: the file is missing or broken, belongs to other rows or outputs, or holds non-finite
            values.
    """
    ids, logits = read_predictions(path)
    if ids != rows.ids:
        place = next(
            (k for k, (a, b) in enumerate(zip(ids, rows.ids, strict=False)) if a != b),
            min(len(ids), len(rows.ids)),
        )
        got, expected = (
            f"{len(part)} rows; row {place + 1} is {part[place] if place < len(part) else 'absent'}"
            for part in (ids, rows.ids)
        )
        raise DataError(
            f"{path} does not match the rows of data/clean", got=got, expected=expected, hint=HINT
        )
    if isinstance(logits, Ragged) and isinstance(rows.targets, Ragged):
        _check_units(path, logits, rows)
    values = logits.values if isinstance(logits, Ragged) else logits
    if isinstance(values, np.ndarray) and values.shape[1] != width:
        got, expected = f"{values.shape[1]} outputs", f"{width}, as in task.json"
        raise DataError(f"{path} has the wrong number of outputs", got=got, expected=expected, hint=HINT)
    return logits


def _check_units(path: Path, logits: Ragged, rows: Rows) -> None:
    """Refuse rows that have another number of units than targets."""
    differs = np.flatnonzero(logits.counts != rows.targets.counts)
    if len(differs):
        row = differs[0]
        raise DataError(
            f"{path} does not match the rows of data/clean",
            got=f"{logits.counts[row]} units of row {rows.ids[row]}",
            expected=f"{rows.targets.counts[row]}, one for each target",
            hint=HINT,
        )


def model_size(folder: Path) -> dict[str, int]:
    """Return `parameters` and `bytes` of a saved model, without loading its weights.

    `parameters` counts the elements of floating-point tensors; `bytes` is the size of model.safetensors.

    Raises:
        DataError: model.safetensors is missing or is not a safetensors file.
    """
    path = folder / "model.safetensors"
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, ValueError) as error:
        got = getattr(error, "strerror", None) or "no safetensors header"
        raise DataError(
            f"{path} cannot be read", got=got, expected="a safetensors file", hint="run `dvc repro`"
        ) from None
    tensors = [
        value
        for key, value in header.items()
        if key != "__metadata__"
        and "F" in value["dtype"]
        and not key.endswith(RUNNING)  # statistics are not learned
    ]
    return {
        "parameters": sum(int(np.prod(value["shape"])) for value in tensors),
        "bytes": path.stat().st_size,
    }


def read_fitted(folder: Path, name: str = "baton.json") -> dict[str, Any]:
    """Return the values fitted on validation with which a saved model is served.

    Evaluation has no other source for them.

    Raises:
        DataError: the file is missing, or has no such values.
    """
    path = folder / name
    try:
        return fitted_values.read(storage.read_json(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        got = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path} has no fitted values",
            got=got,
            expected="values under `fitted`",
            hint="run `dvc repro`",
        ) from None


@dataclass(frozen=True)
class Curve:
    """One model's learning curve: columns of the training and the evaluation rows of a curves file.

    Rows are in step order.
    """

    training: dict[str, list[float]]  # step, epoch, loss, learning_rate, gradient_norm
    validation: dict[str, list[float]]  # step, epoch, val_loss and the other figures of validation


def read_curves(paths: list[Path], chosen: Mapping[str, int], figures: Iterable[str]) -> dict[str, Curve]:
    """Return model name -> its curve for the `chosen` seed, from files written by `finetune` and `distill`.

    `figures` are those of validation, `loss` among them.

    Raises:
        DataError: a file is missing, lacks a column or holds a value that is not a number.
    """
    training, validation = (
        ["step", "epoch", "loss", "learning_rate", "gradient_norm"],
        ["step", "epoch", *(f"val_{figure}" for figure in figures)],
    )
    curves: dict[str, Curve] = {}
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} is missing", got="no such file", expected="a learning curve", hint=HINT)
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        try:
            for name in dict.fromkeys(row["model"] for row in rows):
                own = [row for row in rows if row["model"] == name and int(row["seed"]) == chosen[name]]
                curves[name] = Curve(_columns(own, training, "loss"), _columns(own, validation, "val_loss"))
        except (KeyError, ValueError, TypeError) as error:
            expected = f"columns model, seed, {', '.join(dict.fromkeys(training + validation))}"
            raise DataError(
                f"{path} is not a learning curve", got=repr(error), expected=expected, hint=HINT
            ) from None
    return curves


def _columns(rows: list[dict[str, str]], names: list[str], needed: str) -> dict[str, list[float]]:
    kept = [row for row in rows if row[needed]]
    return {name: [float(row[name]) for row in kept] for name in names}
