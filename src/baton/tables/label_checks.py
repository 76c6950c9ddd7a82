"""The checks that read the names in rows' labels, for every kind of task that has names.

Each takes `names`, which returns the names in a label (`target_cells.TargetCells.names`), and returns the
rows it found and why.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from baton.tables import labels
from baton.tables.checks import grouped, key
from baton.tables.rows import Row

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
Names = Callable[[str], tuple[str, ...]]


def missing_label(rows: list[Row]) -> dict[str, str]:
    """Return rows whose label is empty or white space."""
    return {row.id: "no label" for row in rows if not row.label.strip()}


def unknown_label(rows: list[Row], known: dict[str, str], names: Names) -> dict[str, str]:
    """Return rows with a name that is not a key of `label_names`, `known`; none if that is empty."""
    if not known:
        return {}
    keys = {labels.alike(name): name for name in known}
    reasons = {}
    for label in {*every(rows, names)} - set(known):
        reasons[label] = f"label {label!r} is not in preprocess.label_names"
        if (name := keys.get(labels.alike(label))) is not None:
            reasons[label] += (
                f", whose key {name!r} is what YAML reads without quotes: write {label!r}: … in quotes"
            )
    return found(rows, reasons, names)


def control_characters(rows: list[Row], names: Names) -> dict[str, str]:
    """Return rows with a name that has a line break, another control character, or one that turns text.

    Such a name forges lines wherever it is shown.
    """
    faulty = {name for name in {*every(rows, names)} if CONTROL.search(name)}
    return found(
        rows,
        {
            name: f"label {name!r} has a control character: correct it, or map all names by "
            "preprocess.label_names"
            for name in faulty
        },
        names,
    )


def similar_labels(rows: list[Row], names: Names) -> dict[str, str]:
    """Return rows with a name that reads like a more frequent one, or like a missing value."""
    return found(rows, labels.similar(every(rows, names)), names)


def continuous_labels(rows: list[Row], names: Names, needed: str) -> dict[str, str]:
    """Return rows whose label looks like a measured number, as in regression; `needed` names the need."""
    decimals = labels.continuous(every(rows, names))
    reason = (
        f"{len(decimals)} different decimal labels look like regression; "
        f"{needed}: cut the numbers into ranges"
    )
    return found(rows, dict.fromkeys(decimals, reason), names)


def conflict(rows: list[Row], shown: Callable[[str], str]) -> dict[str, str]:
    """Return rows whose text also occurs under another label, within a file or across files.

    `shown` returns a label as the reasons show it. Of images with captions, both must be the same.
    """
    groups = grouped(rows, _whole)
    several = {
        name: labels for name, group in groups.items() if len(labels := {row.label for row in group}) > 1
    }
    reasons = {}
    for row in rows:
        if (name := _whole(row)) in several:
            others = [other.id for other in groups[name] if other.label != row.label]
            in_all = sorted(map(shown, several[name]))
            reasons[row.id] = f"{shown(row.label)!r}, but {in_all} in all: see {_some(others)}"
    return reasons


def _whole(row: Row) -> str:
    """Return what is compared of a row besides its label: its text, and any caption."""
    return f"{key(row.whole)}\0{key(row.caption)}" if row.caption else key(row.whole)


def small_names(
    rows: list[Row],
    least: int,
    names: Names,
    *,
    noun: str = "text",
    units: Mapping[str, int] | None = None,
    what: str = "class",
) -> dict[str, str]:
    """Return the names with fewer than `least` (but some) distinct texts in train, and why.

    `least` is one for each split to cut, plus one to stay. `units` (row id -> unit) numbers the rows that are
    never separated: of near-duplicates or texts of one group, only one counts. `noun` and `what` are the
    words for a text and for a name in the reasons.
    """
    texts: dict[str, set[str]] = defaultdict(set)
    apart: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.part == "train":
            for name in names(row.label):
                texts[name].add(key(row.whole))
                if units:
                    apart[name].add(units[row.id])
    reasons = {}
    for name, different in texts.items():
        count, parted = len(different), len(apart[name]) if units else len(different)
        if parted < least:
            together = f" ({parted} where near-duplicates and groups stay together)" if parted < count else ""
            reasons[name] = (
                f"{what} {name!r} has {count} different {noun}{'s' * (count > 1)} in train{together}, "
                f"cutting needs {least}"
            )
    return reasons


def unseen_names(rows: list[Row], names: Names) -> dict[str, str]:
    """Return the names in val and test that are not in train, and why each is reported."""
    known = {*every((row for row in rows if row.part == "train"), names)}
    others = [name for name in dict.fromkeys(every(rows, names)) if name not in known]
    return {name: f"label {name!r} is not in train" for name in others}


def every(rows: Iterable[Row], names: Names) -> Iterable[str]:
    """Return the names of all rows, with repeats."""
    return (name for row in rows for name in names(row.label))


def found(rows: list[Row], reasons: Mapping[str, str], names: Names) -> dict[str, str]:
    """Return the rows with any of the names in `reasons`: id -> the reasons of its names."""
    if not reasons:
        return {}
    some = ((row.id, [reasons[name] for name in names(row.label) if name in reasons]) for row in rows)
    return {id_: "; ".join(parts) for id_, parts in some if parts}


def shares(rows: Iterable[Row], names: Names) -> tuple[Counter[str], Counter[str]]:
    """Return how often each name occurs in train and in test."""
    parts = {part: Counter[str]() for part in ("train", "val", "test")}
    for row in rows:
        parts[row.part].update(names(row.label))
    return parts["train"], parts["test"]


def _some(ids: list[str], count: int = 3) -> str:
    return ", ".join(ids[:count]) + (f" and {len(ids) - count} more" if len(ids) > count else "")
