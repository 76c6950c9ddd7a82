"""Put the predictions of two revisions side by side: the same rows in the same order.

Input: two `Kept` -> `Pairs`. Rows are the same if their id and what a model reads of them are; a row that was
labelled again counts with the later label, for both.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baton.compare.revisions.kept import Kept
from baton.contracts import targets, task_spec
from baton.contracts.task_spec import TaskSpec
from baton.errors import DataError
from baton.evaluate import inputs, repeated, row_groups, slices, task_reports
from baton.evaluate.inputs import Rows
from baton.evaluate.row_groups import Group
from baton.evaluate.task_reports import TaskReports

BEFORE, AFTER = "before", "after"
ENCODED = ("image", "audio")  # not read
CONTENT = ("text", "text_pair", "digest")  # what tells rows apart, of columns that both tables have
DESCRIPTIONS = (task_spec.FILE, task_spec.EARLIER, "report.json")


@dataclass(frozen=True)
class Pairs:
    """The rows that both revisions have, and their models' answers."""

    task: TaskReports  # of the later revision
    rows: Rows
    outputs: Mapping[str, Any]  # BEFORE and AFTER -> answers
    groups: Mapping[str, Group]  # slices of the rows
    counts: tuple[int, int]  # rows of each revision
    other: int  # ids that both have, with other content
    relabelled: int


def pair(before: Kept, after: Kept, model: str, split: str, scratch: Path) -> Pairs:
    """Return the pairs; `scratch` is an empty folder for tables of these rows alone.

    Raises:
        DataError: a file is missing, the tasks differ, or no row is in both.
    """
    first, second = (_clean(kept, split, scratch / name) for name, kept in ((BEFORE, before), (AFTER, after)))
    specs = task_spec.read_file(scratch / BEFORE), task_spec.read_file(scratch / AFTER)
    _same_task(before, after, *specs)
    places, other = _places(first, second)
    if not places:
        raise DataError(
            f"{before.name} and {after.name} have no {split} row in common",
            got=f"{first.num_rows:,} and {second.num_rows:,} rows; {other:,} ids with other content",
            expected="rows with the same id and content",
            hint="compare revisions whose rows are of the same source",
        )
    columns = targets.columns(specs[1])
    old, new = first.take([a for a, _ in places]), second.take([b for _, b in places])
    moved = zip(old.select(columns).to_pylist(), new.select(columns).to_pylist(), strict=True)
    _write(new, scratch / AFTER / "test.parquet")
    rows = inputs.read_rows(scratch / AFTER, "test")
    outputs = {
        name: _outputs(kept, spec, model, split, rows, scratch)
        for name, kept, spec in zip((BEFORE, AFTER), (before, after), specs, strict=True)
    }
    return Pairs(
        task_reports.of(specs[1]),
        rows,
        outputs,
        _groups(scratch / AFTER, specs[1], rows),
        (first.num_rows, second.num_rows),
        other,
        sum(a != b for a, b in moved),
    )


def _clean(kept: Kept, split: str, folder: Path) -> Any:
    """Return a clean table without what is encoded, and copy what describes it into a folder."""
    import pyarrow.parquet as pq

    folder.mkdir()
    for name in DESCRIPTIONS:
        if (place := kept.place(f"data/clean/{name}")) is not None and place.is_file():
            shutil.copyfile(place, folder / name)
    path = kept.file(f"data/clean/{split}.parquet")
    names = [name for name in pq.read_schema(path).names if name not in ENCODED]
    return pq.read_table(path, columns=names).combine_chunks()


def _same_task(before: Kept, after: Kept, old: TaskSpec, new: TaskSpec) -> None:
    if old.kind == new.kind and set(old.names) == set(new.names) and old.names == new.names:
        return
    shown = [f"{spec.kind} {', '.join(spec.names[:5])}" for spec in (old, new)]
    raise DataError(
        f"{before.name} and {after.name} predict something else",
        got=" and ".join(shown),
        expected="the same task and names",
        hint="only revisions with the same task can be compared",
    )


def _places(first: Any, second: Any) -> tuple[list[tuple[int, int]], int]:
    """Return the places of rows in both tables, as the second has them; how many ids have other content."""
    columns = [name for name in CONTENT if name in first.column_names and name in second.column_names]
    known = {id_: place for place, id_ in enumerate(first["id"].to_pylist())}
    old, new = ([first[name].to_pylist() for name in columns], [second[name].to_pylist() for name in columns])
    both = [(known[id_], place) for place, id_ in enumerate(second["id"].to_pylist()) if id_ in known]
    same = [(a, b) for a, b in both if all(x[a] == y[b] for x, y in zip(old, new, strict=True))]
    return same, len(both) - len(same)


def _write(table: Any, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _outputs(kept: Kept, spec: TaskSpec, model: str, split: str, rows: Rows, scratch: Path) -> Any:
    """Return a model's answers for the paired rows."""
    import pyarrow.parquet as pq

    source = kept.file(f"data/predictions/{model}/{split}.parquet")
    table = pq.read_table(source)
    known = {id_: place for place, id_ in enumerate(table["id"].to_pylist())}
    path = scratch / f"{kept.short}.parquet"
    _write(table.take(_each(known, rows.ids, kept, model)).combine_chunks(), path)
    fitted = kept.file(f"models/{model}/baton.json")
    task = task_reports.of(spec)
    return task.outputs(
        inputs.read_logits(path, rows, spec.width), inputs.read_fitted(fitted.parent, fitted.name)
    )


def _each(known: Mapping[str, int], ids: Sequence[str], kept: Kept, model: str) -> list[int]:
    if absent := [id_ for id_ in ids if id_ not in known]:
        raise DataError(
            f"{kept.name} has no prediction of the {model} for row {absent[0]}",
            got=f"{len(absent)} rows without",
            expected="one for each row",
            hint="choose a revision in which `baton repro` has ended",
        )
    return [known[id_] for id_ in ids]


def _groups(clean: Path, spec: TaskSpec, rows: Rows) -> dict[str, Group]:
    """Return the slices of report.html, and those of kept columns."""
    repeats = repeated.read(clean) if (clean / "report.json").is_file() else set()
    kept = slices.read(clean, spec.column)
    return row_groups.groups(rows, repeats, None) | {
        f"column {name}": slices.frequent(values) for name, values in kept.items()
    }
