"""What dropping rows costs: the rule that stops a run, and the words in which a failed run says what it found and dropped.

A policy `drop` is meant for a few bad rows. Where it takes more than `preprocess.max_dropped` allows, something is wrong with the file or
the params, and the rows that are left are not the data that somebody collected.

Two kinds of rows do not count. Those that repeat others (`STAY_ELSEWHERE`): their text stays. And those whose label is a null: nobody
labelled them, and nothing that was labelled is lost; a label that is empty text, or has no key, counts, since it may stand in the wrong
column. One row in a file or class never stops a run, else every share would mean "none" in a small one; `fail` says that. A class that is
lost as a whole does, were it of one row. The label of a row that cannot be read counts where it is known (`RawTable.rejected`).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from baton import params, storage
from baton.errors import DataError, OutputError
from baton.tables import labels
from baton.tables.checks import SURROGATE, Finding
from baton.tables.rows import RawTable

STAY_ELSEWHERE = {"duplicate", "leakage", "near_duplicate"}  # the same text stays in another row
WHOLE_CLASSES = {
    "small_class",
    "unseen_label",
}  # all or nothing of a class, so that a share of it says nothing
SHOWN_KINDS, SHOWN_ROWS, SHOWN_CLASSES, SHOWN_SMALL = 5, 3, 5, 60
REPORT = "preprocess-report.json"  # of a run that failed, in .baton
_PLACE = re.compile(r"^line \d+: | at character \d+")


def words(reasons: Mapping[str, str]) -> str:
    """Rows and why, for a person: equal reasons once, with the first rows."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for id_, reason in reasons.items():
        kinds[_PLACE.sub("", reason)].append(id_)
    largest = sorted(kinds.items(), key=lambda item: -len(item[1]))[:SHOWN_KINDS]
    shown = [f"{some(ids)} ({reasons[ids[0]] if len(ids) == 1 else kind})" for kind, ids in largest]
    more = len(reasons) - sum(len(ids) for _, ids in largest)
    return "; ".join(shown) + (f"; … {more} more" if more else "")


def classes(finding: Finding, tables: Iterable[RawTable]) -> str:
    """The labels of its rows, as the files have them, each with the number of its rows in train; the rarest first."""
    counts = Counter(
        row.label
        for table in tables
        if table.split == "train"
        for row in table.rows
        if row.id in finding.rows
    )
    rarest = sorted(counts, key=lambda label: (counts[label], labels.order(label)))
    more = f" and {len(rarest) - SHOWN_SMALL} more" if len(rarest) > SHOWN_SMALL else ""
    return ", ".join(f"{label!r} {counts[label]}" for label in rarest[:SHOWN_SMALL]) + more


def some(ids: list[str]) -> str:
    """The first ids, and how many more there are."""
    return ", ".join(ids[:SHOWN_ROWS]) + (
        f" and {len(ids) - SHOWN_ROWS} more" if len(ids) > SHOWN_ROWS else ""
    )


def too_many(
    findings: Iterable[Finding], tables: Iterable[RawTable], settings: params.Preprocess
) -> list[str]:
    """A line for each file that loses too many rows, and for each of its classes that does."""
    counted = [
        finding
        for finding in findings
        if finding.policy == "drop" and finding.dropped and finding.check not in STAY_ELSEWHERE
    ]
    return [line for table in tables if counted for line in _of_table(counted, table, settings)]


def _of_table(findings: list[Finding], table: RawTable, settings: params.Preprocess) -> list[str]:
    allowed, prefix = settings.max_dropped, f"{table.split}:"
    dropped = {
        finding.check: [
            id_ for id_ in finding.dropped if id_.startswith(prefix) and id_ not in table.unlabelled
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
            f"dropped: {table.split} loses {lost} of {table.count} rows ({lost / table.count:.1%}), {limit}:{why}"
        )
    of_rows = {id_ for check, ids in dropped.items() if check not in WHOLE_CLASSES for id_ in ids}
    known = [*((row.id, row.label) for row in table.rows), *table.rejected.items()]
    sizes = Counter(label for _, label in known)
    gone = Counter(label for id_, label in known if label and id_ in of_rows)
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
        lines.append(f"dropped: classes of {table.split} lose rows to {checks}, {limit}: {shown}{more}")
    return lines


def _exceeds(lost: int, count: int, share: float) -> bool:
    return lost > max(1, share * count)


def explained(
    error: DataError, findings: Iterable[Finding], tables: Iterable[RawTable], report: object
) -> DataError:
    """The error with what was dropped before it, and the place of the whole report, which is written outside of `data/`.

    DVC removes the outputs of a stage that failed, and a half-filled `data/clean` must not be taken for a whole one.
    """
    text = str(error)
    lines = [
        f"  dropped:  {finding.check}: {len(finding.dropped)} rows: {words({id_: finding.rows[id_] for id_ in finding.dropped})}"
        for finding in findings
        if finding.policy == "drop"
        and finding.dropped
        and f"{finding.check}: {len(finding.dropped)} rows" not in text
    ]
    lines += [f"  note:     {note}" for table in tables for note in table.remarks]
    path = storage.state(REPORT)
    try:
        storage.write_json(path, report)
        lines.append(f"  report:   {_near(path)} lists every row that was found")
    except OutputError:  # what is wrong with the data is the greater news
        lines.append(f"  report:   {_near(path)} cannot be written")
    return DataError("\n".join([text, *lines]))


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
