"""The soft labels of the rows that a student learns from, and how often they agree with the true labels.

Input: the rows of the splits, unlabelled.parquet if there are rows without labels, and a file of soft labels.
Output: `soft_labels.parquet` (see `contracts.soft_labels`), and what report.json says of it. Texts are
compared as `text_key.key`. What the file says of a text in val or test is dropped.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baton import params
from baton.contracts import predictions, soft_labels, text_pairs, transfer_set
from baton.errors import DataError
from baton.tables import row_sets, soft_label_rows
from baton.tables.assignment import Assigned
from baton.tables.rows import Row
from baton.tables.soft_label_cells import Probabilities
from baton.tables.soft_label_rows import UNMATCHED, SoftRows
from baton.tables.unlabelled_table import digest

SAME = 1e-6  # probabilities that differ by no more are the same
HELD = ("val", "test")
Learners = dict[str, list[tuple[str, bytes]]]  # origin -> id and digest of each row


def write(
    folder: Path,
    assigned: Assigned,
    raw: Path | None,
    classes: tuple[str, ...],
    settings: params.TextPreprocess,
) -> dict[str, Any]:
    """Write soft_labels.parquet, if the source has a file of soft labels.

    Args:
        folder: Where the clean tables are.
        assigned: The rows of the splits.
        raw: The file, if there is one.
        classes: The names of the task.
        settings: The names of the columns and of raw labels.

    Returns:
        For report.json, with remarks on the file; empty without one.

    Raises:
        DataError: The file cannot be used, or none of its texts is one to learn from.
    """
    if raw is None:
        return {}
    learners = _learners(folder, assigned)
    learnt = {own for rows in learners.values() for _, own in rows}
    held = {split: {digest(row) for row in assigned.parts[split]} for split in HELD}
    table = soft_label_rows.read(raw, settings, classes, learnt, held)
    said = table.probabilities()
    if not table.ids:
        raise _no_match(table)
    places, means, differing = averaged(table.digests, said)
    found = [(id_, means[places[own]]) for rows in learners.values() for id_, own in rows if own in places]
    logits = np.log(np.maximum([mean for _, mean in found], soft_labels.FLOOR))
    ids = [id_ for id_, _ in found]
    predictions.write_predictions(folder / soft_labels.TABLE, ids, logits.astype(np.float32))
    return {
        "soft_labels": {
            "rows": table.count,
            "dropped": dict(sorted(table.dropped.items())),
            "averaged": len({table.digests[row] for row in differing}),
            **_found(learners, places),
            **agreement(assigned.parts["train"], dict(found), classes),
            "remarks": table.remarks + _remarks(table, differing),
        }
    }


def _learners(folder: Path, assigned: Assigned) -> Learners:
    return {
        "train": [(row.id, digest(row)) for row in assigned.parts["train"]],
        transfer_set.RAW: [*_unlabelled(folder / transfer_set.TABLE)],
    }


def averaged(
    digests: Sequence[bytes], said: Probabilities
) -> tuple[dict[bytes, int], Probabilities, list[int]]:
    """Return one answer for each text: the mean of what its rows say.

    Args:
        digests: Of the texts of rows, (rows,).
        said: Their probabilities, (rows, classes).

    Returns:
        The place of each text; the means (texts, classes); the rows that differ from the first of their text.
    """
    places: dict[bytes, int] = {}
    of_rows = np.array([places.setdefault(own, len(places)) for own in digests], np.int64)
    total, rows = np.zeros((len(places), said.shape[1])), np.bincount(of_rows)
    np.add.at(total, of_rows, said)
    first = np.unique(of_rows, return_index=True)[1]  # (texts,)
    differing = np.flatnonzero((np.abs(said - said[first[of_rows]]) > SAME).any(axis=1))
    return places, total / rows[:, None], differing.tolist()


def _unlabelled(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the id and the digest of each row without label; none if there is no table of them."""
    import pyarrow.parquet as pq

    if not path.is_file():
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            texts, *second = text_pairs.sides(batch)
            pairs = second[0] if second else [None] * len(texts)
            for id_, text, pair in zip(batch["id"].to_pylist(), texts, pairs, strict=True):
                yield id_, digest(Row(transfer_set.RAW, 0, text, "", pair=pair))


def _found(learners: Learners, places: Mapping[bytes, int]) -> dict[str, Any]:
    """Return how many rows of train, and without labels, there are, and have a soft label."""
    return {
        origin: {"rows": len(rows), "found": sum(own in places for _, own in rows)}
        for origin, rows in learners.items()
    }


def agreement(
    train: Sequence[Row], means: Mapping[str, NDArray[np.float64]], classes: Sequence[str]
) -> dict[str, Any]:
    """Return the share of soft labels in which the true class is the only most probable one, also by class.

    Args:
        train: Rows.
        means: Probabilities (classes,) by id of those that have soft labels.
        classes: The names of the classes.
    """
    place = {name: number for number, name in enumerate(classes)}
    agrees: dict[str, list[bool]] = {name: [] for name in classes}
    rows = Counter(row.label for row in row_sets.brief(train))
    for row in row_sets.brief(train):
        if (mean := means.get(row.id)) is not None:
            others = np.delete(mean, place[row.label])
            agrees[row.label].append(bool(mean[place[row.label]] > others.max()))
    return {
        "agreement": _share([one for own in agrees.values() for one in own]),
        "classes": {
            name: {"rows": rows[name], "found": len(own), "agreement": _share(own)}
            for name, own in agrees.items()
        },
    }


def _share(found: Sequence[bool]) -> float | None:
    return sum(found) / len(found) if found else None


def _remarks(table: SoftRows, differing: Sequence[int]) -> list[str]:
    remarks = []
    if differing:
        texts = {table.digests[place] for place in differing}
        remarks.append(
            f"{table.path}: {len(texts)} texts are given several times with different labels, of which the "
            f"mean is taken; the first such row is {table.ids[differing[0]]}"
        )
    if unmatched := table.dropped[UNMATCHED]:
        remarks.append(
            f"{table.path}: {unmatched} of {table.count} rows match no row that a student learns from, the "
            f"first is {table.unmatched}"
        )
    return remarks


def _no_match(table: SoftRows) -> DataError:
    dropped = ", ".join(f"{count} {kind}" for kind, count in sorted(table.dropped.items()))
    first = f"; the first unmatched one is {table.unmatched}" if table.unmatched else ""
    return DataError(
        f"{table.path}: no row has a text of train, or of the rows without labels",
        got=f"{table.count} rows: {dropped}{first}",
        expected="texts of the files that `source` names, which are compared without case and white space",
        hint="check that its columns of texts hold what those of preprocess hold, unabridged",
    )
