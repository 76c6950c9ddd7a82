"""Limit how many rows may be dropped, and describe what a failed run found and dropped.

The policy `drop` is meant for a few bad rows. If it removes more than `preprocess.max_dropped` allows,
something is wrong with the file or the params, and the remaining rows no longer represent the data that was
collected.

Two kinds of rows do not count: rows that repeat others (`STAY_ELSEWHERE`), because their text stays, and rows
whose label is null, because they were never labelled, so no labelled data is lost. A label that is an empty
string, or whose key is missing, counts, since it may be in the wrong column. A single row in a file or class
never stops a run; otherwise every share would mean "none" in a small one, which is what `fail` is for. Losing
a whole class does stop it, even a class of one row. The label of a row that cannot be read counts if it is
known (`RawTable.rejected`).

If a check takes names out of rows that stay, a row that loses its last name counts as dropped, and the names
taken out of a file may be `rows_of_class` of all: long tails lose more than the few rows of `rows`.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from baton import params, storage
from baton.errors import DataError, OutputError
from baton.tables import labels, row_sets
from baton.tables.checks import SURROGATE, Finding
from baton.tables.label_checks import Names
from baton.tables.rows import RawTable
from baton.tables.target_cells import TargetCells

STAY_ELSEWHERE = {
    "duplicate",
    "leakage",
    "near_duplicate",
    "novel_leakage",
}  # another row with the same text stays
WHOLE_CLASSES = {"small_class", "unseen_label"}  # take all of a class or nothing, so a share means nothing
SHOWN_KINDS, SHOWN_ROWS, SHOWN_CLASSES, SHOWN_SMALL = 5, 3, 5, 60
REPORT = "preprocess-report.json"  # from a failed run, in .baton
_PLACE = re.compile(r"^line \d+: | at character \d+")


def words(reasons: Mapping[str, str]) -> str:
    """Return the rows and reasons as text for the user: each distinct reason once, with the first rows."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for id_, reason in reasons.items():
        kinds[_PLACE.sub("", reason)].append(id_)
    largest = sorted(kinds.items(), key=lambda item: -len(item[1]))[:SHOWN_KINDS]
    shown = [f"{some(ids)} ({reasons[ids[0]] if len(ids) == 1 else kind})" for kind, ids in largest]
    more = len(reasons) - sum(len(ids) for _, ids in largest)
    return "; ".join(shown) + (f"; … {more} more" if more else "")


def classes(finding: Finding, tables: Iterable[RawTable], names: Names) -> str:
    """Return the names of its rows, as in the files, with their numbers of train rows; the rarest first."""
    counts = Counter(
        name
        for table in tables
        if table.split == "train"
        for row in row_sets.brief(table.rows)
        if row.id in finding.rows
        for name in names(row.label)
    )
    rarest = sorted(counts, key=lambda label: (counts[label], labels.order(label)))
    more = f" and {len(rarest) - SHOWN_SMALL} more" if len(rarest) > SHOWN_SMALL else ""
    return ", ".join(f"{label!r} {counts[label]}" for label in rarest[:SHOWN_SMALL]) + more


def some(ids: list[str]) -> str:
    """Return the first ids, and how many more there are."""
    return ", ".join(ids[:SHOWN_ROWS]) + (
        f" and {len(ids) - SHOWN_ROWS} more" if len(ids) > SHOWN_ROWS else ""
    )


def too_many(
    findings: Iterable[Finding], tables: Iterable[RawTable], settings: params.Preprocess, cells: TargetCells
) -> list[str]:
    """Return a line for each file that loses too many rows, and for its classes or labels that do."""
    counted = [
        finding
        for finding in findings
        if finding.policy == "drop"
        and (finding.dropped or finding.taken)
        and finding.check not in STAY_ELSEWHERE
    ]
    return [line for table in tables if counted for line in _of_table(counted, table, settings, cells)]


def _of_table(
    findings: list[Finding], table: RawTable, settings: params.Preprocess, cells: TargetCells
) -> list[str]:
    allowed, prefix = settings.max_dropped, f"{table.split}:"
    dropped = {
        finding.check: [
            id_
            for id_ in (*finding.dropped, *finding.emptied)
            if id_.startswith(prefix) and id_ not in table.unlabelled
        ]
        for finding in findings
    }
    reasons = {finding.check: finding.rows for finding in findings}
    lines = []
    if _exceeds(lost := sum(map(len, dropped.values())), table.count, allowed.rows):
        why = "".join(
            f"\n        {check}: {len(ids)} rows: {words({id_: reasons[check][id_] for id_ in ids})}"
            for check, ids in dropped.items()
            if ids
        )
        limit = f"more than preprocess.max_dropped.rows allows ({allowed.rows:.0%})"
        lines.append(
            f"dropped: {table.split} loses {lost} of {table.count} rows ({lost / table.count:.1%}), "
            f"{limit}:{why}"
        )
    of_rows = {id_ for check, ids in dropped.items() if check not in WHOLE_CLASSES for id_ in ids}
    labelled = chain(((row.id, row.label) for row in row_sets.brief(table.rows)), table.rejected.items())
    sizes, gone = Counter[str](), Counter[str]()
    for id_, label in labelled:
        sizes.update(names := cells.names(label))
        gone.update(names if id_ in of_rows else ())
    taken = sum(
        count for finding in findings for id_, count in finding.taken.items() if id_.startswith(prefix)
    )
    if _exceeds(taken, sizes.total(), allowed.rows_of_class):
        limit = f"more than preprocess.max_dropped.rows_of_class allows ({allowed.rows_of_class:.0%})"
        checks = ", ".join(finding.check for finding in findings if finding.taken)
        lines.append(
            f"dropped: {checks} take {taken} of {sizes.total()} mentions of labels out of rows of "
            f"{table.split} ({taken / sizes.total():.1%}), {limit}"
        )
    hit = [
        label
        for label, count in gone.most_common()
        if _exceeds(count, sizes[label], allowed.rows_of_class)
        or (count == sizes[label] and allowed.rows_of_class < 1)
    ]
    if hit:
        shown = ", ".join(
            f"{SURROGATE.sub('�', label)!r} {gone[label]} of {sizes[label]}" for label in hit[:SHOWN_CLASSES]
        )
        more = f" and {len(hit) - SHOWN_CLASSES} more" if len(hit) > SHOWN_CLASSES else ""
        checks = ", ".join(check for check, ids in dropped.items() if ids and check not in WHOLE_CLASSES)
        limit = f"more than preprocess.max_dropped.rows_of_class allows ({allowed.rows_of_class:.0%})"
        lines.append(f"dropped: {cells.words} of {table.split} lose rows to {checks}, {limit}: {shown}{more}")
    return lines


def _exceeds(lost: int, count: int, share: float) -> bool:
    return lost > max(1, share * count)


def explained(
    error: DataError, findings: Iterable[Finding], tables: Iterable[RawTable], report: object
) -> DataError:
    """Return the error with the rows dropped before it and the path of the full report, outside `data/`.

    DVC removes the outputs of a failed stage, and a partial `data/clean` must not be mistaken for a complete
    one.
    """
    text = str(error)
    lines = [
        f"  dropped:  {finding.check}: {len(finding.dropped)} rows: "
        + words({id_: finding.rows[id_] for id_ in finding.dropped})
        for finding in findings
        if finding.policy == "drop"
        and finding.dropped
        and f"{finding.check}: {len(finding.dropped)} rows" not in text
    ]
    lines += [f"  note:     {note}" for table in tables for note in table.remarks]
    path = storage.state(REPORT)
    try:
        storage.write_json(path, report)
        lines.append(f"  report:   {_near(path)} lists every row found")
    except OutputError:  # the problem with the data matters more
        lines.append(f"  report:   {_near(path)} cannot be written")
    return DataError("\n".join([text, *lines]))


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
